"""One question on the RS-485 line: what arrives after it, which of that can be its answer, and what came of it.

Instants are integer microseconds. A frame that fits is not yet the answer: it may be our own question given back by the
adapter, or a copy of what the unit has answered before (hal/rs485/copies.py).
"""

from hal.rs485.framing import ASCII, AsciiScanner, Line, RtuScanner, question_key, tells_length
from hal.runtime.annotations import Callable

BUFFER_LIMIT = 2048  # bytes kept while an answer is looked for
RAW_LIMIT = 256  # bytes told of what was heard instead of an answer
CHUNK_GAP_US = 30000  # within which a tty hands over what has arrived; USB adapters collect for 16 ms
HOLE_US = 100000  # the longest pause inside an answer that has begun
ECHO_WAIT_US = 250000  # how long a write's answer that could be an echo waits for a second one
COPY_WAIT_US = 100000  # how long an answer that could be a copy of an earlier one waits for another


class Exchange:
    """What came of one question on the line.

    `error` is None with the answer's PDU in `pdu`, or "TIMEOUT", "BAD_FRAME", "FOREIGN", "ECHO" or "PORT_LOST".
    `odd` is with BAD_FRAME the PDU of a frame that has the unit, the function and the checksum of an answer, but not
    the content that the specification gives it. `frames` lists (unit id, PDU) of the frames that were not the answer,
    `raw` is what was heard where there was none. `owed` says that the unit's answer may still come, `hurried` that it
    was not waited for to the end; `elapsed` is seconds from the first byte sent to the end, `latency` from the last one
    sent to the first of the answer, or to the end where there was none.

    `began`, `first` and `ended` are the microseconds in which the question began to leave, in which the first byte of
    its answer (or of what came instead) had come, judged by how long those took that were handed over with it, and of
    the end; 0 where there was none. `thrown` holds what
    has been heard since the exchange before and is not this one's answer: ("late", "foreign", "noise", "echo" or
    "copy", bytes as they came). `line` has the settings that it was asked at.
    """

    def __init__(self, error: str | None, pdu: bytes = b"", frames: list | None = None, owed: bool = False):
        self.error = error
        self.pdu = pdu
        self.odd = b""
        self.frames = frames or []
        self.copies: list[tuple[int, bytes]] = []  # (unit id, PDU) of frames that the unit had sent before
        self.raw = b""
        self.owed = owed
        self.hurried = False
        self.elapsed = 0.0
        self.latency = 0.0
        self.began = 0
        self.first = 0
        self.ended = 0
        self.thrown: tuple = ()
        self.line: Line | None = None

    @property
    def heard(self) -> list[int]:
        """Unit ids of the frames that were not the answer."""
        return [uid for uid, _ in self.frames]


class Question:
    """What is asked: of a unit, or told to all of them where `to_all` is set. `wait` is microseconds."""

    def __init__(self, uid: int, pdu: bytes, wait: int, on_end: Callable[[Exchange], None]):
        self.uid = uid
        self.pdu = pdu
        self.wait = wait
        self.on_end = on_end
        self.to_all = False
        self.frame = b""
        self.frame_us = 0  # how long that takes on the line
        self.not_before = 0  # when it may leave
        self.latest = 0  # when it leaves, whatever is on the line
        self.began = 0  # when it began to leave
        self.deadline = 0  # until when its answer is waited for, or the units are left alone
        self.heard: list = []  # (unit id, PDU) of frames that had arrived before
        self.first: Exchange | None = None  # what came of it, where it is asked once more since that may be a copy

    @property
    def again(self) -> bool:
        """Whether it is asked once more: then anything is believed."""
        return self.first is not None


