"""AT commands: one at a time, its answer told from everything else that a modem says.

`AtPort` does what is the same on every board; a backend opens a tty or a UART, sends bytes and hands over what arrives.
ITU-T V.250 section 5 (lines, results), 3GPP TS 27.007 section 9 (+CME ERROR), 3GPP TS 27.005 section 3 (+CMS ERROR, the
prompt for a message).
"""

import asyncio
import re

from hal.contracts import NoModem
from hal.gsm.response import is_number
from hal.runtime import wait_until
from hal.runtime.annotations import Callable
from hal.trace import MODEM, trace

ANSWER_SEC = 5.0  # for the modem to answer a command that asks nobody else
PROMPT_SEC = 10.0
SYNC_SEC = 2.0  # for an answer that shows that nothing is owed any more
SYNC_TRIES = 3
QUIET_SEC = 0.1
ALONE_SEC = 1.0  # for the result after a line that some modems send without one

_LINE_MAX = 2048  # bytes
_LINES_MAX = 64  # information lines of one answer
_FINAL = ("OK", "ERROR", "COMMAND NOT SUPPORT", "TOO MANY PARAMETERS")
_FINAL_WITH_CODE = ("+CME ERROR:", "+CMS ERROR:", "+CMGS ERROR:")  # the last one is Fibocom's
_WITH_TEXT = ("+CMT:", "+CBM:")  # unsolicited lines that another line belongs to (27.005 section 3.4.1)
_ERRORS = {  # 27.007 section 9.2.1: in words where a modem insists on them
    "operation not allowed": 3,
    "operation not supported": 4,
    "sim not inserted": 10,
    "sim pin required": 11,
    "sim puk required": 12,
    "sim failure": 13,
    "sim busy": 14,
    "sim wrong": 15,
    "incorrect password": 16,
    "unknown": 100,
}
_SIM_BUSY = {"+CME ERROR": (14, 515), "+CMS ERROR": (14, 314)}  # 515: the modem is still initialising it
_ESC, _CTRL_Z = b"\x1b", b"\x1a"


class AtError(Exception):
    """The modem refuses a command; `result` is what it says, such as "+CME ERROR: 10"."""

    def __init__(self, result: str):
        super().__init__(result)
        self.result = result

    def code(self) -> int | None:
        """The number of the error, also of one in words; None where it has none."""
        text = self.result.partition(":")[2].strip()
        return int(text) if is_number(text) else _ERRORS.get(text.lower())

    def is_busy(self) -> bool:
        """Whether the SIM card was busy, so that it has not even looked at what it was told."""
        return self.code() in _SIM_BUSY.get(self.result.partition(":")[0], ())


class AtSilent(NoModem):
    """The modem does not answer in time."""


class _Exchange:
    """A command whose answer is awaited."""

    def __init__(self, command: str, wanted: str):
        self.command = command
        self.wanted = re.compile(wanted) if wanted else None
        self.lines: list[str] = []
        self.is_roll_call = False  # whether it is asked again and again, and results without its line are others'
        self.alone = False  # whether the modem may have said all with such a line, and no result follows
        self.results = 0
        self.answers = 0  # of a roll call
        self.result: str | None = None
        self.failure: NoModem | None = None
        self.prompted = False
        self.changed = asyncio.Event()  # there is a prompt, or the end

    def is_over(self) -> bool:
        """Whether its result has come, or will not."""
        return self.result is not None or self.failure is not None

    def end(self, result: str | None, failure: NoModem | None = None) -> None:
        """The result has come, or will not."""
        self.result, self.failure = result, failure
        self.changed.set()

    def take_result(self, line: str) -> None:
        """A final result has come: ours, or that of a command before a roll call."""
        self.results += 1
        if not self.is_roll_call:
            self.end(line)
        elif self.lines:
            self.lines = []
            self.answers += 1
            self.changed.set()

    def prompt(self) -> None:
        """The modem waits for a text."""
        self.prompted = True
        self.changed.set()


