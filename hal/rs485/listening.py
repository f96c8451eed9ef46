"""Listening to a line that has another master: what passes is cut into frames, and questions are paired with answers.

Nothing tells on the wire who sends. A frame is cut by the silence after it (serial line specification, section 2.5.1.1)
or, where a tty hands over several at once, by the length that its function gives it and its CRC. The first frame is a
question; one of the same unit and function that fits it is its answer. Instants are integer microseconds.
"""

from hal.rs485.checksums import crc16, lrc
from hal.rs485.exchange import CHUNK_GAP_US
from hal.rs485.framing import ASCII, RTU_FRAME_MAX, AsciiScanner, Line, answer_fits, rtu_length
from hal.runtime.annotations import Callable

ANSWER_US = 1000000  # after so long a question stays without an answer

_BUFFER_LIMIT = 1024
_LENGTHS = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}  # of a question's frame
_COUNTED = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}  # function -> where a question's byte count stands; data and CRC follow


class Heard:
    """What has passed: a question and its answer, each b"" where it was not heard. `error` is None, "TIMEOUT" (nobody
    answered), or "BAD_FRAME" with the bytes that are no frame in `noise`. `began` and `asked` are the microseconds of
    the question's first and last byte, `first` and `ended` those of the answer's."""

    def __init__(self, uid: int, question: bytes, began: int, asked: int):
        self.uid = uid
        self.question = question
        self.answer = b""
        self.noise = b""
        self.error: str | None = None
        self.began = began
        self.asked = asked
        self.first = 0
        self.ended = asked


class Listener:
    """Cuts and pairs what passes on a line; `on_heard(heard)` is called with each exchange when it is over."""

    def __init__(self, line: Line, on_heard: Callable[[Heard], None]):
        self._line = line
        self._on_heard = on_heard
        self._ascii = AsciiScanner(lrc) if line.frame_mode == ASCII else None
        self._gap = int(line.ascii_gap * 1000000) if self._ascii else max(line.end_us, CHUNK_GAP_US)
        self._data = b""
        self._last = 0  # when the last byte was handed over
        self._waiting: Heard | None = None  # a question whose answer has not been heard

    def add(self, data: bytes, now: int) -> None:
        """Bytes have passed."""
        if self._data and now - self._line.wire_us(len(data)) - self._last > self._gap:
            self._fall_silent()
        self._give_up(now)
        self._data = (self._data + data)[-_BUFFER_LIMIT:]
        self._last = now
        if self._ascii is not None:
            self._cut_ascii(self._ascii)
        else:
            self._cut_rtu()

    def due(self) -> int | None:
        """When `settle` is to be called, None where nothing is under way."""
        if self._data:
            return self._last + self._gap + 1
        return None if self._waiting is None else self._waiting.asked + ANSWER_US

    def settle(self, now: int) -> None:
        """Nothing has passed for a while."""
        if self._data and now - self._last > self._gap:
            self._fall_silent()
        self._give_up(now)

    # Cutting

    def _cut_rtu(self) -> None:
        """Take whole frames from the beginning of what has come, where their functions tell their length."""
        length = self._frame_length(self._data, 0)
        while length:
            self._take(length)
            length = self._frame_length(self._data, 0)

    def _frame_length(self, data: bytes, start: int) -> int:
        """Length of the frame that begins there and has a right CRC, 0 where none does."""
        waiting = self._waiting
        question = waiting.question if waiting is not None else None
        lengths = [question_length(data, start), rtu_length(data, start, question)]
        if waiting is not None and data[start : start + 1] == bytes([waiting.uid]):
            lengths.reverse()  # an answer is more likely
        for length in lengths:
            if length and _is_frame(data, start, length):
                return length
        return 0

    def _take(self, length: int) -> None:
        frame, rest = self._data[:length], self._data[length:]
        ended = self._last - self._line.wire_us(len(rest))
        self._data = rest
        self._pair(frame[0], frame[1:-2], ended - self._line.wire_us(length), ended)

    def _fall_silent(self) -> None:
        """The silence ends a frame: what is left holds whole ones, or is noise."""
        noise = b""
        while self._data and self._ascii is None:
            length = self._frame_length(self._data, 0)
            if not length and _is_frame(self._data, 0, len(self._data)):
                length = len(self._data)
            if not length:
                noise += self._data[:1]
                self._data = self._data[1:]
                continue
            self._tell_noise(noise)
            noise = b""
            self._take(length)
        noise += self._data
        self._data = b""
        self._tell_noise(noise)

    def _cut_ascii(self, scanner: AsciiScanner) -> None:
        done = 0
        for end, uid, pdu in scanner.frames(self._data):
            length = 2 * len(pdu) + 7
            self._tell_noise(self._data[done : end - length])
            ended = self._last - self._line.wire_us(len(self._data) - end)
            self._pair(uid, pdu, ended - self._line.wire_us(length), ended)
            done = end
        self._data = self._data[done:]

    # Pairing

    def _pair(self, uid: int, pdu: bytes, began: int, ended: int) -> None:
        waiting = self._waiting
        if waiting is not None and waiting.uid == uid and answer_fits(waiting.question, pdu):
            waiting.answer = pdu
            waiting.first = began
            self._end(None, ended)
            return
        self._end("TIMEOUT", ended)
        if pdu[0] & 0x80 or not _may_be_question(uid, pdu):
            orphan = Heard(uid, b"", began, began)
            orphan.answer, orphan.first, orphan.ended = pdu, began, ended
            self._on_heard(orphan)
            return
        self._waiting = Heard(uid, pdu, began, ended)
        if uid == 0:
            self._end(None, ended)  # nobody answers a broadcast

    def _end(self, error: str | None, now: int) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.error = error
            waiting.ended = now if error is None else waiting.asked
            self._on_heard(waiting)

    def _give_up(self, now: int) -> None:
        if self._waiting is not None and not self._data and now - self._waiting.asked >= ANSWER_US:
            self._end("TIMEOUT", now)

    def _tell_noise(self, noise: bytes) -> None:
        """Bytes that are no frame: the answer that is waited for, perhaps, in pieces."""
        if not noise:
            return
        if self._waiting is None:
            self._waiting = Heard(noise[0], b"", self._last - self._line.wire_us(len(noise)), self._last)
        self._waiting.noise = noise
        self._end("BAD_FRAME", self._last)


def question_length(data: bytes, start: int = 0) -> int | None:
    """Bytes of the RTU question that begins at `start`; 0: more are needed to tell; None: its function does not say."""
    if len(data) < start + 4:
        return 0
    func = data[start + 1]
    if func in _COUNTED:
        place = _COUNTED[func]
        return place + 3 + data[start + place] if len(data) > start + place else 0
    if func == 43 and data[start + 2] == 14:
        return 7
    return _LENGTHS.get(func)


def _may_be_question(uid: int, pdu: bytes) -> bool:
    data = bytes([uid]) + pdu
    return question_length(data + b"\0\0") in (None, len(data) + 2)


def _is_frame(data: bytes, start: int, length: int) -> bool:
    end = start + length
    if not 4 <= length <= RTU_FRAME_MAX or end > len(data):
        return False
    return data[end - 2 : end] == crc16(data[start : end - 2])
