"""The RS-485 port: one exchange at a time on a half-duplex serial line.

`Rs485Port` does what is the same on every board: the silence before each frame, the wait for the answer, noise, echo
and foreign frames, a port that is lost and found again. A backend opens a tty or a UART, writes bytes and hands over
what arrives. Source: "MODBUS over Serial Line V1.02", sections 2.4 and 2.5.

An exchange runs on callbacks and one timer, not in a task: each turn of the event loop costs a small processor more
than all the rest, and an exchange needs four (the request, the end of the silence, the answer's header, its end).
"""

import asyncio

from hal.contracts import Part, PartError
from hal.rs485.checksums import ascii_frame, crc16, lrc
from hal.rs485.copies import AGAIN_US, Copies
from hal.rs485.exchange import CHUNK_GAP_US, COPY_WAIT_US, ECHO_WAIT_US, HOLE_US, Exchange, Inquiry, Question
from hal.rs485.framing import (
    ASCII,
    ASCII_FRAME_MAX,
    READ_ONLY,
    RTU_FRAME_MAX,
    AsciiScanner,
    Line,
    RtuScanner,
)
from hal.runtime import call_after, log, log_exception, now_us
from hal.runtime.annotations import Callable
from hal.runtime.logs import ERROR, INFO
from hal.service import Pauses, Trouble

LATE_STEP_US = 2  # a timer is late, so it is set earlier: by what one in three is not
LATE_LIMIT_US = 2000
THROWN_LIMIT = 8  # pieces told of what came between two exchanges
STRAY_LIMIT = RTU_FRAME_MAX  # bytes kept of what arrives while nothing was asked: none belongs to a longer frame
REOPEN_PAUSES = (0.25, 0.5, 1, 2, 3)  # seconds between tries to open a lost port; the last one repeats
AHEAD = 2  # characters before the end of an answer with which its end is waited for
PACED_AFTER = 3  # answers in a row that came as slowly as the line carries them: then none can be early


class PortFailed(PartError):
    """The serial port cannot be opened, or refuses a setting."""

    code = "NO_PORT"


