"""Files on a card, as CPython reaches them; hal/runtime/micropython/files.py has the same names."""

import errno
import os
import stat
import time

from hal.runtime.annotations import Any, BinaryIO, Callable, Coroutine
from hal.runtime.cpython.threads import Threads


def serial_offload() -> Callable[..., Coroutine[Any, Any, Any]]:
    """An `offload` with a thread of its own, which calls functions one after another in the order of the calls.

    A call whose caller is gone before its turn is not begun.
    """
    return Threads(1).call


def link_status(path: str) -> tuple:
    """os.stat of a path without following it where it is a link."""
    return os.lstat(path)


def translate(text: str, table: dict) -> str:
    """The text with its characters replaced by a table from code to code."""
    return text.translate(table)


def real_path(path: str) -> str:
    """The path without links in it."""
    return os.path.realpath(path)


def list_folder(path: str) -> list:
    """[(name, "file"|"folder"|"link"|"other")] of all that is in a folder."""
    with os.scandir(path) as entries:
        return [(entry.name, _entry_kind(entry)) for entry in entries]


def _entry_kind(entry: os.DirEntry) -> str:
    if entry.is_file(follow_symlinks=False):
        return "file"
    if entry.is_dir(follow_symlinks=False):
        return "folder"
    return "link" if entry.is_symlink() else "other"


def folder_stamp(path: str) -> int | None:
    """A number that changes when something is added to a folder, removed or renamed, where the medium tells.

    None while the last change is so recent that another one would not show: FAT counts in steps of 2 seconds.
    """
    stamp: int = os.stat(path).st_mtime_ns
    return None if time.time_ns() - stamp < 2_000_000_000 else stamp


def open_regular(path: str) -> BinaryIO:
    """Open a file for unbuffered reading; OSError for a link, and never waits for the other end of a pipe."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a file")
    return open(descriptor, "rb", buffering=0)


def open_new(path: str) -> BinaryIO:
    """Make a file that was not there, not through a link either, and open it for unbuffered writing."""
    return open(path, "xb", buffering=0)


def sync_folder(path: str) -> None:
    """Bring a folder's entries to the medium."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
