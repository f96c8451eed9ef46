"""Numbers in registers: types, byte orders, scales.

They are computed in decimals, not in floats: 123456789 times 0.01 is 1234567.89, and a float of 32 bits has the digits
that it has and no others.
"""

import struct

from hal.fields import BadField
from hal.runtime.annotations import Any
from hal.runtime.decimals import Decimal, ieee_text, product

ORDERS = ("ABCD", "CDAB", "BADC", "DCBA")  # how the bytes of a value stand on the wire, A the highest
NUMBERS = ("uint16", "int16", "uint32", "int32", "float32", "uint64", "int64", "float64")

_STRUCT = {"float32": ">f", "float64": ">d"}
_FLOAT_MAX = {"float32": 3.4028234663852886e38, "float64": 1.7976931348623157e308}


def width(kind: str) -> int:
    """Registers of a number."""
    return int(kind[-2:]) // 16


def limits(kind: str) -> tuple:
    """(lowest, highest) number of a type."""
    if kind in _FLOAT_MAX:
        return -_FLOAT_MAX[kind], _FLOAT_MAX[kind]
    bits = int(kind[-2:])
    return (0, (1 << bits) - 1) if kind[0] == "u" else (-(1 << bits - 1), (1 << bits - 1) - 1)


def encode(kind: str, order: str, number: Any, where: str) -> bytes:
    """The bytes of a number's registers; BadField where it is none of the type."""
    lowest, highest = limits(kind)
    whole = kind not in _FLOAT_MAX
    fits = isinstance(number, int) or (isinstance(number, float) and not whole)
    if not fits or isinstance(number, bool) or not lowest <= number <= highest:
        raise BadField(f"{where}: must be a {'whole ' if whole else ''}number {lowest}..{highest} for type {kind}")
    if whole:
        raw = (number & (1 << int(kind[-2:])) - 1).to_bytes(2 * width(kind), "big")
    else:
        raw = struct.pack(_STRUCT[kind], number)
    return ordered(order, [raw[at] << 8 | raw[at + 1] for at in range(0, len(raw), 2)])


def numbers(kind: str, order: str, words: list[int], scale: Any = 1) -> list:
    """The numbers in registers, multiplied by a scale (int, Decimal or float): integers, and what is none as decimal
    text; None for a float that is no number."""
    size = width(kind)
    return [_number(kind, ordered(order, words[at : at + size]), scale) for at in range(0, len(words), size)]


def ordered(order: str, words: list[int]) -> bytes:
    """The bytes of registers with the highest first; `order` says how they stand on the wire."""
    if order in ("CDAB", "DCBA"):
        words = words[::-1]
    data = bytearray()
    for word in words:
        pair = (word & 0xFF, word >> 8) if order in ("BADC", "DCBA") else (word >> 8, word & 0xFF)
        data += bytes(pair)
    return bytes(data)


def _number(kind: str, raw: bytes, scale: Any) -> int | Decimal | None:
    if kind in _FLOAT_MAX:
        text = ieee_text(raw)
        if text is None:
            return None
        return Decimal(text) if scale == 1 else product(text, repr(scale), False)
    value = int.from_bytes(raw, "big")
    if kind[0] == "i" and raw[0] & 0x80:
        value -= 1 << 8 * len(raw)
    return value if scale == 1 else product(str(value), repr(scale), True)