class Inquiry:
    """A question on the line and the bytes that have arrived since."""

    def __init__(self, scanner: RtuScanner | AsciiScanner, question: Question, line: Line):
        frame = question.frame
        self.question = question
        self.uid = question.uid
        self.pdu = question.pdu
        self.key = question_key(question.pdu)
        self.sent_until = question.began + question.frame_us
        self._earliest = self.sent_until - question.frame_us // 16  # UARTs differ by a few percent
        self.ends_by_silence = line.frame_mode != ASCII and not tells_length(question.pdu)
        self.data = b""
        self.whole_at = 0  # bytes with which the answer may be whole
        self.echoed = False  # whether our own frame came back before the answer
        self.ambiguous = False  # whether the answer found repeats the question, so that it could be an echo
        self.hurried = False  # whether an answer that has not begun is waited for no longer
        self.frames: list[tuple[int, bytes]] = []  # (unit id, PDU) of whole frames that were not the answer
        self.copies: list[tuple[int, bytes]] = []  # those that the unit had sent before
        self.copy = b""  # the last answer that was put aside as a copy of an earlier one, perhaps
        self.copy_at = 0
        self.thrown: tuple = ()  # (reason, bytes) of what is not the answer; "": its frames tell the reason
        self._arrivals: list[list[int]] = []  # [index of the first byte, microsecond] of each chunk, oldest first
        self._scanner = scanner
        self._frame = frame
        self._line = line

    def add(self, data: bytes, now: int) -> None:
        """Bytes have arrived."""
        self._arrivals.append([len(self.data), now])
        self.data += data
        if len(self.data) > BUFFER_LIMIT:
            self._drop(len(self.data) - BUFFER_LIMIT)

    def arrived(self, index: int) -> int:
        """The microsecond in which a byte was handed over."""
        moment: int = self._arrivals[0][1]
        for first, at in self._arrivals:
            if first > index:
                break
            moment = at
        return moment

    def began(self, index: int) -> int:
        """The microsecond before which a byte had arrived: those handed over with it have come one after another."""
        last = len(self.data)
        for first, _ in self._arrivals:
            if first > index:
                last = first
                break
        return self.arrived(index) - self._line.wire_us(last - 1 - index)

    def lacks(self, echoes: bool | None) -> int:
        """How many bytes more make it worth to look for the answer; 1 where nothing tells."""
        self.whole_at = 0
        data, size = self.data, len(self._frame)
        before = 0
        if self.ends_by_silence or echoes is None:
            return 1  # when each byte comes tells where the answer ends, or whether it is an echo
        if echoes:
            before = max(0, size - len(data))
            data = data[size:]
        count = before + self._scanner.lacks(data, self.uid, self.pdu)
        self.whole_at = len(self.data) + count
        return count

    def is_paced(self, start: int, end: int) -> bool:
        """Whether bytes came one after another as fast as the line carries them, not in one lump."""
        spread = self.arrived(end - 1) - self.arrived(start)
        nominal = self._line.wire_us(end - start - 1)
        return nominal // 2 <= spread <= 2 * nominal

    def find(self, echoes: bool | None, silent: bool) -> tuple[int, int, bytes, bool] | None:
        """(start, end, PDU, whether its content fits) of the answer among the bytes.

        The answer to some questions repeats them byte for byte. `echoes`: whether the line gives our own bytes back;
        where that is not known (None), the first copy alone is `ambiguous`.
        """
        size = len(self._frame)
        self.ambiguous = False
        if echoes is False or self.data[:size] != self._frame:
            return self._scanner.find(self.data, self.uid, self.pdu, silent)
        second = self._scanner.find(self.data[size:], self.uid, self.pdu, silent)
        if second is not None:
            self.echoed = True
            return second[0] + size, second[1] + size, second[2], second[3]
        if echoes:
            return None
        first = self._scanner.find(self.data, self.uid, self.pdu, silent)
        self.ambiguous = first is not None and first[0] == 0
        return first

    def may_be_echo(self, match: tuple) -> bool:
        """Whether an ambiguous answer could be our echo: that is on the line while the question is, and an adapter
        that hands it over later does so soon, and in one lump."""
        if not self.ambiguous:
            return False
        begun = self.arrived(match[0])
        if begun > self.sent_until + CHUNK_GAP_US:
            return False
        return begun <= self.sent_until or not self.is_paced(match[0], match[1])

    def is_early(self, match: tuple) -> bool:
        """Whether an answer began to arrive before its question had left."""
        return self.began(match[0]) < self._earliest

    def put_aside(self, match: tuple, copy: bool) -> None:
        """An answer that is older than the question, a copy perhaps: look for another one behind it."""
        start, end, pdu, fits = match
        self._note(self._own_bytes_before(start))
        self._throw("copy" if copy else "late", self.data[start:end])
        if copy and fits:
            self._note_copy()
            self.copy = pdu
            self.copy_at = self.arrived(start)
        else:
            (self.copies if copy else self.frames).append((self.uid, pdu))
        self._drop(end)

    def _note_copy(self) -> None:
        """Another frame came: the one before was no answer to this question."""
        if self.copy:
            self.copies.append((self.uid, self.copy))
            self.copy = b""

    def answer(self, match: tuple) -> Exchange:
        """The exchange that ended with an answer."""
        start, _, pdu, _ = match
        self._note(self._own_bytes_before(start))
        self._note_copy()
        if self.echoed:
            self._throw("echo", self._frame)
        exchange = Exchange(None, pdu, self.frames)
        exchange.copies = self.copies
        exchange.thrown = self.thrown
        exchange.first = self.began(start)
        exchange.latency = (exchange.first - self.sent_until) / 1000000
        return exchange

    def noise(self, match: tuple) -> int:
        """Bytes that were neither the answer nor our own echo."""
        return len(self.data) - (match[1] - match[0]) - (len(self._frame) if self.echoed else 0)

    def has_begun(self) -> bool:
        """Whether the bytes hold the beginning of an answer."""
        return self._scanner.looks_damaged(self.data, self.uid, self.pdu[0])

    def failure(self, match: tuple | None) -> Exchange:
        """The exchange that ended without an answer; `match` is one whose content does not fit."""
        self._note_copy()
        rest = self.data
        echo = rest[: len(self._frame)] == self._frame and match is None
        first = self.began(len(self._frame) if echo else 0) if self.data else 0
        if echo:
            rest = rest[len(self._frame) :]
            self._throw("echo", self._frame)
        self._note(rest if match is None else rest[: match[0]] + rest[match[1] :])
        exchange = self._failed(rest, echo, match)
        exchange.copies = self.copies
        exchange.raw = rest[:RAW_LIMIT]
        exchange.thrown = self.thrown
        exchange.first = first if rest else 0
        return exchange

    def _failed(self, rest: bytes, echo: bool, match: tuple | None) -> Exchange:
        if match is not None:
            exchange = Exchange("BAD_FRAME", b"", self.frames)
            exchange.odd = match[2]
            return exchange
        if not rest:
            return Exchange("ECHO" if echo else "TIMEOUT", b"", self.frames, True)
        units = [uid for uid, _ in self.frames]
        if units and self.uid not in units:
            return Exchange("FOREIGN", b"", self.frames, True)
        return Exchange("BAD_FRAME", b"", self.frames, bool(units) or not self.has_begun())

    def _own_bytes_before(self, start: int) -> bytes:
        return self.data[len(self._frame) if self.echoed else 0 : start]

    def _throw(self, reason: str, data: bytes) -> None:
        self.thrown += ((reason, data[:RAW_LIMIT]),)

    def _note(self, data: bytes) -> None:
        if data:
            self._throw("", data)
            self.frames += [(uid, pdu) for _, uid, pdu in self._scanner.frames(data)]

    def _drop(self, count: int) -> None:
        self.data = self.data[count:]
        moment = self.arrived(count)
        kept = [[first - count, at] for first, at in self._arrivals if first > count]
        self._arrivals = [[0, moment]] + kept
