"""AT commands on a tty: one command at a time, its answer told from everything else that a modem says.

ITU-T V.250 section 5 (lines, results), 3GPP TS 27.007 section 9 (+CME ERROR), 3GPP TS 27.005 section 3 (+CMS ERROR, the
prompt for a message).
"""

import asyncio
import fcntl
import os
import re
import termios
from collections.abc import Callable

import serial

from hal.contracts import NoModem
from hal.linux.device_node import why

ANSWER_SEC = 5.0  # for the modem to answer a command that asks nobody else
PROMPT_SEC = 10.0
SYNC_SEC = 2.0  # for an answer that shows that nothing is owed any more
SYNC_TRIES = 3
QUIET_SEC = 0.1

_LINE_MAX = 2048  # bytes
_LINES_MAX = 64  # information lines of one answer
_READ_MAX = 4096
_FINAL = re.compile(r"OK|ERROR|\+CM[ES] ERROR: ?.{0,100}|COMMAND NOT SUPPORT|TOO MANY PARAMETERS")
_WITH_TEXT = ("+CMT:", "+CDS:", "+CBM:")  # unsolicited lines that another line belongs to (27.005 section 3.4.1)
_ESC, _CTRL_Z = b"\x1b", b"\x1a"


class AtError(Exception):
    """The modem refuses a command; `result` is what it says, such as "+CME ERROR: 10"."""

    def __init__(self, result: str):
        super().__init__(result)
        self.result = result

    def code(self) -> "int | None":
        """The number of the error, None where it has none."""
        number = self.result.rpartition(":")[2].strip()
        return int(number) if number.isdecimal() else None


class AtSilent(NoModem):
    """The modem does not answer in time."""


class _Exchange:
    """A command whose answer is awaited."""

    def __init__(self, command: str, wanted: "re.Pattern | None"):
        self.command = command
        self.wanted = wanted
        self.lines: list[str] = []
        self.needs_line = False  # whether a result without a line that is wanted belongs to another command
        self.results = 0
        self.prompted = asyncio.Event()
        self.done: asyncio.Future = asyncio.get_running_loop().create_future()


