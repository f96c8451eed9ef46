"""One exchange in the trace, packed for the ring and as the API shows it.

Question and answer are kept as unit id and PDU, which is the same for RTU, ASCII and Modbus TCP; what was thrown away
as the bytes that came.
"""

import struct

from hal.rs485.framing import ASCII, Line

LANES = ("interactive", "gateway", "search", "forward", "listen")  # the first three are the bus's
FORWARD, LISTEN = 3, 4
CAUSES = (
    None,
    "TIMEOUT",
    "BAD_FRAME",
    "FOREIGN",
    "ECHO",
    "EXCEPTION",
    "PORT_LOST",
    "DEVICE_DOWN",
    "BUS_BUSY",
    "NO_PATH",
    "HURRIED",
    "CANCELLED",
)
REASONS = ("late", "foreign", "noise", "echo", "copy")

_HEAD = "<QIIHIBBBBBBBB"
_HEAD_SIZE = struct.calcsize(_HEAD)
_UID = 23  # where the unit id stands
_CAUSE = 24
_NO_TIME = 0xFFFFFFFF
_ORIGIN_MAX = 52  # characters: "http " and an IPv6 address
_THROWN_MAX = 255  # bytes of each piece


class Entry:
    """What is known of an exchange. Instants are integer microseconds of the firmware's clock.

    `number` counts from 1 on. `first_us` is from the last byte of the question to the first one heard, None where
    nothing was; `line_us` is the time on the line. `heard_uid` is the unit that answered instead. `line` is (bit/s,
    charFormat, frameMode), None where it was forwarded or never asked. `thrown` is a list of (reason, bytes).
    """

    number = 0
    queued_ms = 0
    first_us: int | None = None
    line_us = 0
    cause: str | None = None
    heard_uid: int | None = None
    shared = 0
    line: tuple[int, int, int] | None = None
    answer = b""
    thrown: "list | tuple" = ()

    def __init__(self, lane: int, origin: str, at: int, uid: int, question: bytes):
        self.lane = lane
        self.origin = origin
        self.at = at
        self.uid = uid
        self.question = question

    def packed(self, limit: int) -> bytes:
        """The entry as bytes, at most so many: what was thrown away is cut where there is too much."""
        baud_rate, char_format, frame_mode = self.line or (0, 0, 0)
        origin = self.origin[:_ORIGIN_MAX].encode()
        head = struct.pack(
            _HEAD,
            self.at,
            _NO_TIME if self.first_us is None else min(max(self.first_us, 0), _NO_TIME - 1),
            min(self.line_us, _NO_TIME),
            min(self.queued_ms, 0xFFFF),
            baud_rate,
            self.lane | (0 if self.heard_uid is None else 8),
            self.uid,
            CAUSES.index(self.cause),
            self.heard_uid or 0,
            min(self.shared, 255),
            char_format | frame_mode << 3,
            len(self.question),
            len(self.answer),
        )
        record = head + bytes([len(origin)]) + origin + self.question + self.answer
        for reason, data in self.thrown:
            piece = data[:_THROWN_MAX]
            if len(record) + 2 + len(piece) > limit:
                break
            record += bytes([REASONS.index(reason), len(piece)]) + piece
        return record

    def shown(self, time: str | None) -> dict:
        """As the API shows it; `time` is the UTC time of `at`."""
        is_exception = len(self.answer) > 1 and self.answer[0] & 0x80 != 0
        unit = bytes([self.uid])
        return {
            "n": self.number,
            "time": time,
            "atUs": self.at,
            "lane": LANES[self.lane],
            "source": self.origin,
            "uid": self.uid,
            "func": self.func(),
            "question": (unit + self.question).hex() if self.question else "",
            "answer": (unit + self.answer).hex() if self.answer else None,
            "thrown": [{"why": reason, "bytes": data.hex()} for reason, data in self.thrown],
            "cause": self.cause,
            "exception": self.answer[1] if is_exception else None,
            "heardUid": self.heard_uid,
            "queuedMs": self.queued_ms,
            "firstByteUs": self.first_us,
            "lineUs": self.line_us,
            "shared": self.shared,
            "baudRate": self.line and self.line[0],
            "charFormat": self.line and self.line[1],
            "frameMode": self.line and self.line[2],
        }

    def question_us(self) -> int:
        """Microseconds that the question takes on the line."""
        if self.line is None or not self.question:
            return 0
        baud_rate, char_format, frame_mode = self.line
        size = 2 * len(self.question) + 7 if frame_mode == ASCII else len(self.question) + 3
        return Line(baud_rate, char_format, frame_mode).wire_us(size)

    def until_answer_us(self) -> int:
        """Microseconds from the question's first byte to the first of the answer."""
        if self.first_us is None:
            return self.line_us
        return min(self.line_us, self.first_us + self.question_us())

    def func(self) -> int:
        """The function code; 0 where only bytes were thrown away."""
        if self.question:
            return self.question[0]
        return self.answer[0] & 0x7F if self.answer else 0


def fits(record: bytes, uid: int | None, errors: bool) -> bool:
    """Whether a packed entry is of a unit (None: any) and, where only errors are asked for, has a cause."""
    return (uid is None or record[_UID] == uid) and (not errors or record[_CAUSE] != 0)


def unpacked(number: int, record: bytes) -> Entry:
    """The entry of a packed one."""
    fields = struct.unpack(_HEAD, record[:_HEAD_SIZE])
    at, first_us, line_us, queued_ms, baud_rate, lane, uid, cause, heard_uid, shared, form, asked, answered = fields
    place = _HEAD_SIZE + 1 + record[_HEAD_SIZE]
    entry = Entry(lane & 7, record[_HEAD_SIZE + 1 : place].decode(), at, uid, record[place : place + asked])
    place += asked
    entry.number = number
    entry.answer = record[place : place + answered]
    entry.thrown = _pieces(record, place + answered)
    entry.first_us = None if first_us == _NO_TIME else first_us
    entry.line_us = line_us
    entry.queued_ms = queued_ms
    entry.cause = CAUSES[cause]
    entry.heard_uid = heard_uid if lane & 8 else None
    entry.shared = shared
    entry.line = (baud_rate, form & 7, form >> 3) if baud_rate else None
    return entry


def _pieces(record: bytes, place: int) -> list:
    pieces = []
    while place < len(record):
        end = place + 2 + record[place + 1]
        pieces.append((REASONS[record[place]], record[place + 2 : end]))
        place = end
    return pieces
