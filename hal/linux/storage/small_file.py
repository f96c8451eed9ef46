"""Small files that a power cut leaves as they were or as they are to be."""

import os

from hal.runtime import fsync_file, sync_folder


def write_whole(path: str, text: str, mode: int = 0o600) -> None:
    """Put a file in place of the one before it, with these permissions, on the medium when it returns. OSError."""
    descriptor = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    with open(descriptor, "w") as file:
        os.fchmod(descriptor, mode)
        file.write(text)
        fsync_file(file)
    os.replace(path + ".new", path)
    sync_folder(os.path.dirname(path) or ".")
