"""Text messages as a modem takes them: SMS-SUBMIT of 3GPP TS 23.040, alphabets of 3GPP TS 23.038."""

PARTS_MAX = 10

_ALPHABET = (  # 23.038 section 6.2.1, by code
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_ESCAPE = 0x1B
_EXTENSION = {  # 23.038 section 6.2.1.1, after an escape
    "\f": 0x0A,
    "^": 0x14,
    "{": 0x28,
    "}": 0x29,
    "\\": 0x2F,
    "[": 0x3C,
    "~": 0x3D,
    "]": 0x3E,
    "|": 0x40,
    "€": 0x65,
}
_CODES = {character: [code] for code, character in enumerate(_ALPHABET) if code != _ESCAPE}
_CODES.update({character: [_ESCAPE, code] for character, code in _EXTENSION.items()})

_SUBMIT, _HEADER_INDICATOR = 0x01, 0x40  # 23.040 section 9.2.3: TP-MTI, TP-UDHI
_INTERNATIONAL, _NATIONAL = 0x91, 0x81  # section 9.1.2.5
_GSM, _UCS2 = 0x00, 0x08  # TP-DCS, 23.038 section 4
_OCTETS = 140  # of user data
_HEADER_OCTETS = 6  # section 9.2.3.24.1: length, and an element for concatenated messages with an 8-bit reference
_HEADER_SEPTETS = 7  # what it takes of a 7-bit text, a fill bit included


def submit_pdus(phone: str, text: str, reference: int) -> list[tuple[int, str]]:
    """(length for AT+CMGS, hexadecimal text) of each part of a message, the service centre being the SIM card's.

    `reference`, 0..255, tells the parts of one message from those of another. ValueError where the phone number is none
    or the text takes more than PARTS_MAX parts.
    """
    address = _address(phone)
    scheme, data = _user_data(text, reference)
    if len(data) > PARTS_MAX:
        raise ValueError(f"must fit {PARTS_MAX} messages, and takes {len(data)}")
    first = _SUBMIT | (_HEADER_INDICATOR if len(data) > 1 else 0)
    tpdus = [bytes([first, 0]) + address + bytes([0, scheme]) + part for part in data]
    return [(len(tpdu), "00" + tpdu.hex().upper()) for tpdu in tpdus]


def utf16(text: str) -> bytes:
    """Big-endian UTF-16 (RFC 2781 section 2.1) without a mark; half of a surrogate pair becomes a question mark."""
    data = b""
    for character in text:
        code = ord(character)
        if 0xD800 <= code <= 0xDFFF:
            code = ord("?")
        if code > 0xFFFF:
            code -= 0x10000
            data += (0xD800 | code >> 10).to_bytes(2, "big")
            code = 0xDC00 | code & 0x3FF
        data += code.to_bytes(2, "big")
    return data


def _address(phone: str) -> bytes:
    """TP-Destination-Address: digits in semi-octets, low one first (section 9.1.2.5)."""
    digits = phone[1:] if phone[:1] == "+" else phone
    if not all("0" <= digit <= "9" for digit in digits) or not 3 <= len(digits) <= 15:
        raise ValueError("phone: must be 3..15 digits, with a + in front where the country code leads")
    padded = digits + "F" * (len(digits) % 2)
    pairs = "".join(padded[at + 1] + padded[at] for at in range(0, len(padded), 2))
    return bytes([len(digits), _INTERNATIONAL if phone[:1] == "+" else _NATIONAL]) + bytes.fromhex(pairs)


def _user_data(text: str, reference: int) -> tuple[int, list[bytes]]:
    """(coding scheme, TP-User-Data-Length and TP-User-Data of each part), sections 9.2.3.16 and 9.2.3.24."""
    units = _gsm_units(text)
    if units is not None:
        septets = _gsm_parts(units)
        headers = _headers(len(septets), reference)
        return _GSM, [_gsm_data(headers[number], part) for number, part in enumerate(septets)]
    octets = _ucs2_parts(text)
    headers = _headers(len(octets), reference)
    parts = [headers[number] + part for number, part in enumerate(octets)]
    return _UCS2, [bytes([len(part)]) + part for part in parts]


def _headers(count: int, reference: int) -> list[bytes]:
    """The user data header of each part; a message of one part has none."""
    if count == 1:
        return [b""]
    return [bytes([5, 0, 3, reference & 0xFF, count & 0xFF, number & 0xFF]) for number in range(1, count + 1)]


def _gsm_data(header: bytes, septets: list[int]) -> bytes:
    header_septets = _HEADER_SEPTETS if header else 0
    fill = header_septets * 7 - len(header) * 8
    return bytes([header_septets + len(septets)]) + header + _packed(septets, fill)


def _gsm_units(text: str) -> list[list[int]] | None:
    """The septets of each character; None where one is not in the GSM alphabet."""
    units = [_CODES.get(character) for character in text]
    return None if None in units else units  # type: ignore[return-value]


def _gsm_parts(units: list[list[int]]) -> list[list[int]]:
    """Septets of each part; no escape is torn from its character."""
    whole = [septet for unit in units for septet in unit]
    if len(whole) <= _OCTETS * 8 // 7:
        return [whole]
    limit = _OCTETS * 8 // 7 - _HEADER_SEPTETS
    parts: list[list[int]] = [[]]
    for unit in units:
        if len(parts[-1]) + len(unit) > limit:
            parts.append([])
        parts[-1] += unit
    return parts


def _ucs2_parts(text: str) -> list[bytes]:
    """Big-endian UTF-16 of each part; no surrogate is torn from its other half."""
    units = [utf16(character) for character in text]
    if sum(map(len, units)) <= _OCTETS:
        return [b"".join(units)]
    limit = _OCTETS - _HEADER_OCTETS
    parts = [b""]
    for unit in units:
        if len(parts[-1]) + len(unit) > limit:
            parts.append(b"")
        parts[-1] += unit
    return parts


def _packed(septets: list[int], fill: int) -> bytes:
    """Septets as octets, lowest bit first, after so many fill bits (23.038 section 6.1.2.1)."""
    number = 0
    for index, septet in enumerate(septets):
        number |= septet << (fill + 7 * index)
    return number.to_bytes((fill + 7 * len(septets) + 7) // 8, "little")
