"""Values of templates out of registers: numbers, truth, texts."""

from firmware.services.bus.registers import numbers, ordered
from hal.runtime.annotations import Any

WORDS = {"uint16": 1, "int16": 1, "bool": 1, "uint32": 2, "int32": 2, "float32": 2}  # registers of a value
NUMBERS = ("uint16", "int16", "uint32", "int32", "float32")


def decode(param: dict, words: list) -> Any:
    """A parameter's value from its registers (or bits): a number, boolean, text, or a list of them where `count` says
    more than one. null for a float that is no number."""
    if param["type"] == "string":
        return _text(param["order"], words)
    if param["type"] == "bool":
        values: list = [bool(word) for word in words]
    else:
        values = numbers(param["type"], param["order"], words, param["scale"])
    return values if param["count"] is not None and param["count"] > 1 else values[0]


def _text(order: str, words: list[int]) -> str:
    """The text in registers, up to its first NUL: two characters a register, or one in either half of it."""
    if 0 in words:
        words = words[: words.index(0)]
    if all(word < 256 for word in words):
        raw = bytes(words)
    else:
        pairs = [ordered(order, [word]) for word in words]
        if not any(pair[1] for pair in pairs):
            pairs = [pair[:1] for pair in pairs]
        raw = b"".join(pairs)
    raw = raw.split(b"\0")[0]
    try:
        return raw.decode().strip()
    except UnicodeError:
        return "".join(chr(byte) for byte in raw).strip()
