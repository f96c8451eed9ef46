"""The RS-485 port: one exchange at a time on a half-duplex serial line.

`Rs485Port` does what is the same on every board: the silence before each frame, the wait for the answer, noise, echo
and foreign frames, a port that is lost and found again. A backend opens a tty or a UART, writes bytes and hands over
what arrives. Source: "MODBUS over Serial Line V1.02", sections 2.4 and 2.5.
"""

import asyncio

from hal.contracts import Part, PartError
from hal.rs485.copies import AGAIN_US, Copies
from hal.rs485.exchange import CHUNK_GAP_US, COPY_WAIT_US, ECHO_WAIT_US, HOLE_US, Exchange, Inquiry
from hal.rs485.framing import (
    ASCII,
    ASCII_FRAME_MAX,
    READ_ONLY,
    RTU_FRAME_MAX,
    AsciiScanner,
    Line,
    RtuScanner,
    question_key,
)
from hal.runtime import log, now_us, wait_until
from hal.runtime.annotations import Callable
from hal.runtime.logs import ERROR, INFO
from hal.service import Pauses, Trouble

THROWN_LIMIT = 8  # pieces told of what came between two exchanges
STRAY_LIMIT = RTU_FRAME_MAX  # bytes kept of what arrives while nothing was asked: none belongs to a longer frame
REOPEN_PAUSES = (0.25, 0.5, 1, 2, 3)  # seconds between tries to open a lost port; the last one repeats
PACED_AFTER = 3  # answers in a row that came as slowly as the line carries them: then none can be early


class PortFailed(PartError):
    """The serial port cannot be opened, or refuses a setting."""

    code = "NO_PORT"


