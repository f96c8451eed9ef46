"""Files on a card, as MicroPython reaches them; hal/runtime/cpython/files.py has the same names."""

import os

from hal.runtime.annotations import Any, BinaryIO, Callable, Coroutine
from hal.runtime.micropython import offload


def serial_offload() -> Callable[..., Coroutine[Any, Any, Any]]:
    """An `offload` that calls functions one after another."""
    return offload


def link_status(path: str) -> tuple:
    """os.stat of a path without following it where it is a link; there are no links here."""
    return os.stat(path)


def translate(text: str, table: dict) -> str:
    """The text with its characters replaced by a table from code to code."""
    return "".join(chr(table.get(ord(character), ord(character))) for character in text)


def real_path(path: str) -> str:
    """The path without links in it."""
    return path


def list_folder(path: str) -> list:
    """[(name, "file"|"folder"|"link"|"other")] of all that is in a folder."""
    kinds = {0x4000: "folder", 0x8000: "file"}
    return [(entry[0], kinds.get(entry[1], "other")) for entry in os.ilistdir(path)]  # type: ignore[attr-defined]


def folder_stamp(path: str) -> int | None:
    """A number that changes when something is added to a folder, removed or renamed; nobody else does that here."""
    return int(os.stat(path)[8])


def open_regular(path: str) -> BinaryIO:
    """Open a file for unbuffered reading."""
    return open(path, "rb")


def open_new(path: str) -> BinaryIO:
    """Make a file and open it for unbuffered writing."""
    return open(path, "wb")


def sync_folder(path: str) -> None:
    """Bring a folder's entries to the medium; here each change does that."""
