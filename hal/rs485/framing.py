"""Modbus frames on a serial line: what an answer looks like and whether it fits its question.

Sources: "MODBUS over Serial Line, Specification and Implementation Guide V1.02" (sections 2.3 to 2.5) and "MODBUS
Application Protocol Specification V1.1b3" (section 6, the layout of each function). A PDU is the function code and its
data; an ADU adds the unit id in front and the checksum behind.
"""

from hal.runtime.annotations import Callable

RTU = 0
ASCII = 1

CHAR_FORMATS = (  # the API's charFormat: (parity, stop bits)
    ("E", 1),
    ("O", 1),
    ("S", 1),
    ("M", 1),
    ("N", 1),
    ("N", 2),
)

RTU_FRAME_MAX = 256  # bytes of an RTU ADU, section 2.5.1.1
ASCII_FRAME_MAX = 513  # characters of an ASCII ADU, section 2.5.2.1
RTU_ANSWER_MIN = 5  # bytes of an exception, the shortest answer
ASCII_ANSWER_MIN = 11  # characters of one

_BYTE_COUNTED = (1, 2, 3, 4, 12, 17, 20, 21, 23)  # functions whose answer has a byte count after the function code
_FIXED = {5: 8, 6: 8, 7: 5, 8: 8, 11: 8, 15: 8, 16: 8, 22: 10}  # bytes of the RTU ADU of the other answers


# Functions that change nothing on a device, so that they may be asked twice.
READ_ONLY = (1, 2, 3, 4, 7, 11, 12, 17, 20, 24, 43)

TTY_GAP_US = 16000  # how late a tty may hand over a byte: USB adapters collect for so long
DEVICE_US = 10000  # what a device may take beyond the silence, at least three characters


class Line:
    """Settings of a serial line: `baud_rate` in bit/s, `char_format` 0..5, `frame_mode` RTU or ASCII.

    `frame_gap_us` replaces the silence between frames that the specification asks for, 0 keeps it; `ascii_gap` is the
    longest pause inside an ASCII frame in seconds, `ascii_data_bits` 7 as in section 2.5.2.1 or 8 as many devices have.
    """

    def __init__(
        self,
        baud_rate: int,
        char_format: int,
        frame_mode: int = RTU,
        frame_gap_us: int = 0,
        ascii_gap: float = 1.0,
        ascii_data_bits: int = 7,
    ):
        self.baud_rate = baud_rate
        self.char_format = char_format
        self.frame_mode = frame_mode
        self.frame_gap_us = frame_gap_us
        self.ascii_gap = ascii_gap
        self.parity, self.stop_bits = CHAR_FORMATS[char_format]
        self.data_bits = ascii_data_bits if frame_mode == ASCII else 8
        self.char_bits = 1 + self.data_bits + (self.parity != "N") + self.stop_bits
        self.char_time = self.char_bits / baud_rate  # seconds
        self.end_us = self._end_us()
        self.silence_us = frame_gap_us or self.end_us  # between two frames
        self.silence = self.silence_us / 1000000
        self.babble_us = self.wire_us(RTU_FRAME_MAX) + self.silence_us  # longer than this no frame holds a question up
        self._shortest_wait = (self.end_us + self.wire_us(1) + TTY_GAP_US + max(DEVICE_US, self.wire_us(3))) / 1000000

    @classmethod
    def of(
        cls,
        serial: dict,
        baud_rate: int | None = None,
        char_format: int | None = None,
        frame_mode: int | None = None,
    ) -> "Line":
        """The line of the setting `serial`, with other values where a search asks for them."""
        return cls(
            serial["baudRate"] if baud_rate is None else baud_rate,
            serial["charFormat"] if char_format is None else char_format,
            serial["frameMode"] if frame_mode is None else frame_mode,
            serial["frameGapUs"],
            serial["asciiGapMs"] / 1000,
            serial["asciiDataBits"],
        )

    def _end_us(self) -> int:
        """Microseconds of silence that end a frame (section 2.5.1.1): 3.5 characters, 1.75 ms above 19200 bit/s."""
        return self.wire_us(7) // 2 + 1 if self.baud_rate <= 19200 else 1750

    def wire_us(self, count: int) -> int:
        """Microseconds that so many characters take, rounded up."""
        return (count * self.char_bits * 1000000 + self.baud_rate - 1) // self.baud_rate

    def shortest_wait(self) -> float:
        """Seconds after a question within which the answer of a device that keeps to the rules can begin to be heard:
        the silence that ends the question, one character, and what the tty and the device add."""
        return self._shortest_wait

    def same_as(self, other: "Line | None") -> bool:
        """Whether another line has the same settings on the wire."""
        return (
            other is not None
            and self.baud_rate == other.baud_rate
            and self.char_format == other.char_format
            and self.frame_mode == other.frame_mode
            and self.data_bits == other.data_bits
            and self.frame_gap_us == other.frame_gap_us
        )


