"""Checksums and frames of Modbus on a serial line."""

from array import array


def _table() -> array:
    """The CRC of each byte alone (MODBUS over Serial Line V1.02, section 6.2.2)."""
    table = array("H")
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
        table.append(crc)
    return table


_TABLE = _table()


def crc16(data: bytes) -> bytes:
    """CRC-16 of section 6.2.2, two bytes, low byte first."""
    table = _TABLE
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return bytes((crc & 0xFF, crc >> 8))


def lrc(data: bytes) -> bytes:
    """LRC of section 6.2.1, one byte."""
    return bytes((-sum(data) & 0xFF,))


def ascii_frame(content: bytes) -> bytes:
    """The ASCII frame (section 2.5.2.1) of a unit id and a PDU."""
    digits = "".join([f"{byte:02X}" for byte in content + lrc(content)])
    return b":" + digits.encode() + b"\r\n"
