"""Update bundles for boards that keep their firmware in folders: a signed header, then the files in one stream.

    mc252-bundle 1 LENGTH\\n      LENGTH bytes of header follow
    header                       a signed document (hal/update/signed.py) of use "bundle"
    stream                       the files' contents one behind another, compressed by zlib (RFC 1950)

The header's payload says for what the bundle is, and of every file the path, size and SHA-256, in the order of the
stream; so what is signed covers every byte, and nothing is written that the header does not name.
"""

import os

from hal.contracts import UpdateRefused
from hal.fields import BadField, Field, Integer, ListOf, Object, Text
from hal.json_text import json_loads
from hal.runtime import MICROPYTHON, make_folder
from hal.runtime.annotations import BinaryIO, Iterator
from hal.runtime.archive import Sha256, ZlibReader, sync_all
from hal.runtime.files import open_new, open_regular
from hal.update.signed import Keyring, Moment, open_signed
from hal.update.version import VERSION

MAGIC = b"mc252-bundle 1 "
HEADER_LIMIT = 1 << 20  # bytes
CHUNK = 4096 if MICROPYTHON else 65536  # bytes that are held at once

_DIGEST = Text(64, 64)

FILE = Object(Field("path", Text(240, 1)), Field("size", Integer(0, 1 << 30)), Field("sha256", _DIGEST))

HEADER = Object(
    Field("version", VERSION, help="of the firmware inside"),
    Field("minVersion", VERSION, "0.0.0", help="oldest firmware that may install this one"),
    Field("compatible", ListOf(Text(64, 1), 32, 1), help="names of the boards that it is for"),
    Field("architecture", Text(64, 1), help="system, processor and Python that its modules were built for"),
    Field("size", Integer(0, 1 << 31), help="bytes of the stream"),
    Field("sha256", _DIGEST, help="of the stream"),
    Field("files", ListOf(FILE, 8192, 1)),
)


class Bundle:
    """An opened bundle: its header, checked and believed, and where its stream begins."""

    def __init__(self, path: str, header: dict, document: dict, begin: int):
        self.path = path
        self.header = header
        self.document = document  # the signed document as it was read
        self.begin = begin

    @property
    def unpacked_size(self) -> int:
        """Bytes of all files."""
        return sum(entry["size"] for entry in self.header["files"])


def open_bundle(path: str, keyring: Keyring, moment: Moment) -> Bundle:
    """Read the header of a bundle and believe it. UpdateRefused; OSError."""
    with open_regular(path) as file:
        line = _first_line(file)
        length = _header_length(line)
        text = file.read(length)
    if len(text) < length:
        raise UpdateRefused("UPDATE_CUT_SHORT", "the bundle ends in its header")
    try:
        document = json_loads(text.decode())
    except ValueError:
        raise UpdateRefused("UPDATE_UNSIGNED", "the bundle's header is not JSON") from None
    header = checked_header(open_signed(document, "bundle", keyring, moment))
    assert isinstance(document, dict)
    return Bundle(path, header, document, len(line) + length)


def checked_header(payload: dict) -> dict:
    """A header's members; UpdateRefused where it is none, or where a path leaves the folder."""
    try:
        header = HEADER.check(payload, "header")
    except BadField as exc:
        raise UpdateRefused("UPDATE_BAD_BUNDLE", str(exc)) from None
    paths = set()
    for entry in header["files"]:
        if not is_inside(entry["path"]) or entry["path"] in paths:
            raise UpdateRefused("UPDATE_BAD_PATH", f"the bundle has a file outside its folder: {entry['path'][:80]}")
        paths.add(entry["path"])
    return header


def is_inside(path: str) -> bool:
    """Whether a relative path with / stays inside its folder on every file system."""
    if "\\" in path or "\0" in path or ":" in path:
        return False
    return all(part not in ("", ".", "..") for part in path.split("/"))


def check_stream(bundle: Bundle) -> None:
    """UpdateRefused where the stream is not the one that was signed."""
    size = os.stat(bundle.path)[6] - bundle.begin
    if size < bundle.header["size"]:
        raise UpdateRefused("UPDATE_CUT_SHORT", f"the bundle lacks {bundle.header['size'] - size} bytes")
    digest = Sha256()
    with open_regular(bundle.path) as file:
        file.seek(bundle.begin)
        while data := file.read(CHUNK):
            digest.update(data)
    if digest.hex() != bundle.header["sha256"]:
        raise UpdateRefused("UPDATE_CHANGED", "the bundle was changed after it was signed")


def unpacking(bundle: Bundle, folder: str) -> Iterator[int]:
    """Write the files of a bundle into an empty folder, a piece at each step, which gives the percent that is done.

    They are on the medium after the last one. UpdateRefused where a file is not the one that was signed; OSError.
    """
    done, whole = 0, max(1, bundle.unpacked_size)
    with open_regular(bundle.path) as file:
        file.seek(bundle.begin)
        stream = ZlibReader(file)
        for entry in bundle.header["files"]:
            _make_folders(folder, entry["path"])
            for count in _writing(stream, folder + "/" + entry["path"], entry):
                done += count
                yield done * 100 // whole
    sync_all()  # once: a card takes a tenth of a second for each


def file_digest(path: str) -> str:
    """SHA-256 of a file in hexadecimal. OSError."""
    digest = Sha256()
    with open_regular(path) as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return digest.hex()


def _first_line(file: BinaryIO) -> bytes:
    line = file.read(len(MAGIC) + 8)
    end = line.find(b"\n")
    if not line.startswith(MAGIC) or end < 0:
        raise UpdateRefused("UPDATE_BAD_BUNDLE", "this is no update bundle")
    file.seek(end + 1)
    return line[: end + 1]


def _header_length(line: bytes) -> int:
    digits = line[len(MAGIC) : -1]
    if not digits.isdigit() or not 0 < int(digits) <= HEADER_LIMIT:
        raise UpdateRefused("UPDATE_BAD_BUNDLE", f"the bundle's header must have 1..{HEADER_LIMIT} bytes")
    return int(digits)


def _make_folders(folder: str, path: str) -> None:
    for part in path.split("/")[:-1]:
        folder += "/" + part
        make_folder(folder)


def _read(stream: ZlibReader, count: int) -> bytes:
    try:
        return stream.read(count)
    except ValueError as exc:
        raise UpdateRefused("UPDATE_CHANGED", str(exc)) from None


def _writing(stream: ZlibReader, path: str, entry: dict) -> Iterator[int]:
    """Write one file, a piece at each step, which gives its size."""
    digest, left = Sha256(), entry["size"]
    with open_new(path) as file:
        while left:
            data = _read(stream, min(left, CHUNK))
            if not data:
                raise UpdateRefused("UPDATE_CHANGED", f"the bundle holds less of {entry['path']} than its header says")
            digest.update(data)
            file.write(data)
            left -= len(data)
            yield len(data)
    if digest.hex() != entry["sha256"]:
        raise UpdateRefused("UPDATE_CHANGED", f"{entry['path']} is not the file that was signed")
