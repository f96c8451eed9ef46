"""Modbus TCP frames on a stream (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3)."""

import asyncio

from hal.runtime import MICROPYTHON

HEADER = 7  # bytes: transaction id, protocol id 0, length of what follows, unit id
PDU_MAX = 253
_READ_SIZE = 512 if MICROPYTHON else 2048


class BadFrame(Exception):
    """What arrives is not Modbus; the stream cannot be resynchronised and must be closed."""


def frame(tid: int, uid: int, pdu: bytes) -> bytes:
    """An ADU."""
    length = len(pdu) + 1
    return bytes([tid >> 8, tid & 0xFF, 0, 0, length >> 8, length & 0xFF, uid]) + pdu


def parse(data: bytes) -> tuple[int, int, bytes] | None:
    """(transaction id, unit id, PDU) of one whole ADU; None where it is none."""
    if not HEADER < len(data) <= HEADER + PDU_MAX or data[2:4] != b"\0\0" or data[4] << 8 | data[5] != len(data) - 6:
        return None
    return data[0] << 8 | data[1], data[6], data[HEADER:]


class MbapFrames:
    """Cuts what comes on a stream into requests."""

    in_flight = 16  # requests of one client that wait for their answers; the next is taken when one is answered

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        self._buffer += data

    def size(self) -> int:
        """Bytes that wait to be cut."""
        return len(self._buffer)

    def cut(self) -> tuple[int, int, bytes] | None:
        """(transaction id, unit id, PDU) of the first whole frame, None where it is none for us; BadFrame where the
        length is wrong. Frames of another protocol id are not for us and skipped."""
        data = self._buffer
        if len(data) < 6:
            return None
        length = data[4] << 8 | data[5]
        if not 2 <= length <= PDU_MAX + 1:
            raise BadFrame(f"the length must be 2..{PDU_MAX + 1}")
        if len(data) < 6 + length:
            return None
        self._buffer = data[6 + length :]
        return parse(data[: 6 + length])

    def frame(self, tid: int, uid: int, pdu: bytes) -> bytes:
        """An ADU."""
        return frame(tid, uid, pdu)


class MbapStream(MbapFrames):
    """The frames on a stream, for whoever waits for one after the other."""

    def __init__(self, reader: asyncio.StreamReader):
        super().__init__()
        self._reader = reader

    async def next(self) -> tuple[int, int, bytes] | None:
        """The next frame, None at the end of the stream; BadFrame as `cut`.

        Whoever sends many at once has the event loop for one of them at a time.
        """
        if self._buffer:
            await asyncio.sleep(0)
        while True:
            size = len(self._buffer)
            answer = self.cut()
            if answer is not None:
                return answer
            if len(self._buffer) < size:
                await asyncio.sleep(0)
                continue
            data = await self._reader.read(_READ_SIZE)
            if not data:
                return None
            self.feed(data)

    def is_empty(self) -> bool:
        """Whether nothing of a further frame has come."""
        return not self._buffer
