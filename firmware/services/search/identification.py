"""What a device says of itself: functions 43/14 and 17 (application protocol specification, sections 6.21 and 6.13)."""

READ_DEVICE_ID = bytes([43, 14, 1, 0])
REPORT_SERVER_ID = bytes([17])


def text_of(pdu: bytes) -> str:
    """The text in an answer to either question; empty where there is none."""
    return _device_id(pdu) if pdu[0] == READ_DEVICE_ID[0] else _printable(pdu[2:])


def _device_id(pdu: bytes) -> str:
    """Vendor, product code and revision."""
    parts = []
    position = 7
    for _ in range(pdu[6] if len(pdu) > 6 else 0):
        if position + 2 > len(pdu):
            break
        length = pdu[position + 1]
        parts.append(_printable(pdu[position + 2 : position + 2 + length]))
        position += 2 + length
    return " ".join(part for part in parts if part)


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else " " for byte in data).strip()
