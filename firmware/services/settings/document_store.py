"""Documents that survive a power cut at any moment.

A document is kept in NAME, the one before it in NAME.old. Saving writes NAME.new beside them and syncs it, renames NAME
to NAME.old and NAME.new to NAME, and syncs the folder: at every moment NAME or NAME.old is whole, by renames alone, as
MicroPython has no links. A checksum tells what is whole; a generation number, whether a file is the document in use.
"""

import os

from hal.json_text import json_loads
from hal.runtime import MICROPYTHON, fsync_file, json_dumps, log, sha256
from hal.runtime.annotations import IO
from hal.runtime.files import sync_folder
from hal.small_file import make_way, read_bytes

SIZE_LIMIT = 262144  # bytes of a stored document

_DIGEST = 64  # characters of a SHA-256 in hexadecimal


class FileOperations:
    """What a `DocumentStore` does to files, each method one step. All raise OSError."""

    def read(self, path: str) -> bytes | None:
        """A file's content, None where there is no such file. ValueError where it cannot be a document."""
        return read_bytes(path, SIZE_LIMIT)

    def make_way(self, path: str) -> None:
        """Have a file of this name be possible, whatever is there."""
        make_way(path)

    def create(self, path: str) -> IO[bytes]:
        """An empty file, open for writing; only the owner can read it. One that was there is emptied."""
        if MICROPYTHON:
            return open(path, "wb")
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")

    def write(self, file: IO[bytes], data: bytes) -> None:
        """Append to an open file."""
        if file.write(data) != len(data):
            raise OSError("not all was written")

    def sync(self, file: IO[bytes]) -> None:
        """Bring an open file's content to the medium."""
        fsync_file(file)

    def close(self, file: IO[bytes]) -> None:
        """Close a file."""
        file.close()

    def rename(self, path: str, new_path: str) -> None:
        """Rename a file over another."""
        os.rename(path, new_path)

    def remove(self, path: str) -> None:
        """Remove a file."""
        os.remove(path)

    def sync_folder(self, path: str) -> None:
        """Bring a folder's names to the medium."""
        sync_folder(path)


class DocumentStore:
    """Keeps one JSON object in a folder under a name. Its calls block and must not overlap.

    `lost` is true after a `load` that found no document although there was one: its files are damaged, or gone.
    """

    def __init__(self, folder: str, name: str, operations: FileOperations | None = None):
        self._folder = folder
        self._name = name
        self._path = folder + "/" + name
        self._files = operations or FileOperations()
        self._generation = 0  # of the document in use; 0: none was loaded or saved
        self._marked = False
        self.lost = False

    def load(self) -> tuple[dict | None, list[str]]:
        """(document, problems): the last whole one, None where there is none; what was found damaged, in words."""
        current, damage = self._try_read(self._path)
        previous, older_damage = self._try_read(self._path + ".old")
        self._marked = self._try_read(self._path + ".kept") != (None, "")  # an empty file is no document
        last = current or previous
        if last is None:
            problem = damage or older_damage or (f"{self._name}: is gone" if self._marked else "")
            self.lost = problem != ""
            return None, [problem + "; the defaults are in use"] if problem else []
        self._generation, document = last
        return document, [damage + "; the copy before it is in use"] if damage else []

    def save(self, document: dict) -> None:
        """Store the document in place of the one before it. After an OSError that one is still in force."""
        data = _pack(self._generation + 1, document)
        try:
            self._write(data)
        except OSError:
            self._withdraw(data)
            raise
        self._generation += 1

    def mark(self) -> None:
        """Leave a sign that there is a document, by which `load` knows one that is gone from one never saved."""
        if not self._marked:
            try:
                self._files.close(self._files.create(self._path + ".kept"))
                self._files.sync_folder(self._folder)
                self._marked = True
            except OSError as exc:
                log(f"{self._path}: that it is there cannot be noted: {exc}")

    def overwrite(self, document: dict) -> None:
        """Store the document in place of the one before it and of its copy, so that nothing of it is left to read.

        After an OSError the one before it is still in force.
        """
        self.save(document)
        try:
            self._write_new(_pack(self._generation, document))
            self._files.rename(self._path + ".new", self._path + ".old")
            self._files.sync_folder(self._folder)
        except OSError as exc:
            log(f"{self._path}: there is no second copy: {exc}")
            self._files.remove(self._path + ".old")

    def _try_read(self, path: str) -> tuple:
        """((generation, document) or None, what is wrong with the file or "")."""
        try:
            return self._read(path), ""
        except ValueError as exc:
            return None, f"{self._name}: is damaged ({exc})"
        except OSError as exc:
            return None, f"{self._name}: cannot be read (error {exc.errno})"

    def _read(self, path: str) -> tuple[int, dict] | None:
        data = self._files.read(path)
        return None if data is None else _unpack(data)

    def _write(self, data: bytes) -> None:
        if len(data) > SIZE_LIMIT:
            raise OSError("document is too large")
        for name in ("", ".old", ".new"):
            self._files.make_way(self._path + name)
        self._write_new(data)
        if self._generation_on_disk() == self._generation:
            self._files.rename(self._path, self._path + ".old")
        self._files.rename(self._path + ".new", self._path)
        self._files.sync_folder(self._folder)

    def _write_new(self, data: bytes) -> None:
        file = self._files.create(self._path + ".new")
        try:
            self._files.write(file, data)
            self._files.sync(file)
        finally:
            self._files.close(file)

    def _generation_on_disk(self) -> int | None:
        """Generation under the document's own name, None where nothing whole is there: that must not become .old."""
        try:
            data = self._files.read(self._path)
            return None if data is None else _checked(data)[0]
        except ValueError:
            return None

    def _withdraw(self, data: bytes) -> None:
        """Take back what a failed save left, so that no later start finds what its caller was told had failed."""
        try:
            if self._files.read(self._path) == data:
                self._files.remove(self._path)
            if self._files.read(self._path + ".new") is not None:
                self._files.remove(self._path + ".new")
            self._files.sync_folder(self._folder)
        except OSError as exc:
            log(f"{self._path}: what a failed write left could not be removed: {exc}")


def _pack(generation: int, document: dict) -> bytes:
    """A file's content: SHA-256 of the rest in hexadecimal, generation, document, a line each."""
    body = f"{generation}\n{json_dumps(document)}\n".encode()
    return sha256(body).hex().encode() + b"\n" + body


def _unpack(data: bytes) -> tuple[int, dict]:
    """(generation, document); ValueError where the content is not whole."""
    generation, begin = _checked(data)
    document = json_loads(data[begin:].decode())
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return generation, document


def _checked(data: bytes) -> tuple[int, int]:
    """(generation, where the document begins) of a file's content. ValueError where that is not whole."""
    if data[: _DIGEST + 1] != sha256(data[_DIGEST + 1 :]).hex().encode() + b"\n":
        raise ValueError("wrong checksum")
    end = data.find(b"\n", _DIGEST + 1)
    return int(data[_DIGEST + 1 : end]), end + 1
