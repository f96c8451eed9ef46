"""Uploads to the SD card that are under way, block by block: whose they are and which block comes next."""

import os

from firmware.services.card.readers import close_anyway
from firmware.services.errors import Refused
from hal.fields import BadField
from hal.ip_addresses import source_of
from hal.runtime import fsync_file
from hal.runtime.annotations import Callable
from hal.runtime.files import open_new

BLOCK = 1024  # bytes
FILE_MAX = 0xFFFFFFFF  # bytes: FAT counts a file's size in 32 bits
BLOCKS_MAX = FILE_MAX // BLOCK + 1

_UPLOADS_MAX = 4
_SHARE = 2  # of them, which an address keeps when another one wants to begin
_GIVES_WAY = (
    30000  # milliseconds without a block, after which an upload gives way to another one where there is no room
)
_UPLOAD_IDLE = 600000  # milliseconds after which an upload is given up
_BUSY_RETRY = 10  # seconds
_DONE_KEPT = 8


class Uploads:
    """The uploads under way. A `key` is a path in the form in which equal names are equal; `tidy()` is called whenever
    one has ended."""

    def __init__(self, clock: Callable[[], int], tidy: Callable[[], None]):
        self._clock = clock
        self._tidy = tidy
        self._under_way: list[Upload] = []
        self._done: list[Upload] = []  # the last ones that were completed, whose last block may come again

    def count(self) -> int:
        """How many are under way."""
        return len(self._under_way)

    def begin(self, upload: "Upload", new_part: "Callable[[], Part]") -> "Upload":
        """The upload, which begins; the one before it to the same path ends. CARD_BUSY.

        `new_part()` makes the Part that its blocks go to.
        """
        before = _find(self._under_way, upload.key)
        if before is not None:
            self.give_up(before)
        if len(self._under_way) >= _UPLOADS_MAX:
            self._make_room(upload.source)
        self.forget_done(upload.key)
        upload.part = new_part()
        self._under_way.append(upload)
        return upload

    def _make_room(self, source: int | str) -> None:
        """End what has been idle for longest: of all, or else of an address that has more than its share."""
        gives_way = min(self._under_way, key=_used_at)
        if self._clock() - gives_way.used_at <= _GIVES_WAY:
            greedy = [upload for upload in self._under_way if self._held_by(upload.source) > _SHARE]
            if not greedy or self._held_by(source) >= _SHARE:
                raise Refused("CARD_BUSY", f"{_UPLOADS_MAX} other uploads are under way", _BUSY_RETRY)
            gives_way = min(greedy, key=_used_at)
        self.give_up(gives_way)

    def _held_by(self, source: int | str) -> int:
        return len([upload for upload in self._under_way if upload.source == source])

    def repeated(self, key: str, owner: str, block_idx: int, block_count: int, data: bytes) -> bool:
        """Whether this is the last block that was taken, once more. Another block by its number ends the upload."""
        upload = _find(self._under_way, key) or _find(self._done, key)
        if upload is None or upload.owner != owner or (upload.next - 1, upload.block_count) != (block_idx, block_count):
            return False
        if upload.last == data:
            upload.used_at = self._clock()
            return True
        if upload in self._under_way:
            self.give_up(upload)
        raise _bad_block(0, "this block has come with other data before: two uploads to one path?")

    def expecting(self, key: str, owner: str, block_idx: int, block_count: int) -> "Upload":
        """The upload whose next block this is. BAD_BLOCK names the one that is expected; BadField."""
        upload = _find(self._under_way, key)
        if upload is None or upload.owner != owner:
            raise _bad_block(0, "no upload of yours to this path is under way")
        if block_count != upload.block_count:
            raise BadField(f"blockCount: must be {upload.block_count}, as in block 0")
        if block_idx != upload.next:
            raise _bad_block(upload.next, f"it is not block {block_idx}'s turn")
        return upload

    def complete(self, upload: "Upload") -> None:
        """All its blocks are in and it has its name."""
        self._under_way.remove(upload)
        self._tidy()
        self._done = self._done[1 - _DONE_KEPT :] + [upload]

    def give_up(self, upload: "Upload") -> None:
        """End an upload and remove what has come of it."""
        self._under_way.remove(upload)
        upload.part.discard()
        self._tidy()

    def give_up_idle(self) -> None:
        """End those that nobody goes on with."""
        now = self._clock()
        for upload in self._under_way[:]:
            if now - upload.used_at > _UPLOAD_IDLE:
                self.give_up(upload)

    def give_up_all(self) -> None:
        """End them all."""
        for upload in self._under_way[:]:
            self.give_up(upload)

    def forget(self) -> None:
        """The card is out: nothing of them is of use, nor can be removed."""
        for upload in self._under_way:
            upload.part.close()
        self._under_way = []
        self._done = []

    def forget_done(self, key: str) -> None:
        """What was completed at this path, or below it, is there no more."""
        self._done = [done for done in self._done if done.key != key and not done.key.startswith(key + "/")]


class Upload:
    """A file that comes block by block from an `owner`, a session or address, who calls from an address."""

    part: "Part"

    def __init__(self, key: str, names: list[str], owner: str, address: str, block_count: int, now: int):
        self.key = key
        self.names = names
        self.owner = owner
        self.source = source_of(address)
        self.block_count = block_count
        self.next = 0
        self.last = b""
        self.used_at = now

    def take(self, data: bytes, now: int) -> None:
        """The next block has been written."""
        self.next += 1
        self.last = data
        self.used_at = now


class Part:
    """A file that is being written where nobody sees it."""

    def __init__(self, place: str):
        self.place = place
        self._file = open_new(place)

    def write(self, data: bytes) -> None:
        """Append bytes."""
        while data:
            data = data[self._file.write(data) :]

    def sync(self) -> None:
        """All bytes are in: bring them to the medium and close the file."""
        fsync_file(self._file)
        self._file.close()

    def close(self) -> None:
        """Close the file, whatever becomes of it."""
        close_anyway(self._file)

    def discard(self) -> None:
        """Remove the file."""
        self.close()
        try:
            os.remove(self.place)
        except OSError:
            pass  # the card is gone or fails; whatever is left is removed when a card is next put in


def check_block(block_idx: int, block_count: int, data: bytes) -> None:
    """BadField or TOO_LARGE for a block that no upload can have."""
    if block_count < 1:
        raise BadField("blockCount: must be at least 1")
    if not 0 <= block_idx < block_count:
        raise BadField(f"blockIdx: must be an integer 0..{block_count - 1}: less than blockCount")
    if len(data) > BLOCK or (len(data) < BLOCK and block_idx < block_count - 1):
        raise BadField(f"data: must be {BLOCK} bytes, in the last block 0..{BLOCK}")
    if block_count > BLOCKS_MAX or block_idx * BLOCK + len(data) > FILE_MAX:
        raise Refused("TOO_LARGE", f"blockCount: a file on the SD card has at most {FILE_MAX} bytes")


def _used_at(upload: Upload) -> int:
    return upload.used_at


def _find(uploads: list[Upload], key: str) -> Upload | None:
    for upload in uploads:
        if upload.key == key:
            return upload
    return None


def _bad_block(expected: int, reason: str) -> Refused:
    return Refused("BAD_BLOCK", f"blockIdx: block {expected} is expected; {reason}")
