"""A part of a board that runs on MicroPython, for tests on CPython to use as if it were here."""

import asyncio
import builtins
import inspect
import json
import os
import select
import subprocess
import types

import hal.contracts
import hal.fields
import hal.rs485.port
from hal.rs485.exchange import Exchange
from hal.rs485.framing import Line
from hal.update.signed import Moment
from tests.machine.starter import ROOT, environment, interpreter

ANSWER_SEC = 20


class Interpreter:
    """A MicroPython with the tests' module `machine`, whose hardware is in a folder."""

    def __init__(self, folder):
        self.folder = str(folder)
        self._process = subprocess.Popen(
            [interpreter(), "-X", "heapsize=2M", "-m", "served"],
            cwd=ROOT,
            env=environment(self.folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.on_call = None  # called with (attribute, arguments) of calls that are watched
        self._output = self._process.stdout.fileno()
        os.set_blocking(self._output, False)
        self._loop = None  # that hears what is said
        self._rest = b""
        self._count = 0
        self._results = {}
        self._waiting = {}

    def ask(self, expression):
        """What an expression gives, which is none that takes time."""
        number = self._send(expression)
        while number not in self._results:
            assert select.select([self._output], [], [], ANSWER_SEC)[0], f"{expression}: no answer"
            self._read()
        return self._result(number)

    async def wait(self, expression):
        """What an expression gives, in its time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # each test has its own
            loop.add_reader(self._output, self._read)
            self._loop = loop
        number = self._send(expression)
        self._waiting[number] = asyncio.Event()
        try:
            async with asyncio.timeout(ANSWER_SEC):
                await self._waiting[number].wait()
        finally:
            del self._waiting[number]
        return self._result(number)

    def end(self):
        self._process.stdin.close()
        self._process.wait(ANSWER_SEC)
        self._process.stdout.close()

    def _send(self, expression):
        self._count += 1
        self._process.stdin.write(json.dumps([self._count, expression]).encode() + b"\n")
        self._process.stdin.flush()
        return self._count

    def _read(self):
        try:
            data = os.read(self._output, 65536)
        except BlockingIOError:
            return  # it was read while something was asked for in between
        assert data, "MicroPython has ended"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            number, kind, value = json.loads(line)
            if kind == "called":
                if self.on_call is not None:
                    self.on_call(*_rich(value))
                continue
            self._results[number] = (kind, value)
            if number in self._waiting:
                self._waiting[number].set()

    def _result(self, number):
        kind, value = self._results.pop(number)
        if kind == "error":
            name, *texts = value
            for home in (hal.contracts, hal.fields, hal.rs485.port, builtins):
                if hasattr(home, name):
                    raise getattr(home, name)(*texts)
            raise AssertionError(f"{name}: {texts}")
        return _rich(value)


class RemotePart:
    """A part of an interpreter; `base` is its class in hal.contracts, `options` are those of its driver."""

    def __init__(self, interpreter, base, name, driver, options, state_dir=""):
        self.__dict__["_watched"] = {}
        self.__dict__["_base"] = base
        self.__dict__["_interpreter"] = interpreter
        interpreter.on_call = self._called
        interpreter.ask(f"here.make({name!r}, {driver!r}, {options!r}, {state_dir!r})")

    def __getattr__(self, name):
        if not callable(getattr(self._base, name, None)):
            return self._interpreter.ask("part." + name)
        call = (
            self._interpreter.wait if inspect.iscoroutinefunction(getattr(self._base, name)) else self._interpreter.ask
        )
        return lambda *arguments: call(f"part.{name}({', '.join(_text(argument) for argument in arguments)})")

    async def exchange(self, way, *arguments):
        """What an RS-485 port's exchange has come to, begun by one of its ways of asking."""
        return await self._interpreter.wait(f"here.exchange(part.{way}, {', '.join(map(_text, arguments))})")

    def __setattr__(self, name, callback):
        self._watched[name] = callback
        self._interpreter.ask(f"here.watch({name!r})")

    def _called(self, name, arguments):
        if name in self._watched:
            self._watched[name](*arguments)


def _text(argument):
    if isinstance(argument, Moment):
        return f"Moment({argument.now}, {argument.least})"
    if isinstance(argument, Line):
        given = argument
        return (
            f"Line({given.baud_rate}, {given.char_format}, {given.frame_mode}, {given.frame_gap_us}, {given.ascii_gap},"
            f" {given.data_bits})"
        )
    return repr(argument)


def _rich(value):
    """What a plain value stands for."""
    if isinstance(value, list):
        return [_rich(item) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"bytes"}:
        return bytes.fromhex(value["bytes"])
    if set(value) == {"tuple"}:
        return tuple(_rich(item) for item in value["tuple"])
    if set(value) == {"object"}:
        kind, members = value["object"]
        thing = Exchange(None) if kind == "Exchange" else types.SimpleNamespace()
        thing.__dict__.update(_rich(members))
        return thing
    return {name: _rich(item) for name, item in value.items()}