def question_key(request: bytes) -> bytes:
    """What of a request its answer depends on: the values that functions 15 and 16 write do not come back."""
    return request[:5] if request[0] in (15, 16) else request


def answer_fits(request: bytes, answer: bytes) -> bool:
    """Whether a PDU can be the answer to a request PDU: function, length, and what it repeats of the request."""
    func = request[0]
    if answer[0] == func | 0x80:
        return len(answer) == 2
    if answer[0] != func:
        return False
    if (func in (1, 2, 3, 4) and len(request) == 5) or (func == 23 and len(request) >= 5):
        return len(answer) == answer_length(request) and answer[1] == len(answer) - 2 & 0xFF
    if func in (5, 6, 22):
        return answer == request
    if func in (15, 16):
        return answer == request[:5]
    if func == 8:
        return len(answer) == len(request) and answer[1:3] == request[1:3]
    if func == 43:
        return answer[1:2] == request[1:2]
    if func in _BYTE_COUNTED:
        return len(answer) >= 2 and answer[1] == len(answer) - 2
    return True


def answer_length(request: bytes) -> int | None:
    """Bytes of the PDU that answers a request, where the request tells; None: it does not."""
    func = request[0]
    if func in (1, 2, 3, 4) and len(request) == 5:
        count = request[3] << 8 | request[4]
        return 2 + ((count + 7) // 8 if func <= 2 else 2 * count)
    if func == 23 and len(request) >= 5:
        return 2 + 2 * (request[3] << 8 | request[4])
    if func == 8:
        return len(request)
    return _FIXED[func] - 3 if func in _FIXED else None


def rtu_length(data: bytes, start: int, request: bytes | None = None) -> int | None:
    """Bytes of the RTU answer that begins at `start` by its own header; 0: more bytes are needed to tell; None: its
    function does not say, only the silence after it ends it."""
    if len(data) < start + 2:
        return 0
    func = data[start + 1]
    if func & 0x80:
        return 5
    if func in _BYTE_COUNTED:
        return 5 + data[start + 2] if len(data) > start + 2 else 0
    if func == 8 and request is not None:
        return len(request) + 3
    if func in _FIXED:
        return _FIXED[func]
    if func == 24:
        return 6 + (data[start + 2] << 8 | data[start + 3]) if len(data) > start + 3 else 0
    if func == 43:
        return _identification_length(data, start)
    return None


def tells_length(request: bytes) -> bool:
    """Whether the answer to a request PDU says in its header how long it is."""
    func = request[0]
    return func in _BYTE_COUNTED or func in _FIXED or func == 24 or (func == 43 and request[1:2] == b"\x0e")


def _identification_length(data: bytes, start: int) -> int | None:
    """Length of an answer of function 43/14, whose objects give theirs one by one (application protocol 6.21)."""
    if len(data) < start + 3:
        return 0
    if data[start + 2] != 14:
        return None
    if len(data) < start + 8:
        return 0
    position = start + 8
    for _ in range(data[start + 7]):
        if len(data) < position + 2:
            return 0
        position += 2 + data[position + 1]
    return position + 2 - start


class RtuScanner:
    """Finds frames in received bytes, noise and all. `checksum(data)` is the CRC as on the wire, low byte first."""

    def __init__(self, checksum: Callable[[bytes], bytes]):
        self._checksum = checksum

    def frame_at(self, data: bytes, start: int, length: int) -> bool:
        """Whether `length` bytes from `start` are a frame with a right CRC."""
        end = start + length
        return (
            4 <= length <= RTU_FRAME_MAX
            and end <= len(data)
            and data[end - 2 : end] == self._checksum(data[start : end - 2])
        )

    def find(self, data: bytes, uid: int, request: bytes, silent: bool) -> tuple[int, int, bytes, bool] | None:
        """(start, end, PDU, whether its content fits) of the first frame that answers the request, or None.

        A frame of the unit and the function whose content does not fit comes only where there is none that does.
        `silent`: the line has been silent since the last byte, so that any frame may end there.
        """
        odd = None
        start = data.find(bytes([uid]))
        while 0 <= start <= len(data) - 4:
            if data[start + 1] & 0x7F == request[0]:
                end = self._end(data, start, request, silent)
                if end:
                    pdu = bytes(data[start + 1 : end - 2])
                    if answer_fits(request, pdu):
                        return start, end, pdu, True
                    odd = odd or (start, end, pdu, False)
            start = data.find(bytes([uid]), start + 1)
        return odd

    def lacks(self, data: bytes, uid: int, request: bytes) -> int:
        """How many bytes more make it worth to look for the answer once more, where the bytes hold none yet."""
        expected = answer_length(request)
        least = RTU_ANSWER_MIN  # of one that has not begun
        start = data.find(bytes([uid]))
        while start >= 0:
            have = len(data) - start
            if have < 2:
                least = min(least, RTU_ANSWER_MIN - have)
            elif data[start + 1] & 0x7F == request[0]:
                length = rtu_length(data, start, request)
                if length is None or (length > RTU_ANSWER_MIN and expected is not None and length != expected + 3):
                    return 1  # it may be noise that looks like a header
                lacking = max(length, RTU_ANSWER_MIN) - have
                if lacking <= 0:
                    return 1  # it is none by its own length, or does not tell yet
                least = lacking if start == 0 else min(least, lacking)
            start = data.find(bytes([uid]), start + 1)
        return least

    def _end(self, data: bytes, start: int, request: bytes, silent: bool) -> int:
        """Where the frame that begins at `start` ends, 0 where none does."""
        length = rtu_length(data, start, request)
        if length and self.frame_at(data, start, length):
            return start + length
        if silent and self.frame_at(data, start, len(data) - start):
            return len(data)
        return 0

    def frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(end, unit id, PDU) of all whole frames in the bytes; one alone counts whatever length it declares."""
        if self.frame_at(data, 0, len(data)):
            return [(len(data), data[0], bytes(data[1:-2]))]
        found = []
        start = 0
        while start <= len(data) - 4:
            length = rtu_length(data, start)
            if length is None:
                length = len(data) - start
            if length and self.frame_at(data, start, length):
                found.append((start + length, data[start], bytes(data[start + 1 : start + length - 2])))
                start += length
            else:
                start += 1
        return found

    def looks_damaged(self, data: bytes, uid: int, func: int) -> bool:
        """Whether the bytes hold the beginning of this unit's answer, its end broken or still to come."""
        return bytes([uid, func]) in data or bytes([uid, func | 0x80]) in data


class AsciiScanner:
    """As RtuScanner for ASCII frames: a colon, hexadecimal digits, LRC, CR LF. `checksum(data)` is the LRC byte."""

    def __init__(self, checksum: Callable[[bytes], bytes]):
        self._checksum = checksum

    def _frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(start, end, unit id and PDU) of all whole frames."""
        frames = []
        end = data.find(b"\r\n")
        while end >= 0:
            start = data.rfind(b":", 0, end)
            if start >= 0:
                content = _unhex(data[start + 1 : end])
                if len(content) >= 3 and self._checksum(content[:-1]) == content[-1:]:
                    frames.append((start, end + 2, content[:-1]))
            end = data.find(b"\r\n", end + 2)
        return frames

    def find(self, data: bytes, uid: int, request: bytes, silent: bool) -> tuple[int, int, bytes, bool] | None:
        """As RtuScanner.find; the end of an ASCII frame needs no silence."""
        odd = None
        for start, end, content in self._frames(data):
            if content[0] == uid and content[1] & 0x7F == request[0]:
                fits = answer_fits(request, content[1:])
                if fits:
                    return start, end, content[1:], True
                odd = odd or (start, end, content[1:], False)
        return odd

    def lacks(self, data: bytes, uid: int, request: bytes) -> int:
        """How many characters more make it worth to look for the answer once more; as RtuScanner.lacks."""
        start = data.rfind(b":")
        if start < 0:
            return ASCII_ANSWER_MIN
        have = len(data) - start
        expected = answer_length(request)
        if have >= 5 and expected is not None and data[start + 1 : start + 5].upper() == _hex(uid, request[0]):
            return max(1, 2 * expected + 7 - have)
        return max(1, ASCII_ANSWER_MIN - have)

    def frames(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """(end, unit id, PDU) of all whole frames in the bytes."""
        return [(end, content[0], content[1:]) for _, end, content in self._frames(data)]

    def looks_damaged(self, data: bytes, uid: int, func: int) -> bool:
        """Whether the bytes hold the beginning of this unit's answer, its end broken or still to come."""
        text = data.upper()
        return f":{uid:02X}{func:02X}".encode() in text or f":{uid:02X}{func | 0x80:02X}".encode() in text


def _hex(uid: int, func: int) -> bytes:
    return f"{uid:02X}{func:02X}".encode()


def _unhex(digits: bytes) -> bytes:
    """Bytes of hexadecimal text; empty where it is none."""
    if len(digits) % 2:
        return b""
    data = bytearray()
    for index in range(0, len(digits), 2):
        try:
            data.append(int(digits[index : index + 2].decode(), 16))
        except (ValueError, UnicodeError):
            return b""
    return bytes(data)
