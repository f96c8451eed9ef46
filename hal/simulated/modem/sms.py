"""Short messages as the network of the fake modem takes them: SMS-SUBMIT read by the book, parts put together.

3GPP TS 23.040 section 9.2 (the message), 23.038 sections 4 and 6 (alphabets), 27.005 (errors, text mode).
"""

import collections
import re
from typing import NamedTuple

from hal.runtime.annotations import Iterable

_DEFAULT_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION = {
    0x0A: "\f",
    0x14: "^",
    0x28: "{",
    0x29: "}",
    0x2F: "\\",
    0x3C: "[",
    0x3D: "~",
    0x3E: "]",
    0x40: "|",
    0x65: "€",
}
_ESCAPE = 0x1B
_ADDRESS_DIGITS = "0123456789*#abc"
_ADDRESS_LIMIT = 20
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})*")
_PHONE = re.compile(r"(\+?)([0-9*#a-c]{1,20})")

GSM, OCTETS, UCS2 = 0, 1, 2
_SENT_KEPT = 64
_UNFINISHED_KEPT = 8
_UDHI = 0x40

CMS_TEXTS = {
    303: "operation not supported",
    304: "invalid PDU mode parameter",
    305: "invalid text mode parameter",
    310: "SIM not inserted",
    311: "SIM PIN required",
    313: "SIM failure",
    316: "SIM PUK required",
    331: "no network service",
}


class CmsError(Exception):
    """The message service refuses: the number of a `+CMS ERROR:` (3GPP TS 27.005 section 3.2.5)."""

    def __init__(self, number: int):
        super().__init__(CMS_TEXTS.get(number, "unknown error"))
        self.number = number


class Message(NamedTuple):
    """A message as the one who gets it sees it. `mode` is "pdu" or "text", how the modem was given it."""

    phone: str
    text: str
    parts: int
    mode: str


class Part(NamedTuple):
    """One part of a message; `group` is None or its (width, reference, total) with `number` from 1."""

    phone: str
    text: str
    group: tuple[int, int, int] | None = None
    number: int = 1


class Outbox:
    """What was sent: the last complete messages, and the few that lack parts."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self._unfinished: collections.OrderedDict = collections.OrderedDict()

    def add(self, part: Part, mode: str) -> None:
        """Take a part; the message appears in `sent` when it is complete."""
        if part.group is None:
            self._complete(Message(part.phone, part.text, 1, mode))
            return
        key = (part.phone, part.group)
        parts = self._unfinished.setdefault(key, {})
        parts[part.number] = part.text
        total = part.group[2]
        if len(parts) == total:
            del self._unfinished[key]
            self._complete(Message(part.phone, "".join(parts[i + 1] for i in range(total)), total, mode))
        elif len(self._unfinished) > _UNFINISHED_KEPT:
            self._unfinished.popitem(last=False)

    def _complete(self, message: Message) -> None:
        self.sent.append(message)
        del self.sent[:-_SENT_KEPT]


def read_pdu(line: bytes, length: int) -> Part:
    """The part in a line of hex: a service centre address, then an SMS-SUBMIT of `length` octets. CmsError 304."""
    try:
        data = _from_hex(line)
        centre = data[0]
        if centre == 1 or centre > 11 or len(data) != 1 + centre + length:
            raise ValueError("the length does not fit")
        return _read_submit(data[1 + centre :])
    except (IndexError, ValueError) as exc:
        raise CmsError(304) from exc


def read_text(address: str, body: bytes, parameters: tuple[int, int], character_set: str) -> Part:
    """The part that text mode makes of what was typed; `parameters` are <fo> and <dcs> of +CSMP. CmsError 305.

    Typed in hex where the data coding is not the default alphabet or there is a header (27.005 section 3.5.1).
    """
    first, coding = parameters
    header = bool(first & _UDHI)
    try:
        alphabet = _alphabet_of(coding)
        if alphabet != GSM or header:
            octets = _from_hex(body)
            length = len(octets) * 8 // 7 if alphabet == GSM else len(octets)
            return _read_user_data(address, alphabet, header, length, octets)
        text = from_terminal(body, character_set)
    except (IndexError, ValueError) as exc:
        raise CmsError(305) from exc
    if sum(2 if character in _EXTENSION.values() else 1 for character in text) > 160:
        raise CmsError(305)
    return Part(address, "".join(_through_default_alphabet(character) for character in text))


def from_terminal(data: bytes, character_set: str) -> str:
    """Text in one of +CSCS's character sets; ValueError where it is not in that set."""
    if character_set == "UCS2":
        return _from_hex(data).decode("utf-16-be")
    if character_set == "GSM":
        return decode_septets(byte & 0x7F for byte in data)
    return data.decode("ascii", "replace")


