"""JSON as the API takes it (RFC 8259): parsers take more, and a stack is finite."""

import asyncio
import json

from hal.runtime import MICROPYTHON
from hal.runtime.annotations import Any, Callable, Iterator
from hal.runtime.decimals import Decimal

JSON_DEPTH_LIMIT = 32  # nesting that the API accepts; its own bodies need 6

_BOM = b"\xef\xbb\xbf"
_SPACES = b" \t\n\r"
_HEX = b"0123456789abcdefABCDEF"
_ESCAPES = b'"\\/bfnrtu'
_WORD_LIMIT = 1024  # bytes of a number
_STEP = 1024  # bytes that are checked in one go


class JsonError(ValueError):
    """A text is not JSON; `position` is the character where that shows."""

    def __init__(self, message: str, position: int = 0):
        super().__init__(message)
        self.position = position


class WrongEncoding(ValueError):
    """Bytes are a text, but not in UTF-8; the message says in what."""


def json_loads(data: bytes | str) -> object:
    """Parse JSON, of a text or of its bytes; JsonError where it is broken or nested too deep. WrongEncoding."""
    text = json_decode(data)
    if MICROPYTHON:
        check_json(text)
    return _parse(text, _decode)


def json_loads_exact(text: str) -> object:
    """As json_loads, where a number that is not whole is a Decimal of its own digits: a board's float has seven."""
    if not MICROPYTHON:
        return _parse(text, json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_decimal).decode)
    data, done, parts = text.encode(), 0, []
    numbers: list[tuple[int, int]] = []
    for _ in _check(data, numbers):
        pass
    for start, end in numbers:  # no object has a member without a name but these
        parts.append(data[done:start] + b'{"":"' + data[start:end] + b'"}')
        done = end
    parts.append(data[done:])
    return _with_decimals(_parse(b"".join(parts).decode(), _decode))


def _decimal(word: str) -> Decimal:
    return Decimal(word.replace("E", "e"))


def _with_decimals(value: Any) -> object:
    if isinstance(value, list):
        return [_with_decimals(item) for item in value]
    if not isinstance(value, dict):
        return value
    if list(value) == [""] and isinstance(value[""], str) and _is_number(value[""]):
        return _decimal(value[""])
    return {name: _with_decimals(item) for name, item in value.items()}


async def json_loads_in_turns(data: bytes | str) -> object:
    """As json_loads; others run meanwhile where checking takes long: where the runtime's parser takes anything."""
    text = json_decode(data)
    if MICROPYTHON:
        for _ in _check(text.encode()):
            await asyncio.sleep(0)
    return _parse(text, _decode)


def json_decode(data: bytes | str) -> str:
    """The text of JSON in bytes: UTF-8, a byte order mark before it passed over (RFC 8259 section 8.1).

    JsonError; WrongEncoding where they are UTF-16 or UTF-32.
    """
    if isinstance(data, str):
        return data[1:] if data[:1] == "\ufeff" else data
    start = bytes(data[:4])
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start:
        raise WrongEncoding(f"it is {'UTF-32' if bytes(2) in start else 'UTF-16'}; JSON is UTF-8")
    try:
        return (data[3:] if start[:3] == _BOM else data).decode()
    except UnicodeError:
        raise JsonError("it is not UTF-8") from None


def _parse(text: str, decode: Callable[[str], object]) -> object:
    try:
        value = decode(text)
    except RuntimeError:  # RecursionError, which MicroPython calls so
        raise JsonError(f"it is nested deeper than {JSON_DEPTH_LIMIT}") from None
    except JsonError:  # a word that is no value; the parser does not tell where it stands
        check_json(text)
        raise
    except ValueError as exc:
        raise JsonError(getattr(exc, "msg", str(exc)), getattr(exc, "pos", 0)) from None
    if not MICROPYTHON and text.count("[") + text.count("{") > JSON_DEPTH_LIMIT and _is_deep(value):
        raise JsonError(f"it is nested deeper than {JSON_DEPTH_LIMIT}")
    return value


def _refuse_constant(word: str) -> None:
    raise JsonError(f"{word} is no value")


_decode = json.loads if MICROPYTHON else json.JSONDecoder(parse_constant=_refuse_constant).decode


