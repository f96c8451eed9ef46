"""Modbus RTU frames on a stream, as serial device servers pass them on: unit id, PDU and CRC, without a header.

No silence tells on a stream where a frame ends: its function does (application protocol specification, section 6), or
else the end of what has come.
"""

from firmware.services.routing.mbap import BadFrame
from hal.rs485.checksums import crc16
from hal.rs485.listening import question_length

FRAME_MAX = 256  # bytes: serial line specification, section 2.5.1.1


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
        length = question_length(data)
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
