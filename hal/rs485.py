"""The RS-485 port: one exchange at a time on a half-duplex serial line.

`Rs485Port` does what is the same on every board: the silence before each frame, the wait for the answer, noise, echo
and foreign frames, a port that is lost and found again. A backend opens a tty or a UART, writes bytes and hands over
what arrives. Source: "MODBUS over Serial Line V1.02", sections 2.4 and 2.5.
"""

import asyncio

from hal.contracts import Part, PartError
from hal.framing import ASCII, ASCII_FRAME_MAX, RTU_FRAME_MAX, AsciiScanner, Line, RtuScanner, tells_length
from hal.runtime import log, monotonic, wait_until
from hal.service import Pauses, Trouble

BUFFER_LIMIT = 2048  # bytes kept while an answer is looked for
STRAY_LIMIT = 512  # bytes kept of what arrives while nothing was asked
CHUNK_GAP = 0.03  # seconds within which a tty hands over what has arrived; USB adapters collect for 16 ms
REOPEN_PAUSES = (0.25, 0.5, 1, 2, 3)  # seconds between tries to open a lost port; the last one repeats


class PortFailed(PartError):
    """The serial port cannot be opened, or refuses a setting."""

    code = "NO_PORT"


class Exchange:
    """What came of one question on the line.

    `error` is None with the answer's PDU in `pdu`, or "TIMEOUT", "BAD_FRAME", "FOREIGN", "ECHO" or "PORT_LOST".
    `heard` lists the unit ids of whole frames that were not the answer; `owed` says that the unit's answer may still
    come; `elapsed` is seconds from the first byte sent to the end, `latency` from the last one sent to the first heard.
    """

    def __init__(self, error: "str | None", pdu: bytes = b"", heard: "list[int] | None" = None, owed: bool = False):
        self.error = error
        self.pdu = pdu
        self.heard = heard or []
        self.owed = owed
        self.elapsed = 0.0
        self.latency = 0.0


class Inquiry:
    """A question on the line and the bytes that have arrived since."""

    def __init__(
        self, scanner: "RtuScanner | AsciiScanner", uid: int, pdu: bytes, frame: bytes, line: Line, now: float
    ):
        self.sent_until = now + len(frame) * line.char_time
        self.ends_by_silence = line.frame_mode != ASCII and not tells_length(pdu)
        self.first_byte = 0.0
        self.data = b""
        self.echoed = False  # whether our own frame came back before the answer
        self._scanner = scanner
        self._uid = uid
        self._pdu = pdu
        self._frame = frame

    def add(self, data: bytes, now: float) -> None:
        """Bytes have arrived."""
        if not self.data:
            self.first_byte = now
        self.data = (self.data + data)[-BUFFER_LIMIT:]

    def find(self, echoes: "bool | None", silent: bool) -> "tuple[int, int, bytes] | None":
        """(start, end, PDU) of the answer among the bytes. `echoes`: whether the line is known to give our bytes back.

        The answer to some questions repeats them byte for byte. A single copy is then taken for our own bytes where
        the line echoes, or where it began to arrive before the question had left.
        """
        size = len(self._frame)
        if self.data[:size] != self._frame:
            return self._scanner.find(self.data, self._uid, self._pdu, silent)
        second = self._scanner.find(self.data[size:], self._uid, self._pdu, silent)
        if second is not None:
            self.echoed = True
            return second[0] + size, second[1] + size, second[2]
        if echoes or self.first_byte < self.sent_until:
            return None
        return self._scanner.find(self.data, self._uid, self._pdu, silent)

    def repeats_question(self, match: "tuple[int, int, bytes]") -> bool:
        """Whether an answer is byte for byte the question, so that it could be an echo of it."""
        return match[2] == self._pdu and not self.echoed

    def answer(self, match: "tuple[int, int, bytes]") -> Exchange:
        """The exchange that ended with an answer."""
        start, _, pdu = match
        before = self.data[len(self._frame) if self.echoed else 0 : start]
        exchange = Exchange(None, pdu, self._scanner.units(before) if before else [])
        exchange.latency = self.first_byte - self.sent_until
        return exchange

    def noise(self, match: "tuple[int, int, bytes]") -> int:
        """Bytes that were neither the answer nor our own echo."""
        return len(self.data) - (match[1] - match[0]) - (len(self._frame) if self.echoed else 0)

    def failure(self) -> Exchange:
        """The exchange that ended without an answer."""
        rest = self.data
        if not rest:
            return Exchange("TIMEOUT", owed=True)
        if rest[: len(self._frame)] == self._frame:
            rest = rest[len(self._frame) :]
            if not rest:
                return Exchange("ECHO", owed=True)
        units = self._scanner.units(rest)
        if units and self._uid not in units:
            return Exchange("FOREIGN", heard=units, owed=True)
        damaged = not units and self._scanner.looks_damaged(rest, self._uid, self._pdu[0])
        return Exchange("BAD_FRAME", heard=units, owed=not damaged)


