"""Brings a bundle from a folder on a web server or on the SD card to the updater, by its signed index.

The bundle comes in blocks that go straight to the medium. A record beside it says what it is to become, so that a
download goes on where it broke off, over restarts and power cuts too; its digest is known beforehand and judged at the
end.
"""

import os

from firmware.services.card.absent import NoCardFiles
from firmware.services.errors import Refused
from firmware.services.update.budget import Budget
from firmware.services.update.sources.fetch import Answer, Url, get
from firmware.services.update.sources.index import FILE, SIZE_LIMIT
from hal.contracts import PartError, UpdateRefused
from hal.json_text import json_loads
from hal.runtime import MICROPYTHON, fsync_file, json_dumps, log, offload
from hal.runtime.annotations import Callable
from hal.small_file import write_whole
from hal.update.bundle import file_digest
from hal.update.room import not_stored

CARD = "card:"  # a URL of a folder on the SD card: card:/updates/
WRITE_BYTES = 4096 if MICROPYTHON else 262144  # gathered before they are written, which takes a card some ten ms
BLOCK_BYTES = 1024  # of the card service
TRIES = 8  # connections that one download may use without a byte more


class BundleSource:
    """Where a bundle comes from."""

    async def open(self, name: str, offset: int, validator: str) -> "WebStream | CardStream":
        """A file from a byte on; from its begin where it is not the one that `validator` stands for. Refused."""
        raise NotImplementedError


class Source(BundleSource):
    """The folder that an index and its bundles lie in; `card` is the service for files on the card."""

    def __init__(self, url: str, card: NoCardFiles):
        folder = url if url.endswith("/") else url + "/"
        self._card_folder = folder[len(CARD) :] if folder.startswith(CARD) else None
        self._url = Url(folder) if self._card_folder is None else None
        self._card = card

    async def index(self) -> object:
        """The signed document of the index. Refused; PartError where the card fails."""
        stream = await self.open(FILE, 0, "")
        text = b""
        try:
            while data := await stream.read():
                text += data
                if len(text) > SIZE_LIMIT:
                    raise Refused("UPDATE_BAD_INDEX", f"the index is longer than {SIZE_LIMIT} bytes")
        finally:
            stream.close()
        try:
            return json_loads(text.decode())
        except ValueError:
            raise Refused("UPDATE_BAD_INDEX", "the index is not JSON") from None

    async def open(self, name: str, offset: int, validator: str) -> "WebStream | CardStream":
        """A file of the folder from a byte on; from its begin where it is not the one that `validator` stands for."""
        if self._url is None:
            return CardStream(self._card, f"{self._card_folder}{name}", offset)
        url = self._url.joined(name)
        headers = {"Range": f"bytes={offset}-", "If-Range": validator} if offset and validator else {}
        return web_stream(await get(url, headers), offset, name)


def web_stream(answer: Answer, offset: int, name: str) -> "WebStream":
    """What an answer holds of a file from a byte on. Refused UPDATE_SERVER."""
    if answer.status not in (200, 206):
        answer.close()
        raise Refused("UPDATE_SERVER", f"the server gives status {answer.status} for {name}")
    return WebStream(answer, _first_byte(answer, offset))


class WebStream:
    """A file that comes from a web server, from the byte `offset` on."""

    def __init__(self, answer: Answer, offset: int):
        self.offset = offset
        tag = answer.headers.get("etag", "")
        self.validator = tag if tag[:1] == '"' else answer.headers.get("last-modified", "")  # weak tags do not do here
        self.read = answer.read
        self.close = answer.close


class CardStream:
    """A file on the SD card, read through the card service in its blocks."""

    validator = ""

    def __init__(self, card: NoCardFiles, path: str, offset: int):
        self._card = card
        self._path = path
        self._block = offset // BLOCK_BYTES
        self._skip = offset % BLOCK_BYTES
        self._block_count = -1
        self.offset = offset

    async def read(self) -> bytes:
        """The next block, empty at the end. Refused as of the card."""
        if self._block == self._block_count:
            return b""
        block, self._block_count = await self._card.read(self._path, self._block)
        data = block[self._skip :]
        self._block, self._skip = self._block + 1, 0
        return data

    def close(self) -> None:
        """Nothing is held."""


def _first_byte(answer: Answer, wanted: int) -> int:
    """The byte that an answer begins with (RFC 9110 section 14.4)."""
    if answer.status == 200:
        return 0
    unit, _, rest = answer.headers.get("content-range", "").partition(" ")
    first = rest.partition("-")[0]
    if unit != "bytes" or not first.isdigit() or int(first) != wanted:
        answer.close()
        raise Refused("UPDATE_SERVER", "the server gave another range than was asked for")
    return wanted


