"""Modbus RTU frames on a stream, as serial device servers pass them on: unit id, PDU and CRC, without a header.

No silence tells on a stream where a frame ends: its function does (application protocol specification, section 6), or
else the end of what has come.
"""

from firmware.services.routing.mbap import BadFrame
from hal.rs485.checksums import crc16

FRAME_MAX = 256  # bytes: serial line specification, section 2.5.1.1

_LENGTHS = {1: 8, 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 4, 11: 4, 12: 4, 17: 4, 22: 10, 24: 6}  # bytes of a request
_COUNTED = {15: 6, 16: 6, 20: 2, 21: 2, 23: 10}  # function -> where its byte count stands; data and CRC follow it


class RtuFrames:
    """Cuts what comes on a stream into requests, as MbapFrames does; there are no transaction ids: all are 0."""

    in_flight = 1  # answers carry nothing that tells whose they are

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> None:
        """Bytes have come."""
        self._buffer += data

    def size(self) -> int:
        """Bytes that wait to be cut."""
        return len(self._buffer)

    def cut(self) -> tuple[int, int, bytes] | None:
        """The first whole request, None where there is none; BadFrame where the CRC is wrong."""
        data = self._buffer
        length = _length(data)
        whole = len(data) if length is None else length
        if not 4 <= whole <= FRAME_MAX or len(data) < whole:
            if len(data) > FRAME_MAX:
                raise BadFrame("no request is so long")
            return None
        if crc16(data[: whole - 2]) != data[whole - 2 : whole]:
            if length is None:
                return None  # the rest of it is still to come
            raise BadFrame("the CRC is wrong")
        self._buffer = data[whole:]
        return 0, data[0], data[1 : whole - 2]

    def frame(self, tid: int, uid: int, pdu: bytes) -> bytes:
        """An ADU."""
        adu = bytes([uid]) + pdu
        return adu + crc16(adu)


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
