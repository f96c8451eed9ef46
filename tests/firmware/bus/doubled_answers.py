"""Devices that double, delay, reorder and repeat their answers by random plan: nobody gets what he did not ask for.

Every register holds its own address, so that a wrong answer shows. `python -m tests.firmware.bus.doubled_answers 50000
1` makes so many exchanges on a line in virtual time, by the plan of that seed, for each way in which bytes are handed
over.
"""

import asyncio
import random
import sys

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, Transaction
from firmware.services.settings.table import SETTINGS
from tests.hal.rs485.virtual_wire import VirtualPort, frame
from tests.virtual_time import milliseconds, run

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
UNITS = (1, 2, 3, 4, 5)
LACKING = range(900, 1000)  # registers that answer exception 2


class Devices:
    """Five units: 1 is good, 2 doubles always, 3 now and then, 4 is late now and then, 5 does everything at random."""

    def __init__(self, source):
        self.source = source
        self.port = None

    def answer(self, data):
        if len(data) != 8:
            return
        uid, func, address, count = data[0], data[1], data[2] << 8 | data[3], data[4] << 8 | data[5]
        if func == 6:
            pdu = data[1:-2]
        elif address in LACKING:
            pdu = bytes([func | 0x80, 2])
        else:
            words = [register.to_bytes(2, "big") for register in range(address, address + count)]
            pdu = bytes([func, 2 * count]) + b"".join(words)
        for delay in self.plan(uid):
            self.port.deliver(delay, frame(uid, pdu))

    def plan(self, uid):
        """When the answer comes and comes again, in seconds after the question."""
        chance, between = self.source.random, self.source.uniform
        first = between(0.002, 0.012)
        if uid == 2:
            return [first, first + between(0.001, 0.06)]
        if uid == 3 and chance() < 0.1:
            return [first, first + between(0.001, 0.09)]
        if uid in (4, 5) and chance() < 0.1:
            first += between(0.0, 0.8)
        if uid == 5 and chance() < 0.15:
            return [first + delay for delay in sorted([0.0] + [between(0.001, 0.09) for _ in range(3)])]
        if uid == 5 and chance() < 0.05:
            return []
        return [first]


class Tally:
    def __init__(self):
        self.right = self.wrong = self.failed = 0

    def judge(self, transaction, expected):
        if transaction.error in (None, "EXCEPTION"):
            if transaction.answer == expected:
                self.right += 1
            else:
                self.wrong += 1
        else:
            self.failed += 1


async def client(bus, source, tally, count, name):
    for _ in range(count):
        uid = source.choice(UNITS)
        func = source.choice((3, 3, 3, 4, 6))
        address = source.choice((source.randrange(8), source.randrange(800), source.choice(LACKING)))
        size = source.choice((1, 1, 2, 3))
        if func == 6:
            value = source.randrange(65536)
            pdu = expected = bytes([6]) + address.to_bytes(2, "big") + value.to_bytes(2, "big")
        else:
            pdu = bytes([func]) + address.to_bytes(2, "big") + size.to_bytes(2, "big")
            words = [register.to_bytes(2, "big") for register in range(address, address + size)]
            expected = bytes([func, 2 * size]) + b"".join(words)
            if address in LACKING:
                expected = bytes([func | 0x80, 2])
        transaction = Transaction(uid, pdu, source.choice((INTERACTIVE, GATEWAY)), name, retries=source.choice((0, 1)))
        bus.submit(transaction)
        await transaction.done.wait()
        tally.judge(transaction, expected)


def exchanges(count, seed=1, lump=1, baud_rate=9600):
    """The tally of so many exchanges by four clients, with a tty that wakes late."""

    async def main(clock):
        source = random.Random(seed)
        devices = Devices(source)
        port = VirtualPort(clock, devices.answer, lump, waits=True)
        devices.port = port
        bus = Bus(port, dict(SERIAL, baudRate=baud_rate, healthCheck=False), milliseconds(clock))
        await bus.start()
        tally = Tally()
        await asyncio.gather(*[client(bus, source, tally, count // 4, name) for name in "abcd"])
        await bus.stop()
        tally.copies = port.copies.count
        return tally

    return run(main)


def main():
    count, seed = int(sys.argv[1]), int(sys.argv[2])
    failed = False
    for lump, baud_rate in ((1, 9600), (16, 19200), (256, 115200)):
        tally = exchanges(count, seed, lump, baud_rate)
        print(f"{baud_rate} bit/s, {lump} bytes at once: {tally.right} right, {tally.wrong} wrong, ", end="")
        print(f"{tally.failed} without an answer, {tally.copies} copies", flush=True)
        failed = failed or tally.wrong > 0 or tally.right < 0.8 * count
    sys.exit(failed)


if __name__ == "__main__":
    main()
