"""Command lines as ITU-T V.250 section 5 has them: read into commands, and their arguments into values."""

import re
from collections.abc import Iterator
from typing import NamedTuple

from hal.simulated.modem.sim import CmeError

_BASIC = re.compile("(&?[A-Z])([0-9]*)")
_EXTENDED = re.compile(r"([+][A-Z][A-Z0-9]*)(=\?|\?|=)?")
_ARGUMENT = re.compile(r'"([^"]*)"|([0-9]*)')
_PIN = re.compile(r"(\+CPIN=)[^;]*", re.IGNORECASE)
_PASSWORD = re.compile(r'(\+CGAUTH=[0-9]+,[0-9]+,"[^"]*",)[^;]*', re.IGNORECASE)


class AtError(Exception):
    """A command that the modem does not know or cannot read: plain ERROR whatever +CMEE says."""


class Command(NamedTuple):
    """One command of a line; `operation` is "" (action, or its number), "?", "=?" or "="."""

    name: str
    operation: str
    arguments: str


def without_blanks(line: str) -> str:
    """A command line without the blanks outside its strings, which mean nothing."""
    return "".join(piece if piece.startswith('"') else piece.replace(" ", "") for piece in re.split('("[^"]*")', line))


def masked(line: str) -> str:
    """A command line fit to be kept: PIN, PUK and password are asterisks."""
    return _PASSWORD.sub(r"\1****", _PIN.sub(r"\1****", line))


def commands_of(body: str) -> Iterator[Command]:
    """The commands of a line after its AT, in turn. AtError at the first that cannot be read."""
    upper = "".join(p if p.startswith('"') else p.upper() for p in re.split('("[^"]*")', body))
    position = 0
    while position < len(upper):
        basic = _BASIC.match(upper, position)
        if basic:
            yield Command(basic[1], "", basic[2])
            position = basic.end()
            continue
        extended = _EXTENDED.match(upper, position)
        if not extended:
            raise AtError
        end = _end_of_extended(upper, extended.end())
        arguments = upper[extended.end() : end]
        if arguments and extended[2] != "=":
            raise AtError
        yield Command(extended[1], extended[2] or "", arguments)
        position = end + 1


def _end_of_extended(line: str, start: int) -> int:
    """Where the semicolon outside strings is, or the line ends (V.250 section 5.4.4)."""
    quoted = False
    for position in range(start, len(line)):
        quoted ^= line[position] == '"'
        if line[position] == ";" and not quoted:
            return position
    return len(line)


def arguments_of(text: str) -> list:
    """The values of a list: str for strings, int for numbers, None for ones left out. AtError."""
    values: list = []
    position = 0
    while True:
        match = _ARGUMENT.match(text, position)
        assert match is not None
        values.append(match[1] if match[1] is not None else int(match[2]) if match[2] else None)
        position = match.end()
        if position == len(text):
            return values
        if text[position] != ",":
            raise AtError
        position += 1


def require_operation(operation: str, *allowed: str) -> None:
    """AtError where a command has no such form."""
    if operation not in allowed:
        raise AtError


def number_in(value: object, low: int, high: int) -> int:
    """The number, CmeError 50 where it is none or out of its range."""
    if not isinstance(value, int) or not low <= value <= high:
        raise CmeError(50)
    return value
