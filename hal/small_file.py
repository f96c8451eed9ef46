"""Small files that a power cut leaves as they were or as they are to be, and that may be damaged in any way."""

import os

from hal.runtime import MICROPYTHON, fsync_file, open_regular, sync_folder

SIZE_LIMIT = 65536  # bytes


def read_whole(path: str) -> str:
    """The text of a file. OSError where it cannot be read or is none (a pipe, a link), ValueError for no UTF-8 text."""
    with open_regular(path) as file:
        data = file.read(SIZE_LIMIT + 1)
    if len(data) > SIZE_LIMIT:
        raise ValueError("too large")
    return data.decode()


def write_whole(path: str, text: str, mode: int = 0o600) -> None:
    """Put a file in place of the one before it, with these permissions, on the medium when it returns. OSError."""
    with _create(path + ".new", mode) as file:
        file.write(text)
        fsync_file(file)
    os.rename(path + ".new", path)
    sync_folder(path.rpartition("/")[0] or ".")


def _create(path: str, mode: int):
    if MICROPYTHON:
        return open(path, "w")
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    os.fchmod(descriptor, mode)
    return open(descriptor, "w")
