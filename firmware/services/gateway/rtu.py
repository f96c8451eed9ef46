"""Modbus RTU frames on a stream, as serial device servers pass them on: unit id, PDU and CRC, without a header.

No silence tells on a stream where a frame ends: its function does (application protocol specification, section 6), or
else the end of what has come.
"""

import asyncio

from firmware.services.routing.mbap import BadFrame
from hal.runtime import MICROPYTHON

FRAME_MAX = 256  # bytes: serial line specification, section 2.5.1.1
_READ_SIZE = 512 if MICROPYTHON else 2048
_POLYNOMIAL = 0xA001  # of the CRC, section 6.2.2

_LENGTHS = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}  # bytes of a request
_COUNTED = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}  # function -> where its byte count stands; data and CRC follow it


def crc(data: bytes) -> bytes:
    """The CRC of a frame, two bytes, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ _POLYNOMIAL if value & 1 else value >> 1
    return bytes([value & 0xFF, value >> 8])


class RtuStream:
    """Cuts the bytes of a stream into requests, as MbapStream does; there are no transaction ids: all are 0."""

    in_flight = 1  # answers carry nothing that tells whose they are

    def __init__(self, reader: asyncio.StreamReader):
        self._reader = reader
        self._buffer = b""

    async def next(self) -> tuple[int, int, bytes] | None:
        """The next request, None at the end of the stream; BadFrame where the CRC is wrong."""
        if self._buffer:
            await asyncio.sleep(0)
        adu = self._cut(b"")
        while adu is None:
            data = await self._reader.read(_READ_SIZE)
            if not data:
                return None
            adu = self._cut(data)
        return 0, adu[0], adu[1:-2]

    def frame(self, tid: int, uid: int, pdu: bytes) -> bytes:
        """An ADU."""
        adu = bytes([uid]) + pdu
        return adu + crc(adu)

    def _cut(self, data: bytes) -> bytes | None:
        """Take the first whole request out of the buffer, to which new data is added."""
        data = self._buffer + data
        self._buffer = data
        length = _length(data)
        whole = len(data) if length is None else length
        if not 4 <= whole <= FRAME_MAX or len(data) < whole:
            if len(data) > FRAME_MAX:
                raise BadFrame("no request is so long")
            return None
        if crc(data[: whole - 2]) != data[whole - 2 : whole]:
            if length is None:
                return None  # the rest of it is still to come
            raise BadFrame("the CRC is wrong")
        self._buffer = data[whole:]
        return data[:whole]


def _length(data: bytes) -> int | None:
    """Bytes of the request that begins here; 0: more are needed to tell; None: its function does not say."""
    if len(data) < 4:
        return 0
    func = data[1]
    if func in _COUNTED:
        place = _COUNTED[func]
        return place + 3 + data[place] if len(data) > place else 0
    if func == 43 and data[2] == 14:
        return 7
    return _LENGTHS.get(func)