class Download:
    """The file that a bundle grows in, and the record of what it is to be."""

    def __init__(self, path: str, budget: Budget):
        self.path = path
        self._record_path = path + ".json"
        self._budget = budget

    def record(self) -> dict:
        """{"version", "sha256", "size", "validator"} of what is in the file or on its way, or {}."""
        try:
            with open(self._record_path) as file:
                record = json_loads(file.read())
            return record if isinstance(record, dict) else {}
        except (OSError, ValueError):
            return {}

    def size(self) -> int:
        """Bytes that are there."""
        try:
            return os.stat(self.path)[6]
        except OSError:
            return 0

    def discard(self) -> None:
        """Give the room back."""
        for path in (self._record_path, self.path):
            try:
                os.remove(path)
            except OSError:
                pass

    def is_whole(self) -> bool:
        """Whether all bytes of what the record promises are there; their digest is not looked at."""
        record = self.record()
        return bool(record) and self.size() == record.get("size")

    async def fetch(self, source: BundleSource, entry: dict, room: int, progress: Callable[[int], None]) -> None:
        """Have the whole bundle of an index entry in the file. Refused; `progress(percent)` now and then."""
        if self.record().get("sha256") != entry["sha256"]:
            await offload(self._begin, entry)
        if entry["size"] - self.size() > room:
            self.discard()
            raise Refused("UPDATE_TOO_LARGE", f"the bundle has {entry['size']} bytes, there is room for {room}")
        tries = TRIES
        while self.size() < entry["size"]:
            before = self.size()
            try:
                await self._go_on(source, entry, progress)
            except Refused as exc:
                tries = TRIES if self.size() > before else tries - 1
                if exc.code == "UPDATE_CHANGED":
                    self.discard()
                if exc.code not in ("UPDATE_SERVER", "UPDATE_CUT_SHORT") or not tries:
                    raise
                log(f"update: {exc}; the download goes on")
        await self._judge(entry)

    async def _judge(self, entry: dict) -> None:
        if self.size() > entry["size"] or await offload(file_digest, self.path) != entry["sha256"]:
            self.discard()
            raise Refused("UPDATE_CHANGED", "what came is not the bundle that the index names")

    def _begin(self, entry: dict) -> None:
        self.discard()
        self._write_record(entry, "")

    def _write_record(self, entry: dict, validator: str) -> None:
        record = {name: entry[name] for name in ("version", "sha256", "size")}
        try:
            write_whole(self._record_path, json_dumps(dict(record, validator=validator)))
        except OSError as exc:
            raise self._not_stored(exc) from exc

    def _not_stored(self, exc: OSError) -> PartError:
        failure = not_stored("the download", exc)
        if isinstance(failure, UpdateRefused):
            self.discard()  # what else the device has to store needs the room
        return failure

    async def _go_on(self, source: BundleSource, entry: dict, progress: Callable[[int], None]) -> None:
        stream = await source.open(entry["file"], self.size(), self.record().get("validator", ""))
        try:
            if stream.validator != self.record().get("validator"):
                await offload(self._write_record, entry, stream.validator)
            await self._receive(stream, entry["size"], progress)
        finally:
            stream.close()

    async def _receive(self, stream: WebStream | CardStream, size: int, progress: Callable[[int], None]) -> None:
        try:
            have = await self._write_blocks(stream, size, progress)
        except OSError as exc:
            raise self._not_stored(exc) from exc
        if have < size:
            raise Refused("UPDATE_CUT_SHORT", "the server broke off")

    async def _write_blocks(self, stream: WebStream | CardStream, size: int, progress: Callable[[int], None]) -> int:
        have, waiting = stream.offset, bytearray()
        try:
            while data := await stream.read():
                if have + len(data) > size:
                    raise Refused("UPDATE_CHANGED", "the server sends more than the index says")
                have += len(data)
                waiting += data
                if len(waiting) >= WRITE_BYTES:
                    block, waiting = bytes(waiting), bytearray()
                    await offload(_write, self.path, have - len(block), block)
                    progress(have * 100 // size)
                await self._budget.spend(len(data))
        finally:
            await offload(_write, self.path, have - len(waiting), bytes(waiting))  # kept, however it ended
        return have


def _write(path: str, offset: int, data: bytes) -> None:
    """Bytes onto the medium, those from 0 on into an empty file. Nothing is open between two calls: whoever is
    cancelled leaves nothing behind."""
    with open(path, "r+b" if offset else "wb") as file:
        file.seek(offset)
        file.write(data)
        fsync_file(file)
