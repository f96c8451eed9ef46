"""An SD card on an SPI bus, for ports that have no machine.SDCard (SD Physical Layer Simplified Specification, part 7).

A block device of 512 bytes a block, as a file system wants it. Every frame is checked by its CRC both ways, and every
wait is bounded: what a pulled card leaves is a line that stays high.
"""

from hal.runtime import now_ms
from hal.runtime.annotations import Any

BLOCK = 512  # bytes
NO_CARD, BAD_CARD = 19, 5  # ENODEV, EIO

_SLOW_RATE = 400000  # bit/s until the card is ready, section 4.2.1
_READY_MS, _READ_MS, _WRITE_MS = 1000, 200, 600  # sections 4.2.3 and 4.6.2, with room
_RESPONSE_BYTES = 10  # within which an answer begins: 8 by section 7.5.1
_BEGINNINGS = 2  # of CMD0: the first one may meet a card in the middle of something
_IDLE, _ILLEGAL = 0x01, 0x04  # bits of R1, section 7.3.2.1
_TOKEN, _ACCEPTED = 0xFE, 0x05  # of a data block, section 7.3.3
_BLOCK_COUNT, _BLOCK_SIZE = 4, 5  # requests of a block device's ioctl


class SpiCard:
    """The card that is in now. OSError NO_CARD where none answers, BAD_CARD where it does not do what it should."""

    def __init__(self, spi: Any, select: Any, rate: int):
        self._spi = spi
        self._select = select
        self._byte = bytearray(1)
        self._crc = bytearray(2)
        self._more = b""  # what came behind R1
        select.value(1)
        spi.init(baudrate=_SLOW_RATE)
        try:
            self._by_block = self._begin()
            self._blocks = _block_count(self._read_register(9))
        except OSError:
            self.deinit()
            raise
        spi.init(baudrate=rate)

    def deinit(self) -> None:
        """Let the bus go."""
        self._select.value(1)
        self._spi.deinit()

    def readblocks(self, block: int, buffer: Any) -> None:
        """Fill a buffer of whole blocks. OSError."""
        view = memoryview(buffer)
        for at in range(0, len(buffer), BLOCK):
            self._ask(17, self._address(block + at // BLOCK))
            self._receive(view[at : at + BLOCK])

    def writeblocks(self, block: int, buffer: Any) -> None:
        """Write whole blocks. OSError."""
        view = memoryview(buffer)
        for at in range(0, len(buffer), BLOCK):
            self._ask(24, self._address(block + at // BLOCK))
            self._send(view[at : at + BLOCK])

    def ioctl(self, request: int, argument: object) -> int:
        """Size and number of blocks; what was written is on the card already."""
        return {_BLOCK_COUNT: self._blocks, _BLOCK_SIZE: BLOCK}.get(request, 0)

    # From power on to ready, section 7.2.1

    def _begin(self) -> bool:
        """Whether the card counts addresses in blocks; the others count bytes."""
        self._spi.write(b"\xff" * 10)  # 74 clocks at least, the card not selected
        if _IDLE not in [self._command(0, 0) for _ in range(_BEGINNINGS)]:
            raise OSError(NO_CARD)
        answer = self._command(8, 0x1AA, 4)
        is_new = not answer & _ILLEGAL
        if is_new and self._more[2:] != b"\x01\xaa":
            raise OSError(BAD_CARD)
        self._ask(59, 1, _IDLE)  # CRC on
        latest = now_ms() + _READY_MS
        while True:
            self._command(55, 0)
            if self._command(41, 0x40000000 if is_new else 0) == 0:
                break
            if now_ms() > latest:
                raise OSError(BAD_CARD)
        if is_new:
            self._command(58, 0, 4)
            if self._more[0] & 0x40:
                return True
        self._ask(16, BLOCK)
        return False

    def _read_register(self, number: int) -> bytes:
        register = bytearray(16)
        self._ask(number, 0)
        self._receive(memoryview(register))
        return bytes(register)

    def _address(self, block: int) -> int:
        return block if self._by_block else block * BLOCK

    # Frames

    def _ask(self, number: int, argument: int, wanted: int = 0) -> None:
        """A command that must be taken; a block of data may follow, the card still selected."""
        if self._command(number, argument) != wanted:
            raise OSError(BAD_CARD)

    def _command(self, number: int, argument: int, more: int = 0) -> int:
        """R1 of a command, 0xFF where none came; so many bytes behind it are in `_more` then."""
        frame = bytes((0x40 | number, argument >> 24, argument >> 16 & 255, argument >> 8 & 255, argument & 255))
        self._select.value(1)
        self._next()  # a card lets the line go with the first clock after that
        self._select.value(0)
        self._next()
        self._spi.write(frame + bytes((crc7(frame),)))
        answer = 0xFF
        for _ in range(_RESPONSE_BYTES):
            answer = self._next()
            if answer < 0x80:
                break
        self._more = self._spi.read(more, 0xFF) if answer < 0x80 else bytes(more)
        return answer

    def _next(self) -> int:
        self._spi.readinto(self._byte, 0xFF)
        return self._byte[0]

    def _wait_for(self, byte: int, milliseconds: int) -> None:
        """OSError where something else comes, but 0xFF or 0x00 until then, or it does not come in time."""
        latest = now_ms() + milliseconds
        while (found := self._next()) != byte:
            if found not in (0xFF, 0x00) or now_ms() > latest:
                raise OSError(BAD_CARD)

    def _receive(self, view: Any) -> None:
        self._wait_for(_TOKEN, _READ_MS)
        self._spi.readinto(view, 0xFF)
        self._spi.readinto(self._crc, 0xFF)
        self._select.value(1)
        if crc16(view) != self._crc[0] << 8 | self._crc[1]:
            raise OSError(BAD_CARD)

    def _send(self, view: Any) -> None:
        crc = crc16(view)
        self._spi.write(bytes((0xFF, _TOKEN)))
        self._spi.write(view)
        self._spi.write(bytes((crc >> 8, crc & 255)))
        if self._next() & 0x1F != _ACCEPTED:
            raise OSError(BAD_CARD)
        self._wait_for(0xFF, _WRITE_MS)
        self._select.value(1)


def crc7(data: bytes) -> int:
    """The last byte of a command: CRC-7 and the end bit, section 4.5."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x12) & 255 if crc & 0x80 else crc << 1
    return crc | 1


def crc16(data: Any) -> int:
    """CRC-16 of a data block, section 4.5: polynomial 0x1021, from 0. Four steps a byte instead of a table of 512."""
    crc = 0
    for byte in data:
        crc = (crc >> 8 | crc << 8 & 0xFF00) ^ byte
        crc ^= (crc & 0xFF) >> 4
        crc ^= crc << 12 & 0xF000
        crc ^= (crc & 0xFF) << 5
    return crc


def _block_count(csd: bytes) -> int:
    """Blocks of a card by its CSD register, sections 5.3.2 and 5.3.3."""
    if csd[0] >> 6 == 1:
        return ((csd[7] & 0x3F) << 16 | csd[8] << 8 | csd[9]) * 1024 + 1024
    size = (csd[6] & 3) << 10 | csd[7] << 2 | csd[8] >> 6
    factor = 2 + ((csd[9] & 3) << 1 | csd[10] >> 7)
    return (size + 1 << factor) << (csd[5] & 15) >> 9
