"""Values out of registers: types, byte orders, scales, texts.

Numbers are computed in decimals, not in floats: 123456789 times 0.01 is 1234567.89, and a float of 32 bits has the
digits that it has and no others.
"""

import struct

WORDS = {"uint16": 1, "int16": 1, "bool": 1, "uint32": 2, "int32": 2, "float32": 2}  # registers of a value
NUMBERS = ("uint16", "int16", "uint32", "int32", "float32")
ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")  # how the bytes of a value stand on the wire, A the highest

_STRUCT = {"uint16": ">H", "int16": ">h", "uint32": ">I", "int32": ">i", "float32": ">f"}


def decode(param: dict, words: list):
    """A parameter's value from its registers (or bits): a number, boolean, text, or a list of them where `count` says
    more than one. null for a float that is no number."""
    if param["type"] == "string":
        return _text(param["order"], words)
    if param["type"] == "bool":
        values: list = [bool(word) for word in words]
    else:
        values = numbers(param["type"], param["order"], words, param["scale"])
    return values if param["count"] is not None and param["count"] > 1 else values[0]


def numbers(kind: str, order: str, words: "list[int]", scale=1) -> list:
    """The numbers in registers, multiplied by a scale; None for a float that is no number."""
    size = WORDS[kind]
    return [_number(kind, _ordered(order, words[at : at + size]), scale) for at in range(0, len(words), size)]


def _ordered(order: str, words: "list[int]") -> bytes:
    """The bytes of registers with the highest first; `order` says how they stand on the wire."""
    if order in ("CDAB", "DCBA"):
        words = words[::-1]
    data = bytearray()
    for word in words:
        pair = (word & 0xFF, word >> 8) if order in ("BADC", "DCBA") else (word >> 8, word & 0xFF)
        data += bytes(pair)
    return bytes(data)


def _number(kind: str, raw: bytes, scale):
    value = struct.unpack(_STRUCT[kind], raw)[0]
    if kind == "float32":
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return float(_product(_shortest(value, raw), repr(scale)))
    if scale == 1:
        return value
    text = _product(str(value), repr(scale))
    return float(text) if "." in text else int(text)


def _shortest(value: float, raw: bytes) -> str:
    """The shortest decimal text that means this float of 32 bits and no other."""
    text = ""
    for digits in range(6, 10):
        text = ("{:." + str(digits) + "g}").format(value)
        if struct.pack(">f", float(text)) == raw:
            break
    return text


def _product(text: str, other: str) -> str:
    """The product of two decimal texts, exactly."""
    number, places = _split(text)
    factor, more = _split(other)
    number *= factor
    places += more
    if places <= 0:
        return str(number * 10**-places)
    digits = str(abs(number))
    digits = "0" * (places + 1 - len(digits)) + digits
    return ("-" if number < 0 else "") + digits[:-places] + "." + digits[-places:]


def _split(text: str) -> "tuple[int, int]":
    """A decimal text as (whole number, how many of its digits stand behind the point; less than 0: zeros to add)."""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    return int(whole + fraction), len(fraction) - (int(exponent) if exponent else 0)


def _text(order: str, words: "list[int]") -> str:
    """The text in registers, up to its first NUL: two characters a register, or one in either half of it."""
    if 0 in words:
        words = words[: words.index(0)]
    if all(word < 256 for word in words):
        raw = bytes(words)
    else:
        pairs = [_ordered(order, [word]) for word in words]
        if not any(pair[1] for pair in pairs):
            pairs = [pair[:1] for pair in pairs]
        raw = b"".join(pairs)
    raw = raw.split(b"\0")[0]
    try:
        return raw.decode().strip()
    except UnicodeError:
        return "".join(chr(byte) for byte in raw).strip()