class Rs485Port(Part):
    """Base of all RS-485 backends: they implement the hooks `_open` to `_lrc` and call `_received` and `_lost`."""

    def __init__(self, clock=monotonic):
        self.is_open = False
        self.line: Line | None = None
        self.stray_bytes = 0  # bytes that arrived while nothing was asked, or beside an answer
        self.on_stray = None  # called without arguments when bytes arrive while nothing was asked
        self.busy_time = 0.0  # seconds in which the line carried a frame, kept a silence or waited for an answer
        self._clock = clock
        self._scanner: RtuScanner | AsciiScanner = RtuScanner(self._crc)
        self._inquiry: Inquiry | None = None
        self._match: tuple[int, int, bytes] | None = None
        self._changed = asyncio.Event()
        self._stray = b""
        self._quiet_since = 0.0  # when the last byte is or was on the line, ours or not
        self._echoes: bool | None = None  # whether the line gives our own bytes back; None: not seen yet
        self._reopening: asyncio.Task | None = None
        self._trouble = Trouble("rs485")

    # What a backend implements

    async def _open(self, line: Line) -> None:
        """Open the port with these settings; PortFailed where it cannot be."""
        raise NotImplementedError

    async def _apply(self, line: Line) -> None:
        """Change the settings of the open port; PortFailed where it refuses them."""
        raise NotImplementedError

    def _close(self) -> None:
        """Close the port; safe where it is closed."""
        raise NotImplementedError

    def _write(self, data: bytes) -> None:
        """Send bytes without waiting for them to leave."""
        raise NotImplementedError

    def _encode(self, frame_mode: int, uid: int, pdu: bytes) -> bytes:
        """The ADU of a PDU."""
        raise NotImplementedError

    def _crc(self, data: bytes) -> bytes:
        """CRC-16 of the specification's section 6.2.2, two bytes, low byte first."""
        raise NotImplementedError

    def _lrc(self, data: bytes) -> bytes:
        """LRC of the specification's section 6.2.1, one byte."""
        raise NotImplementedError

    # What services use

    async def stop(self) -> None:
        """Close the port and give up opening it."""
        self.is_open = False
        self._changed.set()
        await super().stop()
        self._reopening = None
        self._close()

    async def configure(self, line: Line) -> None:
        """Use these settings from the next exchange on; a port that cannot be opened is tried again by itself.

        PortFailed where the open port refuses the settings; it then keeps the ones it had.
        """
        if self.is_open and not line.same_as(self.line):
            await self._apply(line)
        self.line = line
        self._scanner = AsciiScanner(self._lrc) if line.frame_mode == ASCII else RtuScanner(self._crc)
        if not self.is_open and self._reopening is None and not await self._try_open():
            self._reopening = self.spawn(self._reopen())

    async def transact(self, uid: int, pdu: bytes, timeout: float) -> Exchange:
        """Ask one unit and wait for its answer to begin within `timeout` seconds after the question has left.

        One call at a time. An answer that has begun is read to its end.
        """
        if self.line is None:
            return Exchange("PORT_LOST")
        frame = self._encode(self.line.frame_mode, uid, pdu)  # during the silence, not after it
        heard = await self._fall_silent()
        if not self.is_open:
            return Exchange("PORT_LOST", heard=heard)
        started = self._clock()
        inquiry = Inquiry(self._scanner, uid, pdu, frame, self.line, started)
        self._inquiry = inquiry
        self._match = None
        self._send(frame, inquiry.sent_until)
        try:
            exchange = await self._await_answer(inquiry, timeout)
        finally:
            self._inquiry = None
        return self._account(exchange, started, heard)

    async def broadcast(self, pdu: bytes, turnaround: float) -> Exchange:
        """Send a PDU to all units and give them `turnaround` seconds to act on it (section 2.4.1)."""
        if self.line is None:
            return Exchange("PORT_LOST")
        frame = self._encode(self.line.frame_mode, 0, pdu)
        heard = await self._fall_silent()
        if not self.is_open:
            return Exchange("PORT_LOST", heard=heard)
        started = self._clock()
        sent_until = started + len(frame) * self.line.char_time
        self._send(frame, sent_until)
        await self._sleep_until(sent_until + turnaround)
        return self._account(Exchange(None if self.is_open else "PORT_LOST"), started, heard)

    def heard_unasked(self) -> "list[int]":
        """Unit ids of the whole frames that have arrived since the last exchange."""
        return self._scanner.units(self._stray) if self._stray else []

    async def probe(self) -> str:
        """Whether the port opens, and how; one that nobody has configured yet is opened as devices are delivered."""
        if self.line is None:
            await self.configure(Line(9600, 5))
        assert self.line is not None
        if not self.is_open:
            raise PortFailed(self._trouble.reason or "the port is not open")
        return f"opens at {self.line.baud_rate} bit/s"

    # What a backend calls

    def _received(self, data: bytes) -> None:
        """Bytes have arrived."""
        now = self._clock()
        self._quiet_since = max(self._quiet_since, now)
        inquiry = self._inquiry
        if inquiry is None:
            self.stray_bytes += len(data)
            self._stray = (self._stray + data)[-STRAY_LIMIT:]
            if self.on_stray is not None:
                self.on_stray()
            return
        inquiry.add(data, now)
        self._match = inquiry.find(self._echoes, silent=False)
        if self._match is not None or inquiry.ends_by_silence:
            self._changed.set()

    def _lost(self, reason: str) -> None:
        """The port has vanished."""
        if not self.is_open:
            return
        self.is_open = False
        self._close()
        self._changed.set()
        log("rs485: port lost: " + reason)
        if self._reopening is None:
            self._reopening = self.spawn(self._reopen())

    # Opening

    async def _try_open(self) -> bool:
        assert self.line is not None
        try:
            await self._open(self.line)
        except PartError as exc:
            self._close()
            self._trouble.tell(str(exc))
            return False
        self.is_open = True
        self._trouble.end()
        self._echoes = None
        self._stray = b""
        self._quiet_since = self._clock()
        return True

    async def _reopen(self) -> None:
        pauses = Pauses(REOPEN_PAUSES)
        while True:
            await asyncio.sleep(pauses.next())
            if await self._try_open():
                log("rs485: port open")
                self._reopening = None
                return

    # One exchange

    def _send(self, frame: bytes, sent_until: float) -> None:
        self._changed.clear()
        self._quiet_since = sent_until
        self._write(frame)

    async def _fall_silent(self) -> "list[int]":
        """Wait for the silence before a frame; return the unit ids of frames that arrived unasked.

        A line that babbles without end is not waited for longer than the longest frame takes.
        """
        if self.line is None:
            return []
        latest = self._clock() + RTU_FRAME_MAX * self.line.char_time + self.line.silence
        while self.is_open and self._clock() < self._quiet_since + self.line.silence:
            await self._sleep_until(min(self._quiet_since + self.line.silence, latest))
            if self._clock() >= latest:
                break
        heard = self.heard_unasked()
        self._stray = b""
        return heard

    async def _sleep_until(self, moment: float) -> None:
        pause = moment - self._clock()
        if pause > 0:
            await asyncio.sleep(pause)

    async def _await_answer(self, inquiry: Inquiry, timeout: float) -> Exchange:
        deadline = inquiry.sent_until + timeout
        while self.is_open:
            self._changed.clear()
            if self._match is not None:
                if self._echoes is not None or not inquiry.repeats_question(self._match):
                    return self._succeed(inquiry)
                # It could be our own echo, come late through a buffering adapter: a second copy would tell.
                end = deadline
            else:
                end = self._end_of_wait(inquiry, deadline)
            if self._clock() >= end:
                self._match = self._match or inquiry.find(self._echoes, silent=True)
                return self._fail(inquiry) if self._match is None else self._succeed(inquiry)
            await wait_until(self._changed, end - self._clock())
        return Exchange("PORT_LOST")

    def _end_of_wait(self, inquiry: Inquiry, deadline: float) -> float:
        """Until when to wait, judged by what has arrived."""
        line = self.line
        assert line is not None
        if not inquiry.data:
            return deadline
        if inquiry.ends_by_silence and inquiry.find(self._echoes, silent=True) is not None:
            return self._quiet_since + max(line.silence, CHUNK_GAP)
        gap = line.ascii_gap if line.frame_mode == ASCII else max(line.silence, CHUNK_GAP)
        longest = (ASCII_FRAME_MAX if line.frame_mode == ASCII else RTU_FRAME_MAX) * line.char_time
        return max(deadline, min(self._quiet_since + gap, deadline + longest + gap))

    def _succeed(self, inquiry: Inquiry) -> Exchange:
        assert self._match is not None
        self._echoes = inquiry.echoed
        exchange = inquiry.answer(self._match)
        self._stray = inquiry.data[self._match[1] :]
        self.stray_bytes += inquiry.noise(self._match)
        return exchange

    def _fail(self, inquiry: Inquiry) -> Exchange:
        self.stray_bytes += len(inquiry.data)
        return inquiry.failure()

    def _account(self, exchange: Exchange, started: float, heard: "list[int]") -> Exchange:
        assert self.line is not None
        exchange.heard = heard + exchange.heard
        exchange.elapsed = self._clock() - started
        self.busy_time += exchange.elapsed + self.line.silence
        return exchange
