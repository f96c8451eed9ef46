"""Has a test on CPython use a part of a board on MicroPython: Python expressions come in, what they give goes out.

Each line of the standard input is a JSON list [number, expression], each of the standard output [number, kind, value]:
kind "value", "error" (class, text) or, without a number, "called" (attribute, arguments).
"""

import asyncio
import json
import sys

import machine

from hal.board import make_part
from hal.contracts import UpdateRefused
from hal.rs485.framing import Line
from hal.runtime import now_ms


async def _nothing():
    pass


_nothing_at_all = _nothing()
_COROUTINE = type(_nothing_at_all)
_nothing_at_all.close()


class Here:
    """What expressions begin with: the part, and what makes it."""

    part = None
    told: list = []  # what was called back
    ahead = 0  # milliseconds by which the part's clock is ahead, where time was not waited for

    def make(self, name, driver, options, state_dir):
        Here.part = make_part({name: dict(options, driver=driver)}, name, state_dir)

    def put(self, name, value):
        """Have a call of the part's give a value."""
        setattr(Here.part, name, lambda: value)

    def take_card(self):
        """Have the block device of a card begin anew."""
        Here.part._let_go()
        Here.part._device = Here.part._opened()

    def read_blocks(self, block, count):
        """So many blocks of the card."""
        buffer = bytearray(512 * count)
        Here.part._device.readblocks(block, buffer)
        return bytes(buffer)

    def watch(self, attribute):
        """Have calls of an attribute be told."""
        setattr(Here.part, attribute, lambda *arguments: _say(None, "called", [attribute, arguments]))

    async def exchange(self, begin, *arguments):
        """What an exchange has come to, which is begun by a function that calls back."""
        exchanges = []
        ended = asyncio.Event()
        begin(*(arguments + (lambda exchange: (exchanges.append(exchange), ended.set()),)))
        await ended.wait()
        return exchanges[0]

    def look_soon(self):
        """Have a card be noticed at once."""
        import hal.micropython.card

        hal.micropython.card.LOOK_SEC = 0.005

    def write(self, path, text):
        with open(path, "w") as file:
            file.write(text)

    def press(self, pin, milliseconds):
        """Press a button that pulls a pin down, for so long by the part's clock."""
        Here.part._clock = lambda: now_ms() + Here.ahead
        machine.Pin.drive(pin, 0)
        Here.ahead += milliseconds
        machine.Pin.drive(pin, 1)
        Here.ahead += 100


_HERE = Here()


def _plain(value):
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": value.hex()}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item) for item in value]}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    members = {name: item for name, item in value.__dict__.items() if name[0] != "_"}
    return {"object": [type(value).__name__, _plain(members)]}


def _say(number, kind, value):
    print(json.dumps([number, kind, _plain(value)]))


async def _answer(number, expression):
    try:
        names = {"here": _HERE, "part": Here.part, "machine": machine, "Line": Line}
        if "Moment" in expression:
            from hal.update.signed import Moment

            names["Moment"] = Moment
        value = eval(expression, names)
        if isinstance(value, _COROUTINE):
            value = await value
        _say(number, "value", value)
    except Exception as exc:
        code = [exc.code] if isinstance(exc, UpdateRefused) else []
        _say(number, "error", [type(exc).__name__] + code + [str(exc)])


async def main():
    reader = asyncio.StreamReader(sys.stdin.buffer)
    tasks = []
    while line := await reader.readline():
        tasks = [task for task in tasks if not task.done()]
        tasks.append(asyncio.create_task(_answer(*json.loads(line))))


asyncio.run(main())
