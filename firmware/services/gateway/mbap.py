"""Modbus TCP frames on a stream (MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3)."""

HEADER = 7  # bytes: transaction id, protocol id 0, length of what follows, unit id
PDU_MAX = 253
_READ_SIZE = 2048


class BadMbap(Exception):
    """What arrives is not Modbus TCP; the stream cannot be resynchronised and must be closed."""


def frame(tid: int, uid: int, pdu: bytes) -> bytes:
    """An ADU."""
    length = len(pdu) + 1
    return bytes([tid >> 8, tid & 0xFF, 0, 0, length >> 8, length & 0xFF, uid]) + pdu


class MbapReader:
    """Cuts the bytes of a stream into (transaction id, unit id, PDU)."""

    def __init__(self, reader):
        self._reader = reader
        self._buffer = b""

    async def next(self) -> "tuple[int, int, bytes] | None":
        """The next frame, None at the end of the stream; BadMbap where the protocol id or the length is wrong."""
        while True:
            parsed = self._parse()
            if parsed is not None:
                return parsed
            data = await self._reader.read(_READ_SIZE)
            if not data:
                return None
            self._buffer += data

    def _parse(self) -> "tuple[int, int, bytes] | None":
        data = self._buffer
        if len(data) < 6:
            return None
        length = data[4] << 8 | data[5]
        if data[2] or data[3]:
            raise BadMbap("the protocol id must be 0")
        if not 2 <= length <= PDU_MAX + 1:
            raise BadMbap(f"the length must be 2..{PDU_MAX + 1}")
        if len(data) < 6 + length:
            return None
        self._buffer = data[6 + length :]
        return data[0] << 8 | data[1], data[6], data[HEADER : 6 + length]
