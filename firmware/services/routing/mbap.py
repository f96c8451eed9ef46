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


class MbapStream:
    """Cuts the bytes of a stream into (transaction id, unit id, PDU)."""

    in_flight = 16  # requests of one client that wait for their answers; the next is read when one is answered

    def __init__(self, reader: asyncio.StreamReader):
        self._reader = reader
        self._buffer = b""

    async def next(self) -> tuple[int, int, bytes] | None:
        """The next frame, None at the end of the stream; BadFrame where the length is wrong.

        Frames of another protocol id are not for us and skipped. Whoever sends many at once has the event loop for one
        of them at a time.
        """
        if self._buffer:
            await asyncio.sleep(0)
        while True:
            adu = self._cut()
            if adu is None:
                data = await self._reader.read(_READ_SIZE)
                if not data:
                    return None
                self._buffer += data
                continue
            request = parse(adu)
            if request is not None:
                return request
            await asyncio.sleep(0)

    def frame(self, tid: int, uid: int, pdu: bytes) -> bytes:
        """An ADU."""
        return frame(tid, uid, pdu)

    def is_empty(self) -> bool:
        """Whether nothing of a further frame has come."""
        return not self._buffer

    def _cut(self) -> bytes | None:
        """Take the first whole ADU out of the buffer."""
        data = self._buffer
        if len(data) < 6:
            return None
        length = data[4] << 8 | data[5]
        if not 2 <= length <= PDU_MAX + 1:
            raise BadFrame(f"the length must be 2..{PDU_MAX + 1}")
        if len(data) < 6 + length:
            return None
        self._buffer = data[6 + length :]
        return data[: 6 + length]