def _is_deep(value: object) -> bool:
    """Whether lists and objects are nested deeper than the limit, looked at level by level."""
    level: list = [value]
    for _ in range(JSON_DEPTH_LIMIT + 1):
        level = [item for item in level if isinstance(item, (list, dict))]
        if not level:
            return False
        level = [inner for item in level for inner in (item.values() if isinstance(item, dict) else item)]
    return True


def check_json(text: str) -> None:
    """JsonError where a text is not JSON or nested too deep; as good as the parser's own checks, but slow."""
    for _ in _check(text.encode()):
        pass


def _check(data: bytes, numbers: list[tuple[int, int]] | None = None) -> Iterator[None]:
    """JsonError where bytes are not JSON or nested too deep; a generator, which pauses after every _STEP bytes.

    Where numbers stand that are not whole, (begin, end), is put into `numbers`.
    """
    position, length, paused = 0, len(data), 0
    closers = bytearray()  # of the open arrays and objects
    expected = "value"  # or "first" (a value or the end of an array), "key", "first key", "colon", "end" (, ] or })
    while position < length:
        if position - paused >= _STEP:
            paused = position
            yield
        letter = data[position]
        if letter in _SPACES:
            position += 1
        elif expected in ("value", "first") and letter in b"[{":
            closers.append(93 if letter == 91 else 125)  # ] of [, } of {
            if len(closers) > JSON_DEPTH_LIMIT:
                raise _error(f"it is nested deeper than {JSON_DEPTH_LIMIT}", data, position)
            expected = "first" if letter == 91 else "first key"
            position += 1
        elif expected in ("value", "first") and letter not in b"]},:":
            start = position
            position = _end_of_string(data, position) if letter == 34 else _end_of_word(data, position)
            if numbers is not None and _is_fraction(data[start:position]):
                numbers.append((start, position))
            expected = "end"
        elif expected in ("key", "first key") and letter == 34:
            position = _end_of_string(data, position)
            expected = "colon"
        elif expected == "colon" and letter == 58:
            expected = "value"
            position += 1
        elif expected == "end" and letter == 44 and closers:
            expected = "value" if closers[-1] == 93 else "key"
            position += 1
        elif expected in ("end", "first", "first key") and closers and letter == closers[-1]:
            closers = closers[:-1]
            expected = "end"
            position += 1
        else:
            raise _error(f"unexpected {chr(letter)}", data, position)
    if closers or expected != "end":
        raise _error("it ends too early", data, length)


def _is_fraction(word: bytes) -> bool:
    """Whether a JSON word is a number with a fraction or an exponent."""
    return word[:1] in b"-0123456789" and (b"." in word or b"e" in word or b"E" in word)


def _error(message: str, data: bytes, position: int) -> JsonError:
    return JsonError(message, len(data[:position].decode()))


def _end_of_string(data: bytes, start: int) -> int:
    """Where a string ends; each byte is looked at a bounded number of times, whatever is escaped."""
    position, quote = start + 1, -1
    while True:
        if quote < position:
            quote = data.find(b'"', position)
            if quote < 0:
                raise _error("it ends in a string", data, start)
        slash = data.find(b"\\", position, quote)
        end = quote if slash < 0 else slash
        if end > position and min(data[position:end]) < 32:
            raise _error("control character in a string", data, position)
        if slash < 0:
            return quote + 1
        position = _end_of_escape(data, slash)


def _end_of_escape(data: bytes, slash: int) -> int:
    letter = data[slash + 1 : slash + 2]
    digits = data[slash + 2 : slash + 6] if letter == b"u" else b""
    if not letter or letter not in _ESCAPES or (letter == b"u" and len(digits) < 4):
        raise _error("unknown escape in a string", data, slash)
    if not all(digit in _HEX for digit in digits):
        raise _error("unknown escape in a string", data, slash)
    return slash + 2 + len(digits)


def _end_of_word(data: bytes, start: int) -> int:
    """End of a number or of true, false, null."""
    end = start
    while end < len(data) and data[end] not in b' \t\n\r,]}:[{"' and end - start <= _WORD_LIMIT:
        end += 1
    word = data[start:end]
    if word not in (b"true", b"false", b"null") and not (len(word) <= _WORD_LIMIT and _is_number(word.decode())):
        raise _error("no value", data, start)
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
