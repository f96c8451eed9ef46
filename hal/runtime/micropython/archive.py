"""What unpacking and checking an update takes, on MicroPython: digests as data comes, zlib streams, folders."""

import hashlib
import os

import deflate  # type: ignore[import-not-found]

from hal.runtime.annotations import BinaryIO

__all__ = ["Sha256", "ZlibReader", "ed25519_verifies", "remove_tree", "sync_all"]


class Sha256:
    """A SHA-256 of data that comes in pieces."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        self._state.update(data)

    def hex(self) -> str:
        """The digest of all that came, in hexadecimal; no more may come then."""
        return "".join(f"{byte:02x}" for byte in self._state.digest())


class ZlibReader:
    """Reads what a zlib stream (RFC 1950) in a file holds, never more at once than was asked for."""

    def __init__(self, file: BinaryIO):
        self._stream = deflate.DeflateIO(file, deflate.ZLIB)

    def read(self, count: int) -> bytes:
        """Up to so many bytes, none at the end. ValueError where the stream is broken."""
        try:
            return self._stream.read(count)
        except (OSError, EOFError) as exc:
            raise ValueError(f"the stream is broken: {exc}") from None


def ed25519_verifies(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature (RFC 8032) of 64 bytes is over the data and of the public key of 32 bytes."""
    from hal.runtime.ed25519 import verifies  # here, for few who unpack something verify it

    return verifies(key, signature, data)


def remove_tree(path: str) -> None:
    """Remove a folder and all in it; nothing where there is none. OSError."""
    try:
        entries = list(os.ilistdir(path))  # type: ignore[attr-defined]
    except OSError:
        return
    for entry in entries:
        if entry[1] == 0x4000:
            remove_tree(path + "/" + entry[0])
        else:
            os.remove(path + "/" + entry[0])
    os.rmdir(path)


def sync_all() -> None:
    """Bring all that was written to its medium; here closing a file did that."""
