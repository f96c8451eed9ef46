"""Runs on MicroPython: the modem's driver on a UART whose other end the test has. Prints what came of it as JSON."""

import asyncio
import json
import sys

from hal.contracts import PartError
from hal.debounce import Debounce
from hal.gsm import modem
from hal.micropython.modem import UartModem

modem.POLL_SEC = 0.05
modem.LEAST_SEC = 0.01


async def status_of(part):
    while True:
        try:
            status = await part.status()
            if status["registered"] and status["ip"]:
                return status
        except PartError:
            pass
        await asyncio.sleep(0.01)


async def main():
    state_dir, pin, phone = sys.argv[1:4]
    part = UartModem(UartModem.OPTIONS.check({"uart": 2, "tx": 8, "rx": 9}), state_dir)
    part.configure("internet", "me", "secret", pin)
    await part.start()
    status = await asyncio.wait_for(status_of(part), 20)
    for text in ("hello", "x" * 200, "Напруга 231 V 😀"):
        await part.send_sms(phone, text)
    await part.stop()
    debounce = Debounce(False, 10)  # milliseconds
    presses = [debounce.edge(100, True), debounce.edge(105, False), debounce.edge(106, True), debounce.settle(116)]
    print(json.dumps({"status": status, "presses": presses}))


asyncio.run(main())