class Rs485Port(Part):
    """Base of all RS-485 backends: they implement the hooks `_open` to `_expect` and call `_received` and `_lost`."""

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
        self._now = clock
        self._scanner: RtuScanner | AsciiScanner = RtuScanner(crc16)
        self._inquiry: Inquiry | None = None
        self._match: tuple[int, int, bytes, bool] | None = None
        self._question: Question | None = None  # what is asked, from `ask` to its end
        self._timer = None  # when to look after the question again
        self._rings_at = 0  # and the microsecond in which that is
        self._watch = None  # the timer that sees that nobody waits beyond a deadline; it outlives exchanges
        self._watches_at = 0
        self._late_us = 0  # how much earlier timers are set
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

    def _expect(self, count: int, pause_us: int = 0) -> None:
        """So many more bytes make it worth to look: a backend that can may hand them over no earlier, all together.

        They take `pause_us` at least to come, in which nobody needs to look.
        """

    def _goes_first(self, first: bool) -> None:
        """A question is asked from now on, or no more: meanwhile others may have less of the processor."""

    # What services use

    async def stop(self) -> None:
        """Close the port and give up opening it."""
        self.is_open = False
        self._end(Exchange("PORT_LOST"))
        if self._watch is not None:
            self._watch.cancel()
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
        self._scanner = AsciiScanner(lrc) if line.frame_mode == ASCII else RtuScanner(crc16)
        if not self.is_open and self._reopening is None and not await self._try_open():
            self._reopening = self.spawn(self._reopen())

    def ask(self, uid: int, pdu: bytes, timeout: float, on_end: Callable[[Exchange], None]) -> None:
        """Ask one unit and wait for its answer to begin within `timeout` seconds after the question has left.

        One call at a time; `on_end(exchange)` is called when it is over. An answer that has begun is read to its end.
        Where all that came may be a copy of what the unit has answered before, a question that changes nothing is asked
        once more.
        """
        self._take_up(Question(uid, pdu, int(timeout * 1000000), on_end))

    def tell_all(self, pdu: bytes, turnaround: float, on_end: Callable[[Exchange], None]) -> None:
        """Send a PDU to all units and give them `turnaround` seconds to act on it (section 2.4.1); as `ask`."""
        question = Question(0, pdu, int(turnaround * 1000000), on_end)
        question.to_all = True
        self._take_up(question)

    def has_left(self) -> bool:
        """Whether the question that is asked is on the line already, or more: nobody can join it any more."""
        return self._question is None or self._question.began != 0

    def hurry(self) -> None:
        """Wait no longer for an answer that has not begun: somebody else needs the line."""
        if self._inquiry is not None and not self._inquiry.data:
            self._inquiry.hurried = True
            self._look_at(self._now())

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
            self._expect(1)
            self.stray_bytes += len(data)
            self._take_stray(data)
            return
        try:
            self._heed(inquiry, data, now)
        except Exception as exc:
            self._fail(exc)

    def _lost(self, reason: str) -> None:
        """The port has vanished."""
        if not self.is_open:
            return
        self.is_open = False
        self._close()
        self._look_at(self._now())
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

    def _encode(self, frame_mode: int, uid: int, pdu: bytes) -> bytes:
        """The ADU of a PDU."""
        content = bytes((uid,)) + pdu
        return ascii_frame(content) if frame_mode == ASCII else content + crc16(content)

    def _take_up(self, question: Question) -> None:
        self._question = question
        self._goes_first(True)
        now = self._now()
        if self.line is None or not self.is_open:
            self._look_at(now)
            return
        question.frame = self._encode(self.line.frame_mode, question.uid, question.pdu)  # not after the silence
        question.frame_us = self.line.wire_us(len(question.frame))
        question.latest = now + self.line.babble_us
        self._look()

    def _look_at(self, moment: int) -> None:
        """Look after the question then, or at once in the loop's next turn."""
        self._stop_timer()
        if self._question is not None:
            now = self._now()
            self._rings_at = max(now, moment)
            self._timer = call_after((self._rings_at - now) / 1000000, self._ring)

    def _watch_until(self, deadline: int) -> None:
        """Look after the question then, or earlier. Few exchanges last so long: most find the watch set."""
        now = self._now()
        if self._watch is not None and now <= self._watches_at <= deadline:
            return
        if self._watch is not None:
            self._watch.cancel()
        self._watches_at = max(now, deadline)
        self._watch = call_after((self._watches_at - now) / 1000000, self._end_watch)

    def _end_watch(self) -> None:
        self._watch = None
        self._look()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        """The moment has come."""
        self._timer = None
        late_us = self._now() - self._rings_at
        self._look()
        if late_us > self._late_us:
            self._late_us = min(self._late_us + LATE_STEP_US, LATE_LIMIT_US)
        else:
            self._late_us = max(self._late_us - 2 * LATE_STEP_US, 0)

    def _look(self) -> None:
        """Send the question, or see what has come of it."""
        question, line = self._question, self.line
        if question is None:
            return
        try:
            if line is None or not self.is_open:
                self._end(Exchange("PORT_LOST", frames=self._inquiry.frames if self._inquiry else None))
            elif question.began:
                self._look_for_end(question, line)
            else:
                self._look_for_silence(question, line)
        except Exception as exc:
            self._fail(exc)

    def _look_for_silence(self, question: Question, line: Line) -> None:
        """Send the question if the line has been silent long enough."""
        quiet_since = self._quiet_since
        end = min(max(quiet_since + line.silence_us, question.not_before), question.latest)
        if self._now() >= end - self._late_us:
            while self._now() < end:
                pass  # timers are late: this one was set earlier
            self._poll()  # what waits in the tty is older than the question
            if not self.is_open:
                return
            if self._quiet_since == quiet_since or end == question.latest:
                self._send(question, line)
                return
            end = min(self._quiet_since + line.silence_us, question.latest)
        self._look_at(end - self._late_us)

    def _send(self, question: Question, line: Line) -> None:
        """Send the question now, before anything else, and wait for what comes of it."""
        question.began = self._now()
        self._quiet_since = question.began + question.frame_us
        self._write(question.frame)
        question.heard += self._unasked
        self._unasked = []
        if self._stray:
            self._throw("noise", self._stray)
            self._stray = b""
        inquiry = Inquiry(self._scanner, question, line)
        self._match = None
        if not question.to_all:
            self._inquiry = inquiry
            self._expect(inquiry.lacks(self._echoes))
        question.deadline = inquiry.sent_until + question.wait
        self._watch_until(question.deadline if self.is_open else question.began)

    def _heed(self, inquiry: Inquiry, data: bytes, now: int) -> None:
        """Bytes have come that may be of the answer."""
        inquiry.add(data, now)
        lacking = inquiry.whole_at - len(inquiry.data)
        if lacking > 0:
            self._expect(lacking, self._pause_us(inquiry, lacking))
            return
        self._match = match = self._believed(inquiry, False)
        if match is not None and match[3] and not inquiry.ambiguous:
            self._end(self._succeed(inquiry, match))
        elif match is not None or inquiry.ends_by_silence:
            self._look()
        if self._inquiry is inquiry:
            lacking = inquiry.lacks(self._echoes) if self._match is None else 1
            self._expect(lacking, self._pause_us(inquiry, lacking))

    def _pause_us(self, inquiry: Inquiry, lacking: int) -> int:
        """How long the rest of an answer takes at least, on a line that was seen to hand over bytes as they come."""
        if self._paced < PACED_AFTER or self.line is None or lacking <= AHEAD:
            return 0
        return self.line.wire_us(lacking - AHEAD)

    def _look_for_end(self, question: Question, line: Line) -> None:
        """End the exchange, or wait on: as long as what has come so far is worth it."""
        inquiry = self._inquiry
        now = self._now()
        if inquiry is None:  # all units were told
            if now >= question.deadline:
                self._end(Exchange(None))
            else:
                self._look_at(question.deadline)
            return
        end = self._end_of_wait(inquiry, question.deadline)
        if now >= end and self._match is None:
            self._poll()  # what has come and was not worth to be handed over
            if self._inquiry is not inquiry or not self.is_open:
                return
            end = self._end_of_wait(inquiry, question.deadline)
        if now >= end:
            self._conclude(question, inquiry, line)
        elif self._timer is None or end < self._rings_at:
            self._look_at(end)

    def _fail(self, exc: Exception) -> None:
        """Something is wrong with the driver, or with this module; whoever asks is not left waiting."""
        log_exception(exc)
        self._end(Exchange("PORT_LOST"))

    def _end(self, exchange: Exchange) -> None:
        """The exchange is over."""
        question = self._question
        if question is None:
            return
        inquiry = self._inquiry
        self._question = self._inquiry = None
        self._goes_first(False)
        self._stop_timer()
        if inquiry is not None and exchange.error is not None:
            exchange.latency = (self._now() - inquiry.sent_until) / 1000000
            exchange.hurried = inquiry.hurried
        if question.began:
            self._account(exchange, question)
        else:
            exchange.frames = question.heard + exchange.frames
        question.on_end(exchange)

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
        if inquiry.question.again:
            return False
        return self.copies.is_one(inquiry.uid, inquiry.key, match[2], inquiry.arrived(match[0]))

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

    def _conclude(self, question: Question, inquiry: Inquiry, line: Line) -> None:
        """The wait for an answer is over."""
        match = self._match or self._believed(inquiry, True)
        if match is not None and inquiry.may_be_echo(match) and inquiry.arrived(match[0]) <= inquiry.sent_until:
            match = None
        if match is not None and match[3]:
            self._end(self._succeed(inquiry, match))
            return
        self.stray_bytes += len(inquiry.data)
        self._paced = 0
        if match is not None or not inquiry.copy or question.again:
            self._end(inquiry.failure(match))
            return
        exchange = Exchange(None, inquiry.copy, inquiry.frames)
        exchange.copies = inquiry.copies
        if inquiry.pdu[0] in READ_ONLY:  # otherwise asking again could do harm
            self._ask_again(question, exchange, line)
        else:
            self._end(exchange)

    def _ask_again(self, question: Question, exchange: Exchange, line: Line) -> None:
        """What came may be a copy of what the unit has answered before: ask once more when the next one has passed."""
        self._inquiry = None
        self._account(exchange, question)
        question.first = exchange
        question.began = 0
        question.heard = []
        question.not_before = self._quiet_since + max(AGAIN_US, self.copies.wait_us(question.uid))
        question.latest = question.not_before + line.babble_us
        self._look_for_silence(question, line)

    def _succeed(self, inquiry: Inquiry, match: tuple[int, int, bytes, bool]) -> Exchange:
        start, end, pdu, _ = match
        if not inquiry.may_be_echo(match):
            self._echoes = inquiry.echoed
        paced = inquiry.is_paced(start, end) and not inquiry.is_early(match)
        self._paced = self._paced + 1 if paced else 0
        exchange = inquiry.answer(match)
        self.copies.answered(inquiry.uid, inquiry.key, pdu, inquiry.arrived(start))
        self.stray_bytes += inquiry.noise(match)
        if end < len(inquiry.data):
            self._take_stray(inquiry.data[end:])
        return exchange

    def _account(self, exchange: Exchange, question: Question) -> None:
        """Complete an exchange by what was heard, when it was and what it cost."""
        line = self.line
        assert line is not None
        for uid, pdu in exchange.copies:
            self.copies.heard(uid, pdu, self._now())
        if exchange.frames or exchange.thrown or self._thrown:
            self._account_thrown(exchange)
        exchange.frames = question.heard + exchange.frames + exchange.copies
        exchange.line = line
        exchange.began = question.began
        exchange.ended = self._now()
        exchange.elapsed = (exchange.ended - question.began) / 1000000
        self.busy_time += exchange.elapsed + line.silence
        if question.first is not None:
            self._join(exchange, question.first, question.uid)

    def _join(self, exchange: Exchange, first: Exchange, uid: int) -> None:
        """Add the first try to the second."""
        if exchange.pdu == first.pdu:
            self.copies.was_none()
        else:
            self.copies.heard(uid, first.pdu, self._now())
        exchange.elapsed += first.elapsed
        exchange.frames = first.frames + exchange.frames
        exchange.began = first.began
        exchange.thrown = first.thrown + exchange.thrown

    def _account_thrown(self, exchange: Exchange) -> None:
        reason = self._tell(exchange.frames)
        exchange.thrown = self._thrown + tuple([(why or reason, data) for why, data in exchange.thrown])
        self._thrown = ()

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