class Rs485Port(Part):
    """Base of all RS-485 backends: they implement the hooks `_open` to `_lrc` and call `_received` and `_lost`."""

    def __init__(self, clock: Callable[[], int] = now_us):
        self.is_open = False
        self.line: Line | None = None
        self.stray_bytes = 0  # bytes that arrived while nothing was asked, or beside an answer
        self.copies = Copies()
        # called with (unit id, PDU) of each whole frame that is no answer; true: it was waited for
        self.on_frame: Callable[[int, bytes], bool] | None = None
        # called with (bytes, microsecond) of all that arrives while the line is only listened to
        self.on_bytes: Callable[[bytes, int], None] | None = None
        self.busy_time = 0.0  # seconds in which the line carried a frame, kept a silence or waited for an answer
        self._clock = clock
        self._scanner: RtuScanner | AsciiScanner = RtuScanner(self._crc)
        self._inquiry: Inquiry | None = None
        self._match: tuple[int, int, bytes, bool] | None = None
        self._changed = asyncio.Event()
        self._stray = b""
        self._unasked: list[tuple[int, bytes]] = []  # frames since the last exchange
        self._thrown: tuple = ()  # (reason, bytes) of what came since then
        self._quiet_since = 0  # microsecond in which the last byte is or was on the line, ours or not
        self._echoes: bool | None = None  # whether the line gives our own bytes back; None: not seen yet
        self._paced = 0  # answers in a row that came at the line's pace
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

    def _poll(self) -> None:
        """Hand over by `_received` what has arrived and was not handed over yet."""

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

        One call at a time. An answer that has begun is read to its end. Where all that came may be a copy of what the
        unit has answered before, a question that changes nothing is asked once more.
        """
        first = await self._ask(uid, pdu, timeout, False)
        if first.error != "COPY":
            return first
        await self._sleep_until(self._quiet_since + max(AGAIN_US, self.copies.wait_us(uid)))
        exchange = await self._ask(uid, pdu, timeout, True)
        if exchange.pdu == first.pdu:
            self.copies.was_none()
        else:
            self.copies.heard(uid, first.pdu, self._now())
        exchange.elapsed += first.elapsed
        exchange.frames = first.frames + exchange.frames
        exchange.began = first.began
        exchange.thrown = first.thrown + exchange.thrown
        return exchange

    async def _ask(self, uid: int, pdu: bytes, timeout: float, again: bool) -> Exchange:
        """One exchange; its error is "COPY" with the answer where that may be a copy and can be asked for again."""
        if self.line is None:
            return Exchange("PORT_LOST")
        frame = self._encode(self.line.frame_mode, uid, pdu)  # during the silence, not after it
        heard = await self._fall_silent()
        if not self.is_open:
            return Exchange("PORT_LOST", frames=heard)
        started = self._now()
        inquiry = Inquiry(self._scanner, uid, pdu, frame, self.line, started, again)
        self._inquiry = inquiry
        self._match = None
        self._send(frame, inquiry.sent_until)
        try:
            exchange = await self._await_answer(inquiry, int(timeout * 1000000))
        finally:
            self._inquiry = None
        if exchange.error is not None:
            exchange.latency = (self._now() - inquiry.sent_until) / 1000000
            exchange.hurried = inquiry.hurried
        return self._account(exchange, started, heard)

    async def broadcast(self, pdu: bytes, turnaround: float) -> Exchange:
        """Send a PDU to all units and give them `turnaround` seconds to act on it (section 2.4.1)."""
        if self.line is None:
            return Exchange("PORT_LOST")
        frame = self._encode(self.line.frame_mode, 0, pdu)
        heard = await self._fall_silent()
        if not self.is_open:
            return Exchange("PORT_LOST", frames=heard)
        started = self._now()
        sent_until = started + self.line.wire_us(len(frame))
        self._send(frame, sent_until)
        await self._sleep_until(sent_until + int(turnaround * 1000000))
        return self._account(Exchange(None if self.is_open else "PORT_LOST"), started, heard)

    def hurry(self) -> None:
        """Wait no longer for an answer that has not begun: somebody else needs the line."""
        if self._inquiry is not None and not self._inquiry.data:
            self._inquiry.hurried = True
            self._changed.set()

    def heard_unasked(self) -> list[int]:
        """Unit ids of the whole frames that have arrived since the last exchange."""
        return [uid for uid, _ in self._unasked]

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
        now = self._now()
        self._quiet_since = max(self._quiet_since, now)
        if self.on_bytes is not None:
            self.on_bytes(data, now)
            return
        inquiry = self._inquiry
        if inquiry is None:
            self.stray_bytes += len(data)
            self._take_stray(data)
            return
        inquiry.add(data, now)
        self._match = self._believed(inquiry, False)
        if self._match is not None or inquiry.ends_by_silence:
            self._changed.set()

    def _lost(self, reason: str) -> None:
        """The port has vanished."""
        if not self.is_open:
            return
        self.is_open = False
        self._close()
        self._changed.set()
        log("rs485: port lost: " + reason, ERROR)
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
        self._paced = 0
        self._stray = b""
        self._unasked = []
        self._quiet_since = self._now()
        return True

    async def _reopen(self) -> None:
        pauses = Pauses(REOPEN_PAUSES)
        while True:
            await asyncio.sleep(pauses.next())
            if await self._try_open():
                log("rs485: port open", INFO)
                self._reopening = None
                return

    # One exchange

    def _now(self) -> int:
        now: int = self._clock()
        return now

    def _send(self, frame: bytes, sent_until: int) -> None:
        self._changed.clear()
        self._quiet_since = sent_until
        self._write(frame)

    async def _fall_silent(self) -> list[tuple[int, bytes]]:
        """Wait for the silence before a frame; return the frames that arrived unasked.

        A line that babbles without end is not waited for longer than the longest frame takes.
        """
        if self.line is None:
            return []
        latest = self._now() + self.line.wire_us(RTU_FRAME_MAX) + self.line.silence_us
        while self.is_open:
            quiet_since = self._quiet_since
            end = min(quiet_since + self.line.silence_us, latest)
            if self._now() < end:
                await self._sleep_until(end)
                continue
            self._poll()  # what waits in the tty is older than the question
            if self._quiet_since == quiet_since or end == latest:
                break
        heard, self._unasked = self._unasked, []
        if self._stray:
            self._throw("noise", self._stray)
            self._stray = b""
        return heard

    async def _sleep_until(self, moment: int) -> None:
        pause = moment - self._now()
        if pause > 0:
            await asyncio.sleep(pause / 1000000)

    async def _await_answer(self, inquiry: Inquiry, timeout: int) -> Exchange:
        deadline = inquiry.sent_until + timeout
        while self.is_open:
            self._changed.clear()
            end = self._end_of_wait(inquiry, deadline)
            now = self._now()
            if now >= end:
                return self._conclude(inquiry)
            await wait_until(self._changed, (end - now) / 1000000)
        return Exchange("PORT_LOST", frames=inquiry.frames)

    def _believed(self, inquiry: Inquiry, silent: bool) -> tuple[int, int, bytes, bool] | None:
        """The answer among what has arrived; what is older than the question is put aside."""
        while True:
            match = inquiry.find(self._echoes, silent)
            if match is None:
                return None
            early = self._paced >= PACED_AFTER and not inquiry.ambiguous and inquiry.is_early(match)
            if not early and not self._may_be_copy(inquiry, match):
                return match
            inquiry.put_aside(match, not early)

    def _may_be_copy(self, inquiry: Inquiry, match: tuple[int, int, bytes, bool]) -> bool:
        key = question_key(inquiry.pdu)
        return not inquiry.again and self.copies.is_one(inquiry.uid, key, match[2], inquiry.arrived(match[0]))

    def _end_of_wait(self, inquiry: Inquiry, deadline: int) -> int:
        """Until when to wait, judged by what has arrived; 0: no longer."""
        line = self.line
        assert line is not None
        if not inquiry.data:
            if inquiry.hurried:
                return 0
            return min(deadline, inquiry.copy_at + COPY_WAIT_US) if inquiry.copy else deadline
        match = self._match
        if match is None and inquiry.ends_by_silence:
            match = inquiry.find(self._echoes, True)
        if match is not None:
            return self._end_of_doubt(inquiry, match, deadline)
        return max(deadline, min(self._end_of_part(inquiry, line), deadline + self._longest_us(line)))

    def _end_of_doubt(self, inquiry: Inquiry, match: tuple[int, int, bytes, bool], deadline: int) -> int:
        """Until when an answer that was found waits for a better one."""
        assert self.line is not None
        sure = match[3] and match is self._match
        end = 0 if sure else self._quiet_since + max(self.line.end_us, CHUNK_GAP_US)
        if inquiry.may_be_echo(match):
            late = inquiry.arrived(match[0]) > inquiry.sent_until
            end = max(end, min(deadline, inquiry.sent_until + ECHO_WAIT_US) if late else deadline)
        return end

    def _end_of_part(self, inquiry: Inquiry, line: Line) -> int:
        """Until when the rest of an answer may come that has begun, or that noise may hide."""
        if line.frame_mode == ASCII:
            return self._quiet_since + int(line.ascii_gap * 1000000)
        return self._quiet_since + max(line.end_us, HOLE_US if inquiry.has_begun() else CHUNK_GAP_US)

    def _longest_us(self, line: Line) -> int:
        if line.frame_mode == ASCII:
            return line.wire_us(ASCII_FRAME_MAX) + int(line.ascii_gap * 1000000)
        return line.wire_us(RTU_FRAME_MAX) + max(line.end_us, HOLE_US)

    def _conclude(self, inquiry: Inquiry) -> Exchange:
        """What has come of a question whose wait is over."""
        match = self._match or self._believed(inquiry, True)
        if match is not None and inquiry.may_be_echo(match) and inquiry.arrived(match[0]) <= inquiry.sent_until:
            match = None
        if match is not None and match[3]:
            return self._succeed(inquiry, match)
        self.stray_bytes += len(inquiry.data)
        self._paced = 0
        if match is None and inquiry.copy and not inquiry.again:
            again = inquiry.pdu[0] in READ_ONLY  # otherwise asking again could do harm
            exchange = Exchange("COPY" if again else None, inquiry.copy, inquiry.frames)
            exchange.copies = inquiry.copies
            return exchange
        return inquiry.failure(match)

    def _succeed(self, inquiry: Inquiry, match: tuple[int, int, bytes, bool]) -> Exchange:
        start, end, pdu, _ = match
        if not inquiry.may_be_echo(match):
            self._echoes = inquiry.echoed
        paced = inquiry.is_paced(start, end) and not inquiry.is_early(match)
        self._paced = self._paced + 1 if paced else 0
        exchange = inquiry.answer(match)
        self.copies.answered(inquiry.uid, question_key(inquiry.pdu), pdu, inquiry.arrived(start))
        self.stray_bytes += inquiry.noise(match)
        if end < len(inquiry.data):
            self._take_stray(inquiry.data[end:])
        return exchange

    def _account(self, exchange: Exchange, started: int, heard: list[tuple[int, bytes]]) -> Exchange:
        assert self.line is not None
        for uid, pdu in exchange.copies:
            self.copies.heard(uid, pdu, self._now())
        reason = self._tell(exchange.frames)
        if exchange.thrown or self._thrown:
            exchange.thrown = self._thrown + tuple([(why or reason, data) for why, data in exchange.thrown])
            self._thrown = ()
        exchange.frames += exchange.copies
        exchange.frames = heard + exchange.frames
        exchange.line = self.line
        exchange.began = started
        exchange.ended = self._now()
        exchange.elapsed = (exchange.ended - started) / 1000000
        self.busy_time += exchange.elapsed + self.line.silence
        return exchange

    # Frames that are no answers

    def _take_stray(self, data: bytes) -> None:
        self._stray = (self._stray + data)[-STRAY_LIMIT:]
        frames = self._scanner.frames(self._stray)
        if frames:
            end = frames[-1][0]
            gone, self._stray = self._stray[:end], self._stray[end:]
            found = [(uid, pdu) for _, uid, pdu in frames]
            self._unasked += found
            self._throw(self._tell(found), gone)

    def _throw(self, reason: str, data: bytes) -> None:
        if len(self._thrown) < THROWN_LIMIT:
            self._thrown += ((reason, data),)

    def _tell(self, frames: list[tuple[int, bytes]]) -> str:
        """Tell of frames that are no answers; why they were thrown away."""
        reason = "foreign" if frames else "noise"
        for uid, pdu in frames:
            awaited = self.on_frame is not None and self.on_frame(uid, pdu)
            if awaited:
                self.copies.answered(uid, None, pdu, self._now())
                reason = "late"
            elif self.copies.heard(uid, pdu, self._now()) and reason != "late":
                reason = "copy"
        return reason