class AtPort:
    """A modem's tty. `unsolicited(line)` is called with every line that answers nothing; `gone()` once when the tty
    vanishes. NoModem where it cannot be opened."""

    def __init__(self, path: str, baud_rate: int, unsolicited: "Callable[[str], None]", gone: "Callable[[], None]"):
        self.echoes = 0  # how often the modem gave a command back
        self._unsolicited = unsolicited
        self._gone = gone
        self._turn = asyncio.Lock()
        self._buffer = b""
        self._exchange: _Exchange | None = None
        self._text_follows = False
        self._owed = False  # an answer that did not come in time may come yet
        self._serial: serial.Serial | None = None
        self._loop = asyncio.get_running_loop()
        try:
            self._serial = serial.Serial(path, baud_rate, timeout=0, write_timeout=0, exclusive=True)
            fcntl.ioctl(self._serial.fileno(), termios.TIOCEXCL)
        except (OSError, ValueError, termios.error) as exc:
            self.close()
            raise NoModem(f"the modem's port {path} cannot be opened: {why(exc)}") from exc
        self._loop.add_reader(self._serial.fileno(), self._read)

    @property
    def is_open(self) -> bool:
        """Whether the tty is there."""
        return self._serial is not None

    def close(self) -> None:
        """Let the tty go; whoever waits for an answer gets NoModem."""
        port, self._serial = self._serial, None
        if port is not None:
            self._loop.remove_reader(port.fileno())
            port.close()
        self.interrupt("the modem is gone")

    def interrupt(self, reason: str) -> None:
        """Whoever waits for an answer gets NoModem: it will not come."""
        if self._exchange is not None and not self._exchange.done.done():
            self._exchange.done.set_exception(NoModem(reason))
            self._exchange.done.exception()  # who was cancelled meanwhile does not fetch it

    async def command(self, command: str, wanted: str = "", seconds: "float | None" = None) -> "list[str]":
        """Send a command line; the lines of its answer that match the pattern `wanted`.

        AtError where the modem refuses, AtSilent where it does not answer in so many seconds, NoModem where it is gone.
        """
        async with self._turn:
            await self._settle()
            exchange = self._send(command, wanted)
            return await self._answer(exchange, ANSWER_SEC if seconds is None else seconds)

    async def submit(self, command: str, body: str, wanted: str, seconds: float) -> "list[str]":
        """Send a command line that prompts for a text, and the text. Errors as `command`."""
        async with self._turn:
            await self._settle()
            exchange = self._send(command, wanted)
            prompted = self._loop.create_task(exchange.prompted.wait())
            try:
                await asyncio.wait({prompted, exchange.done}, timeout=PROMPT_SEC, return_when=asyncio.FIRST_COMPLETED)
                if not exchange.prompted.is_set() and not exchange.done.done():
                    raise self._silence(exchange)
                typed = exchange.prompted.is_set() and not exchange.done.done()
                if typed:
                    self._write(body.encode() + _CTRL_Z)
                lines = await self._answer(exchange, seconds)
                if not typed:
                    self._owed = True  # the prompt may come yet
                    raise AtError("OK without a prompt")
                return lines
            except asyncio.CancelledError:
                self._silence(exchange)
                raise
            finally:
                prompted.cancel()

    # One exchange

    def _send(self, command: str, wanted: str) -> _Exchange:
        self._exchange = _Exchange(command, re.compile(wanted) if wanted else None)
        self._write(command.encode() + b"\r")
        return self._exchange

    async def _answer(self, exchange: _Exchange, seconds: float) -> "list[str]":
        try:
            result = await asyncio.wait_for(exchange.done, seconds)
        except TimeoutError:
            raise self._silence(exchange) from None
        except asyncio.CancelledError:
            self._silence(exchange)
            raise
        finally:
            self._exchange = None
        if result != "OK":
            raise AtError(result)
        return exchange.lines

    def _silence(self, exchange: _Exchange) -> AtSilent:
        self._owed = True
        self._exchange = None
        exchange.done.cancel()
        return AtSilent("the modem does not answer")

    async def _settle(self) -> None:
        """After a silence: find out where the answers are, so that a late one is not taken for the next."""
        if not self._owed:
            return
        for _ in range(SYNC_TRIES):
            # Only this command is answered by such a line. Escape leaves a prompt for a message, if it is open.
            self._write(_ESC + b"\r")
            exchange = self._send("AT+CMEE?", r"\+CMEE: ?\d")
            exchange.needs_line = True
            try:
                await asyncio.wait({exchange.done}, timeout=SYNC_SEC)
            finally:
                self._exchange = None
            if exchange.done.done():
                exchange.done.result()  # NoModem where it has gone
            elif exchange.results == 0:
                continue
            await asyncio.sleep(QUIET_SEC)
            self._owed = False  # or as good: a modem that refuses the question has answered all before it
            return
        raise AtSilent("the modem does not answer")

    # The tty

    def _write(self, data: bytes) -> None:
        if self._serial is None:
            raise NoModem("the modem is gone")
        try:
            os.write(self._serial.fileno(), data)
        except BlockingIOError:
            pass  # a modem that takes nothing will not answer either, and that is told
        except OSError:
            self._vanish()
            raise NoModem("the modem is gone") from None

    def _read(self) -> None:
        assert self._serial is not None
        try:
            data = os.read(self._serial.fileno(), _READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._vanish()
            return
        self._buffer += data
        *lines, self._buffer = re.split(rb"[\r\n]", self._buffer)
        for line in lines:
            self._take(line.decode("latin-1"))
        if self._buffer.startswith(b">") and self._exchange is not None:
            self._buffer = b""
            self._exchange.prompted.set()
        if len(self._buffer) > _LINE_MAX:
            self._buffer = b""

    def _vanish(self) -> None:
        if self._serial is not None:
            self.close()
            self._gone()

    def _take(self, line: str) -> None:
        exchange = self._exchange
        line = line.lstrip("\0").strip()
        if not line:
            return
        if self._text_follows or line.startswith(_WITH_TEXT):
            self._text_follows = not self._text_follows
            self._unsolicited(line)
        elif line == ">" and exchange is not None:
            exchange.prompted.set()
        elif exchange is None or exchange.done.done():
            self._unsolicited(line)
        elif line == exchange.command:
            self.echoes += 1
        elif _FINAL.fullmatch(line):
            exchange.results += 1
            if exchange.lines or not exchange.needs_line:
                exchange.done.set_result(line)
        elif exchange.wanted is not None and exchange.wanted.match(line) and len(exchange.lines) < _LINES_MAX:
            exchange.lines.append(line)
        else:
            self._unsolicited(line)