def _from_hex(digits: bytes) -> bytes:
    if not _HEX.fullmatch(digits):
        raise ValueError("not hex")
    return bytes.fromhex(digits.decode("ascii"))


def phone_number(text: str, address_type: int | None) -> str:
    """A number that was typed in text mode, with + where it is international. CmsError 305."""
    match = _PHONE.fullmatch(text)
    if not match or address_type not in (None, 129, 145, 161):
        raise CmsError(305)
    return ("+" if match[1] or address_type == 145 else "") + match[2]


def decode_septets(septets: Iterable[int]) -> str:
    """Text in the default alphabet; an escape that leads nowhere shows as a space, as on a telephone."""
    text = []
    escaped = False
    for septet in septets:
        if escaped:
            text.append(" " if septet == _ESCAPE else _EXTENSION.get(septet, _DEFAULT_ALPHABET[septet]))
            escaped = False
        elif septet == _ESCAPE:
            escaped = True
        else:
            text.append(_DEFAULT_ALPHABET[septet])
    return "".join(text) + (" " if escaped else "")


def _through_default_alphabet(character: str) -> str:
    known = character in _EXTENSION.values() or (character in _DEFAULT_ALPHABET and character != "\x1b")
    return character if known else "?"


def _read_submit(data: bytes) -> Part:
    first = data[0]
    if first & 3 != 1:
        raise ValueError("no SMS-SUBMIT")
    phone, position = _read_address(data, 2)
    coding = data[position + 1]
    position += 2 + (0, 7, 1, 7)[first >> 3 & 3]  # TP-PID, TP-DCS, TP-VP by its format
    length = data[position]
    return _read_user_data(phone, _alphabet_of(coding), bool(first & _UDHI), length, data[position + 1 :])


def _read_address(data: bytes, position: int) -> tuple[str, int]:
    """The number at a position and the position after it (23.040 section 9.1.2.5)."""
    count, kind = data[position], data[position + 1]
    if not 1 <= count <= _ADDRESS_LIMIT or not kind & 0x80 or kind & 0x70 == 0x50:
        raise ValueError("no telephone number")
    end = position + 2 + (count + 1) // 2
    nibbles = [nibble for byte in data[position + 2 : end] for nibble in (byte & 0xF, byte >> 4)]
    if count % 2 and nibbles.pop() != 0xF:
        raise ValueError("an odd number of digits is filled with F")
    digits = "".join(_ADDRESS_DIGITS[nibble] for nibble in nibbles)
    return ("+" if kind & 0x70 == 0x10 else "") + digits, end


def _alphabet_of(coding: int) -> int:
    """Which alphabet a TP-DCS names (23.038 section 4); ValueError for compressed and reserved ones."""
    if coding & 0xF0 == 0xF0 and not coding & 0x08:
        return OCTETS if coding & 0x04 else GSM
    if coding & 0xA0 or coding >> 2 & 3 == 3:
        raise ValueError("a compressed, reserved or other data coding")
    return coding >> 2 & 3


def _read_user_data(phone: str, alphabet: int, header: bool, length: int, data: bytes) -> Part:
    """The part in a TP-UD of `length` septets or octets; ValueError where they do not fit."""
    octets = (length * 7 + 7) // 8 if alphabet == GSM else length
    if octets != len(data) or octets > 140:
        raise ValueError("the length does not fit")
    start = 1 + data[0] if header else 0
    if start > len(data):
        raise ValueError("the header is longer than the message")
    if alphabet == GSM:
        bits = int.from_bytes(data, "little")
        skipped = (start * 8 + 6) // 7  # fill bits bring the text to the next septet (23.040 section 9.2.3.24)
        text = decode_septets(bits >> 7 * i & 0x7F for i in range(skipped, length))
    elif alphabet == UCS2:
        if (length - start) % 2:
            raise ValueError("half a character")
        text = data[start:].decode("utf-16-be", "replace")
    else:
        text = data[start:].hex()
    group, number = _concatenation(data[1:start]) if header else (None, 1)
    return Part(phone, text, group, number)


def _concatenation(elements: bytes) -> tuple[tuple[int, int, int] | None, int]:
    """The group and number that a header's information elements tell (23.040 section 9.2.3.24.1 and .8)."""
    group, number, position = None, 1, 0
    while position < len(elements):
        kind, length = elements[position], elements[position + 1]
        value = elements[position + 2 : position + 2 + length]
        if len(value) != length or (kind, length) in ((0x24, 1), (0x25, 1)):
            raise ValueError("an element is cut off, or names a national alphabet, which nobody here has")
        if (kind, length) in ((0x00, 3), (0x08, 4)):
            reference, total, number_here = int.from_bytes(value[:-2], "big"), value[-2], value[-1]
            if total and 1 <= number_here <= total:
                group, number = (length - 2, reference, total), number_here
        position += 2 + length
    return group, number
