"""What unpacking and checking an update takes, on CPython: digests as data comes, zlib streams, Ed25519, folders."""

import hashlib
import os
import shutil
import zlib

from hal.runtime.annotations import BinaryIO

_BLOCK = 65536


class Sha256:
    """A SHA-256 of data that comes in pieces."""

    def __init__(self) -> None:
        self._state = hashlib.sha256()

    def update(self, data: bytes) -> None:
        """Take the next piece."""
        self._state.update(data)

    def hex(self) -> str:
        """The digest of all so far, in hexadecimal."""
        return self._state.hexdigest()


class ZlibReader:
    """Reads what a zlib stream (RFC 1950) in a file holds, never more at once than was asked for."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._state = zlib.decompressobj()
        self._packed = b""

    def read(self, count: int) -> bytes:
        """Up to so many bytes, none at the end. ValueError where the stream is broken."""
        while not self._state.eof:
            self._packed = self._state.unconsumed_tail or self._file.read(_BLOCK)
            try:
                data = self._state.decompress(self._packed, count)
            except zlib.error as exc:
                raise ValueError(f"the stream is broken: {exc}") from None
            if data or not self._packed:
                return data
        return b""


def ed25519_verifies(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature (RFC 8032) of 64 bytes is over the data and of the public key of 32 bytes."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def remove_tree(path: str) -> None:
    """Remove a folder and all in it, links not followed; nothing where there is none. OSError."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass


def sync_all() -> None:
    """Bring all that was written to its medium."""
    os.sync()
