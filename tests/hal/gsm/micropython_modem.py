"""Runs on MicroPython: the modem's driver on a tty whose other end the test has. Prints what came of it as JSON."""

import asyncio
import json
import sys

from hal.contracts import PartError
from hal.debounce import Debounce
from hal.gsm import modem
from hal.gsm.at import AtPort
from hal.gsm.modem import GsmModem

modem.POLL_SEC = 0.05
modem.LEAST_SEC = 0.01


class FileAtPort(AtPort):
    def __init__(self, path, unsolicited, gone):
        super().__init__(unsolicited, gone)
        self.file = open(path, "r+b")  # noqa: SIM115 - closed by _release
        self.reading = asyncio.create_task(self.read())

    async def read(self):
        reader = asyncio.StreamReader(self.file)
        while True:
            self._received(await reader.read(1))

    def _send(self, data):
        self.file.write(data)

    def _release(self):
        self.reading.cancel()
        self.file.close()


class FileModem(GsmModem):
    def __init__(self, path, state_dir):
        super().__init__(state_dir)
        self.path = path

    def _open(self, unsolicited, gone):
        return FileAtPort(self.path, unsolicited, gone)


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
    path, state_dir, pin, phone = sys.argv[1:5]
    part = FileModem(path, state_dir)
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
