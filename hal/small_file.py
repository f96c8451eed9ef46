"""Small files that a power cut leaves as they were or as they are to be, and that may be damaged in any way."""

import os

from hal.runtime import ENOENT, MICROPYTHON, fsync_file
from hal.runtime.annotations import TextIO
from hal.runtime.files import open_regular, sync_folder

SIZE_LIMIT = 65536  # bytes

_KIND, _FILE, _FOLDER, _DEVICE = 0xF000, 0x8000, 0x4000, 0x2000  # of st_mode, the same on both runtimes
_ASIDE_LIMIT = 9  # folders kept that were in a file's place


def read_whole(path: str) -> str:
    """The text of a file. OSError where it cannot be read or is none (a pipe, a link), ValueError for no UTF-8 text."""
    with open_regular(path) as file:
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ValueError("too large")
    return data.decode()


def read_bytes(path: str, limit: int) -> bytes | None:
    """A file's content, through links too; None: there is none. ValueError where it is longer or a pipe; OSError."""
    found = _status(path)
    if found is None:
        return None
    if found[0] & _KIND not in (_FILE, _FOLDER, _DEVICE):  # opening a pipe waits for its other end
        raise ValueError("not a file")
    if found[6] > limit:
        raise ValueError("too large")
    with open(path, "rb") as file:
        return file.read(found[6])


def write_whole(path: str, text: str, mode: int = 0o600) -> None:
    """Put a file in place of the one before it, with these permissions, on the medium when it returns. OSError."""
    make_way(path)
    make_way(path + ".new")
    with _create(path + ".new", mode) as file:
        file.write(text)
        fsync_file(file)
    os.rename(path + ".new", path)
    sync_folder(path.rpartition("/")[0] or ".")


def make_way(path: str) -> None:
    """Have a file of this name be possible: a folder is renamed, a pipe or a socket removed. OSError."""
    found = _status(path)
    kind = _FILE if found is None else found[0] & _KIND
    if kind == _FOLDER:
        os.rename(path, _free_name(path + ".aside"))
    elif kind not in (_FILE, _DEVICE):
        os.remove(path)


def _create(path: str, mode: int) -> TextIO:
    if MICROPYTHON:
        return open(path, "w")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)
    return open(descriptor, "w")


def _status(path: str) -> tuple | None:
    """os.stat of a path, None where there is nothing. OSError."""
    try:
        return os.stat(path)
    except OSError as exc:
        if exc.errno == ENOENT:
            return None
        raise


def _free_name(path: str) -> str:
    for number in range(1, _ASIDE_LIMIT + 1):
        if _status(f"{path}{number}") is None:
            return f"{path}{number}"
    raise OSError("too much is in the way")
