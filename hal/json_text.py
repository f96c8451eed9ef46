"""JSON as the API takes it (RFC 8259): parsers take more, and a stack is finite."""

import json

from hal.runtime import MICROPYTHON

JSON_DEPTH_LIMIT = 32  # nesting that the API accepts; its own bodies need 6

_HEX = "0123456789abcdefABCDEF"


class JsonError(ValueError):
    """A text is not JSON; `position` is where that shows."""

    def __init__(self, message: str, position: int):
        super().__init__(message)
        self.position = position


class WrongEncoding(ValueError):
    """Bytes are a text, but not in UTF-8; the message says in what."""


def json_decode(data: bytes) -> str:
    """The text of JSON in bytes: UTF-8, a byte order mark before it passed over (RFC 8259 section 8.1).

    ValueError; WrongEncoding where they are UTF-16 or UTF-32.
    """
    start = bytes(data[:4])
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        raise WrongEncoding(f"it is {'UTF-32' if bytes(2) in start else 'UTF-16'}; JSON is UTF-8")
    return (data[3:] if start[:3] == b"\xef\xbb\xbf" else data).decode()


def json_loads(text: str) -> object:
    """Parse JSON; ValueError where it is broken, nested too deep, or holds anything but JSON."""
    if MICROPYTHON or text.count("[") + text.count("{") > JSON_DEPTH_LIMIT:
        check_json(text)
    return json.loads(text)


def check_json(text: str) -> None:
    """JsonError where a text is not JSON (RFC 8259) or nested too deep: parsers take more, and a stack is finite."""
    position, length = 0, len(text)
    closers = []  # of the open arrays and objects
    expected = "value"  # or "first" (a value or the end of an array), "key", "first key", "colon", "end" (, ] or })
    while position < length:
        character = text[position]
        if character in " \t\n\r":
            position += 1
        elif expected in ("value", "first") and character in "[{":
            closers.append("]" if character == "[" else "}")
            if len(closers) > JSON_DEPTH_LIMIT:
                raise JsonError(f"nested deeper than {JSON_DEPTH_LIMIT}", position)
            expected = "first" if character == "[" else "first key"
            position += 1
        elif expected in ("value", "first") and character not in "]},:":
            position = _end_of_string(text, position) if character == '"' else _end_of_word(text, position)
            expected = "end"
        elif expected in ("key", "first key") and character == '"':
            position = _end_of_string(text, position)
            expected = "colon"
        elif expected == "colon" and character == ":":
            expected = "value"
            position += 1
        elif expected == "end" and character == "," and closers:
            expected = "value" if closers[-1] == "]" else "key"
            position += 1
        elif expected in ("end", "first", "first key") and closers and character == closers[-1]:
            closers.pop()
            expected = "end"
            position += 1
        else:
            raise JsonError(f"unexpected {character}", position)
    if closers or expected != "end":
        raise JsonError("ends too early", length)


def _end_of_string(text: str, start: int) -> int:
    position = start + 1
    while position < len(text):
        character = text[position]
        if character == '"':
            return position + 1
        if character < " ":
            raise JsonError("control character in a string", position)
        if character == "\\":
            position += 1
            escape = text[position : position + 1]
            if escape not in ('"', "\\", "/", "b", "f", "n", "r", "t", "u"):
                raise JsonError("unknown escape in a string", position)
            if escape == "u" and not all(digit in _HEX for digit in (text[position + 1 : position + 5] + "    ")[:4]):
                raise JsonError("unknown escape in a string", position)
        position += 1
    raise JsonError("ends in a string", start)


def _end_of_word(text: str, start: int) -> int:
    """End of a number or of true, false, null."""
    end = start
    while end < len(text) and text[end] not in ' \t\n\r,]}:[{"':
        end += 1
    word = text[start:end]
    if word not in ("true", "false", "null") and not _is_number(word):
        raise JsonError(f"{word[:20]} is no value", start)
    return end


def _is_number(word: str) -> bool:
    mantissa, mark, exponent = word.replace("E", "e").partition("e")
    if mark and not _is_digits(exponent[1:] if exponent[:1] in ("+", "-") else exponent):
        return False
    whole, point, fraction = (mantissa[1:] if mantissa[:1] == "-" else mantissa).partition(".")
    if point and not _is_digits(fraction):
        return False
    return _is_digits(whole) and (whole == "0" or whole[0] != "0")


def _is_digits(text: str) -> bool:
    return bool(text) and all("0" <= digit <= "9" for digit in text)