class AtPort:
    """Base of all ways to a modem: they implement `_send` and `_release` and call `_received` and `_vanish`.

    `unsolicited(line)` is called with every line that answers nothing; `gone()` once when the modem vanishes.
    """

    def __init__(self, unsolicited: Callable[[str], None], gone: Callable[[], None]):
        self.is_open = True
        self.echoes = 0  # how often the modem gave a command back
        self._unsolicited = unsolicited
        self._gone = gone
        self._turn = asyncio.Lock()
        self._buffer = b""
        self._exchange: _Exchange | None = None
        self._text_follows = False
        self._owed = False  # an answer that did not come in time may come yet

    # What a backend implements

    def _send(self, data: bytes) -> None:
        """Send bytes without waiting for them to leave. OSError where the modem is gone."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let the tty go."""
        raise NotImplementedError

    # What the modem's driver uses

    def close(self) -> None:
        """Let the tty go; whoever waits for an answer gets NoModem."""
        if self.is_open:
            self.is_open = False
            self._release()
        self.interrupt("the modem is gone")

    def interrupt(self, reason: str) -> None:
        """Whoever waits for an answer gets NoModem: it will not come."""
        if self._exchange is not None and not self._exchange.is_over():
            self._exchange.end(None, NoModem(reason))

    async def prod(self, command: str) -> None:
        """Send a command line to which there may be no answer. NoModem."""
        async with self._turn:
            self._owed = True
            self._write(command.encode() + b"\r")

    async def command(
        self, command: str, wanted: str = "", seconds: float | None = None, alone: bool = False
    ) -> list[str]:
        """Send a command line; the lines of its answer that match the pattern `wanted`.

        `alone` takes such a line for an answer where no result follows it. AtError where the modem refuses, AtSilent
        where it does not answer in so many seconds, NoModem where it is gone.
        """
        async with self._turn:
            await self._settle()
            exchange = self._ask(command, wanted)
            exchange.alone = alone
            try:
                return await self._answer(exchange, ANSWER_SEC if seconds is None else seconds)
            finally:
                self._leave(exchange)

    async def submit(self, command: str, body: str, wanted: str, seconds: float) -> list[str]:
        """Send a command line that prompts for a text, and the text. Errors as `command`."""
        async with self._turn:
            await self._settle()
            exchange = self._ask(command, wanted)
            try:
                await wait_until(exchange.changed, PROMPT_SEC)
                if not exchange.prompted and not exchange.is_over():
                    raise AtSilent("the modem does not answer")
                typed = exchange.prompted and not exchange.is_over()
                if typed:
                    exchange.changed.clear()
                    self._write(body.encode() + _CTRL_Z)
                lines = await self._answer(exchange, seconds)
                if not typed:
                    self._owed = True  # the prompt may come yet
                    raise AtError("OK without a prompt")
                return lines
            finally:
                self._leave(exchange)

    # One exchange

    def _ask(self, command: str, wanted: str) -> _Exchange:
        trace(MODEM, f"modem: {command.partition('=')[0]}")
        self._exchange = _Exchange(command, wanted)
        self._write(command.encode() + b"\r")
        return self._exchange

    async def _answer(self, exchange: _Exchange, seconds: float) -> list[str]:
        if not exchange.is_over():
            await wait_until(exchange.changed, seconds)
        if exchange.alone and exchange.lines and not exchange.is_over():
            exchange.changed.clear()
            await wait_until(exchange.changed, ALONE_SEC)
        if exchange.failure is not None:
            raise exchange.failure
        if exchange.result is None:
            if exchange.alone and exchange.lines:
                return exchange.lines
            raise AtSilent("the modem does not answer")
        if exchange.result != "OK":
            raise AtError(exchange.result)
        return exchange.lines

    def _leave(self, exchange: _Exchange) -> None:
        """Wait for this answer no longer."""
        self._exchange = None
        if not exchange.is_over():
            self._owed = True

    async def _settle(self) -> None:
        """After a silence: find out where the answers are, so that a late one is not taken for the next."""
        if not self._owed:
            return
        exchange = self._exchange = _Exchange("AT+CMEE?", r"\+CMEE: ?\d")  # only this command has such a line
        exchange.is_roll_call = True
        try:
            for asked in range(1, SYNC_TRIES + 1):
                self._write(_ESC + b"\r" + exchange.command.encode() + b"\r")  # escape leaves a prompt, if one is open
                if await self._is_all_told(exchange, asked):
                    break
        finally:
            self._exchange = None
        if exchange.results == 0:
            raise AtSilent("the modem does not answer")
        await asyncio.sleep(QUIET_SEC)
        self._owed = False  # or as good: a modem that refuses the question has been quiet for long enough

    async def _is_all_told(self, exchange: _Exchange, asked: int) -> bool:
        """Whether a question that was asked so many times has been answered as often, so that nothing is owed."""
        while exchange.answers < asked:
            exchange.changed.clear()
            in_time = await wait_until(exchange.changed, SYNC_SEC)
            if exchange.failure is not None:
                raise exchange.failure
            if not in_time:
                return False
        return True

    def _write(self, data: bytes) -> None:
        if not self.is_open:
            raise NoModem("the modem is gone")
        try:
            self._send(data)
        except OSError:
            self._vanish()
            raise NoModem("the modem is gone") from None

    # What a backend calls

    def _received(self, data: bytes) -> None:
        """Bytes have arrived."""
        lines = (self._buffer + data).replace(b"\r", b"\n").split(b"\n")
        self._buffer = lines.pop()
        for line in lines:
            self._take(_latin(line))
        if self._buffer.startswith(b">") and self._exchange is not None:
            self._buffer = b""
            self._exchange.prompt()
        if len(self._buffer) > _LINE_MAX:
            self._buffer = b""

    def _vanish(self) -> None:
        """The tty is not there any more."""
        if self.is_open:
            self.close()
            self._gone()

    def _take(self, line: str) -> None:
        exchange = self._exchange
        line = line.lstrip("\0").strip()
        if not line:
            return
        if self._text_follows or announces_text(line):
            self._text_follows = not self._text_follows
            self._unsolicited(line)
        elif line == ">" and exchange is not None:
            exchange.prompt()
        elif exchange is None or exchange.is_over():
            self._unsolicited(line)
        elif line == exchange.command:
            self.echoes += 1
        elif line in _FINAL or line.startswith(_FINAL_WITH_CODE):
            exchange.take_result(line)
        elif exchange.wanted is not None and exchange.wanted.match(line) and len(exchange.lines) < _LINES_MAX:
            exchange.lines.append(line)
            if exchange.alone:
                exchange.changed.set()
        else:
            self._unsolicited(line)


def announces_text(line: str) -> bool:
    """Whether the next line is a message; a status report is one line of its own in text mode, two in PDU mode."""
    return line.startswith(_WITH_TEXT) or (line.startswith("+CDS:") and "," not in line)


def _latin(data: bytes) -> str:
    """Bytes as text, each its own character: whatever a line holds, it can be looked at."""
    return "".join([chr(byte) for byte in data])
