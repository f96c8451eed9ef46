"""Files on the SD card: listings, reading and writing by blocks, removal, ejection."""

import os

from firmware.services.card.paths import UPLOADS_FOLDER, CardTree, bad_path, fold, is_folder, split_path
from firmware.services.card.uploads import BLOCK, Part, Uploads, check_block, close_anyway
from firmware.services.errors import Refused
from firmware.services.system.transfers import Transfers
from hal.contracts import NoCard, PartError
from hal.fields import BadField
from hal.runtime import ENOENT, MICROPYTHON, b64encode, log, log_exception, monotonic
from hal.runtime.files import link_status, list_folder, open_regular, serial_offload, sync_folder

ITEMS_MAX = 64 if MICROPYTHON else 1000  # of a folder in one answer

_READERS_MAX = 4
_READER_AGE = 2.0  # seconds: then it is looked up anew, somebody else may have put another file in its place

_REFUSALS = {  # errno, the same number on both runtimes -> (code, what it means)
    2: ("NOT_FOUND", "path: there is no such file or folder on the SD card"),
    6: ("NO_CARD", "the SD card is gone"),  # ENXIO
    13: ("CARD_READ_ONLY", "the SD card does not allow it: it or the file is write-protected"),  # EACCES
    1: ("CARD_READ_ONLY", "the SD card does not allow it: it or the file is write-protected"),  # EPERM
    19: ("NO_CARD", "the SD card is gone"),  # ENODEV
    20: ("NOT_DIRECTORY", "path: a file is where a folder is meant"),
    21: ("IS_DIRECTORY", "path: a folder is where a file is meant"),
    22: ("BAD_PATH", "path: the SD card's file system takes no such name"),  # EINVAL
    27: ("TOO_LARGE", "the file is larger than the SD card's file system allows"),  # EFBIG
    28: ("CARD_FULL", "the SD card has no room left"),  # ENOSPC
    30: ("CARD_READ_ONLY", "the SD card is write-protected"),  # EROFS
    36: ("BAD_PATH", "path: a name is too long for the SD card's file system"),  # ENAMETOOLONG
    39: ("NOT_EMPTY", "path: the folder is not empty"),
    40: ("BAD_PATH", "path: leads through a loop of links"),  # ELOOP
    84: ("BAD_PATH", "path: the SD card's file system takes no such name"),  # EILSEQ
    122: ("CARD_FULL", "the SD card has no room left"),  # EDQUOT
    123: ("NO_CARD", "the SD card is gone"),  # ENOMEDIUM
}


class CardFiles:
    """The files on a card; `card` is the board's part, or None.

    `local_iso` turns seconds UTC into ISO 8601 in device local time. All file work goes through `offload`, by default a
    worker of its own; another one must call one function after another too, as those of hal.runtime.serial_offload do.

    An upload grows in a folder of the device's own at the card's root and is renamed when its last block is in. At most
    4 are under way. An upload belongs to the `owner` (a session, an address) that sent its block 0: whoever sends block
    0 to the same path later takes the path over, and the one before is refused from then on.

    Every method raises Refused: NO_CARD, CARD_FAILED, BAD_PATH, NOT_FOUND and NOT_DIRECTORY where they fit, and what
    its own line says.
    """

    def __init__(self, card, local_iso, offload=None, clock=monotonic, transfers: "Transfers | None" = None):
        self._card = card
        self._transfers = transfers or Transfers(clock)
        self._offload = offload or serial_offload()
        self._local_iso = local_iso
        self._clock = clock
        self._ejecting = False
        self._tree: CardTree  # of the card that has been met
        self._met = False  # False: no card has been seen since the last one went
        self._insertion = 0
        self._cleaned = False
        self._uploads = Uploads(clock, self._tidy)
        self._readers: list = []  # the one used last at the end
        self._parts_made = 0

    async def start(self) -> None:
        """Remove what a crash has left of uploads, if a card is in."""
        try:
            await self._do(_nothing)
        except Refused as exc:
            if exc.code != "NO_CARD":
                log(f"SD card: {exc}")

    async def dir(self, path: str, from_idx: int = 0, to_idx: "int | None" = None) -> dict:
        """{"fromIdx", "toIdx", "total", "items"}: entries of a folder by name, indices inclusive, null for none.

        At most ITEMS_MAX entries; `toIdx` tells how far they go.
        """
        return await self._do(self._dir, path, from_idx, to_idx)

    async def info(self, path: str) -> dict:
        """{"name", "attrib", "size", "datetime"} of a file or folder."""
        return await self._do(self._info, path)

    async def read(self, path: str, block_idx: int) -> dict:
        """{"blockIdx", "blockCount", "data" Base64} of a file. IS_DIRECTORY; BadField for a block past the end."""
        block = await self._do(self._read, path, block_idx)
        self._transfers.mark()
        return block

    async def write(self, path: str, block_idx: int, block_count: int, data: bytes, owner: str = "") -> dict:
        """Take the next block of an upload: {"blockIdx", "blockCount"}.

        Block 0 begins anew. The last block that was taken may come again. BAD_BLOCK names the block that is expected,
        CARD_BUSY: too many uploads, CARD_FULL, CARD_READ_ONLY, IS_DIRECTORY, TOO_LARGE: over 4 GiB, BadField. A card
        that fails ends the upload.
        """
        taken = await self._do(self._write, path, block_idx, block_count, data, owner)
        self._transfers.mark()
        return taken

    async def remove(self, path: str, recursive: bool = False) -> dict:
        """Remove a file, a link or a folder: {}. NOT_EMPTY unless recursive, CARD_READ_ONLY."""
        return await self._do(self._remove, path, recursive)

    async def read_whole(self, path: str, limit: int) -> bytes:
        """A file's bytes. TOO_LARGE where there are more than `limit`, IS_DIRECTORY."""
        return await self._do(self._read_whole, path, limit)

    async def write_whole(self, path: str, data: bytes) -> None:
        """Write a file: whole and synced, or not at all. CARD_FULL, CARD_READ_ONLY, IS_DIRECTORY."""
        await self._do(self._write_whole, path, data)

    async def status(self) -> "dict | None":
        """State of the card: {"present", "mounted", "totalBytes", "freeBytes"}; None on a board without one."""
        if self._card is None:
            return None
        return await self._offload(self._refusing, self._card.status)

    async def eject(self) -> dict:
        """Close files, give uploads up, sync and unmount: {}. Without a card until one is put in again."""
        if self._ejecting:
            raise Refused("NO_CARD", "the SD card is being ejected")
        self._ejecting = True
        try:
            await self._offload(self._refusing, self._let_go)
            await self._card.eject()
        except PartError as exc:
            raise Refused(exc.code, str(exc)) from exc
        finally:
            self._ejecting = False
        return {}

    async def stop(self) -> None:
        """Close files and give uploads up."""
        try:
            await self._offload(self._refusing, self._let_go)
        except Refused:
            pass  # no card: nothing is open

    # All below runs in `offload`.

    async def _do(self, function, *args):
        return await self._offload(self._refusing, self._on_card, function, *args)

    def _refusing(self, function, *args):
        """Call a function and turn the card's errors into refusals."""
        try:
            return function(*args)
        except PartError as exc:
            raise Refused(exc.code, str(exc)) from exc
        except OSError as exc:
            raise self._refusal(exc) from exc

    def _refusal(self, exc: OSError) -> Refused:
        try:
            os.stat(self._card.root())
        except (PartError, OSError):
            self._forget_card()
            return Refused("NO_CARD", "the SD card is gone")
        if exc.errno in _REFUSALS:
            return Refused(*_REFUSALS[exc.errno])
        log_exception(exc)
        return Refused("CARD_FAILED", f"the SD card failed with error {exc.errno}")

    def _on_card(self, function, *args):
        if self._ejecting:
            raise NoCard("the SD card is being ejected")
        self._meet_card()
        self._uploads.give_up_idle()
        return function(*args)

    def _meet_card(self) -> None:
        """See whether a card is in, and whether it is another than before."""
        if self._card is None:
            raise NoCard("this board has no SD card")
        try:
            root = self._card.root()
        except PartError:
            self._forget_card()
            raise
        if not self._met or self._insertion != self._card.insertions:
            self._forget_card()
            self._tree = CardTree(root, self._clock)
            self._insertion = self._card.insertions
            self._met = True
            self._clean()

    def _forget_card(self) -> None:
        """The card is out: nothing that was open on it is of use."""
        self._close_readers()
        self._uploads.forget()
        self._met = False
        self._cleaned = False

    def _let_go(self) -> None:
        """Leave the card as it should be found by the next device."""
        self._meet_card()
        self._uploads.give_up_all()
        self._forget_card()

    def _clean(self) -> None:
        """Remove what a crash or a power cut has left of uploads."""
        hidden = self._hidden()
        try:
            self._card.before_write(0)
            if is_folder(link_status(hidden)):
                _remove_tree(hidden)
            else:
                os.remove(hidden)  # a link, perhaps out of the card: it must not be followed
        except PartError:
            return  # write-protected: done before the first upload
        except OSError as exc:
            if exc.errno != ENOENT:
                log(f"SD card: unfinished uploads cannot be removed: error {exc.errno}")
                return
        self._cleaned = True

    def _hidden(self) -> str:
        return self._tree.root + "/" + UPLOADS_FOLDER

    def _dir(self, path: str, from_idx: int, to_idx: "int | None") -> dict:
        folder, status = self._tree.find(path)
        if not is_folder(status):
            raise Refused("NOT_DIRECTORY", "path: is a file, not a folder")
        names = self._tree.names(folder)
        end = from_idx + ITEMS_MAX if to_idx is None else min(to_idx + 1, from_idx + ITEMS_MAX)
        items = [self._listed(folder, name) for name in names[from_idx:end]]
        return {
            "fromIdx": from_idx if items else None,
            "toIdx": from_idx + len(items) - 1 if items else None,
            "total": len(names),
            "items": items,
        }

    def _listed(self, folder: str, name: str) -> dict:
        try:
            status = os.stat(folder + "/" + name)
        except OSError as exc:
            if exc.errno != ENOENT:
                raise
            return self._item(name, (0,) * 10)  # removed since its name was read
        return self._item(name, status)

    def _item(self, name: str, status) -> dict:
        mode = status[0]
        allowed = mode & 0o600 or (0o600 if MICROPYTHON and mode else 0)  # a FAT volume there tells no permissions
        attrib = "d" if is_folder(status) else "-"
        attrib += "r" if allowed & 0o400 else "-"
        attrib += "w" if allowed & 0o200 else "-"
        size = 0 if is_folder(status) else status[6]
        return {"name": name, "attrib": attrib, "size": size, "datetime": self._local_iso(status[8])}

    def _info(self, path: str) -> dict:
        if path == "/":
            return self._item("/", os.stat(self._tree.root))
        place, _ = self._tree.find_entry(split_path(path))
        return self._item(place.split("/")[-1], os.stat(place))

    def _read(self, path: str, block_idx: int) -> dict:
        file = self._open_reader(path)
        try:
            block_count = max(1, (file.seek(0, 2) + BLOCK - 1) // BLOCK)
            if not 0 <= block_idx < block_count:
                raise BadField(f"blockIdx: must be an integer 0..{block_count - 1}; the file has {block_count} blocks")
            file.seek(block_idx * BLOCK)
            data = file.read(BLOCK)
        except OSError:
            self._close_readers()
            raise
        return {"blockIdx": block_idx, "blockCount": block_count, "data": b64encode(data)}

    def _open_reader(self, path: str):
        """The file at a path, still open from the last block where that was a moment ago."""
        now = self._clock()
        for reader in self._readers:
            if reader[0] == path:
                if now - reader[1] <= _READER_AGE:
                    return reader[2]
                self._readers.remove(reader)
                close_anyway(reader[2])
                break
        if len(self._readers) >= _READERS_MAX:
            close_anyway(self._readers.pop(0)[2])
        file = open_regular(self._find_file(path))
        self._readers.append((path, now, file))
        return file

    def _find_file(self, path: str) -> str:
        place, status = self._tree.find(path)
        if is_folder(status):
            raise _is_directory()
        return place

    def _close_readers(self) -> None:
        for reader in self._readers:
            close_anyway(reader[2])
        self._readers = []

    def _read_whole(self, path: str, limit: int) -> bytes:
        with open_regular(self._find_file(path)) as file:
            size = file.seek(0, 2)
            if size > limit:
                raise Refused("TOO_LARGE", f"path: the file is longer than {limit} bytes")
            file.seek(0)
            data = b""
            while len(data) < size:
                more = file.read(size - len(data))
                if not more:
                    break  # it has become shorter
                data += more
            return data

    def _write_whole(self, path: str, data: bytes) -> None:
        self._check_target(path)
        part = self._new_part()
        try:
            self._append(part, data)
            self._put(part, path)
        except Exception:
            part.discard()
            raise
        finally:
            self._tidy()

    def _write(self, path: str, block_idx: int, block_count: int, data: bytes, owner: str) -> dict:
        check_block(block_idx, block_count, data)
        key = fold("/".join(split_path(path)))
        answer = {"blockIdx": block_idx, "blockCount": block_count}
        if block_idx == 0:
            self._check_target(path)
            upload = self._uploads.begin(key, path, owner, block_count, self._new_part)
        elif self._uploads.repeated(key, owner, block_idx, block_count, data):
            return answer
        else:
            upload = self._uploads.expecting(key, owner, block_idx, block_count)
        try:
            self._append(upload.part, data)
            upload.take(data, self._clock())
            if upload.next == block_count:
                self._put(upload.part, upload.path)
        except Exception:
            self._uploads.give_up(upload)
            raise
        if upload.next == block_count:
            self._uploads.complete(upload)
        return answer

    def _tidy(self) -> None:
        """Remove the folder of uploads when none is left in it."""
        if self._uploads.count():
            return
        try:
            os.rmdir(self._hidden())
        except OSError:
            pass  # the card is gone or fails; whatever is left is removed when a card is next put in

    def _check_target(self, path: str) -> None:
        """Refuse early what could not get its name at the end."""
        self._card.before_write(0)
        _, status, missing = self._tree.walk(split_path(path))
        if not missing and is_folder(status):
            raise _is_directory()
        if missing and not is_folder(status):
            raise Refused("NOT_DIRECTORY", "path: a file is where a folder is meant")

    def _new_part(self) -> Part:
        if not self._cleaned:
            self._clean()
        self._parts_made += 1
        place = f"{self._hidden()}/{self._parts_made}.part"
        try:
            return Part(place)
        except OSError as exc:
            if exc.errno != ENOENT:
                raise
        os.mkdir(self._hidden())
        return Part(place)

    def _append(self, part: Part, data: bytes) -> None:
        self._card.before_write(len(data))
        part.write(data)

    def _put(self, part: Part, path: str) -> None:
        """Give a part that is complete its name."""
        self._check_target(path)
        part.sync()
        place, _, missing = self._tree.walk(split_path(path))
        for name in missing[:-1]:
            os.mkdir(place + "/" + name)
            sync_folder(place)
            place += "/" + name
        if missing:
            place += "/" + missing[-1]
        self._changed()
        os.rename(part.place, place)
        sync_folder(_parent(place))

    def _changed(self) -> None:
        """Names on the card are about to change."""
        self._close_readers()
        self._tree.forget()

    def _remove(self, path: str, recursive: bool) -> dict:
        names = split_path(path)
        if not names:
            raise bad_path("the card's root cannot be removed")
        self._card.before_write(0)
        place, status = self._tree.find_entry(names)
        self._changed()
        self._uploads.forget_done(fold("/".join(names)))
        if not is_folder(status):
            os.remove(place)
        elif recursive:
            _remove_tree(place)
        elif list_folder(place):
            raise Refused("NOT_EMPTY", "path: the folder is not empty")
        else:
            os.rmdir(place)
        sync_folder(_parent(place))
        return {}


def _nothing() -> None:
    pass


def _is_directory() -> Refused:
    return Refused("IS_DIRECTORY", "path: is a folder, not a file")


def _parent(place: str) -> str:
    return place[: place.rfind("/")]


def _remove_tree(folder: str) -> None:
    """Remove a folder and all that is in it, links themselves instead of where they lead."""
    pending = [folder]
    while pending:
        current = pending[-1]
        folders = []
        for name, kind in list_folder(current):
            if kind == "folder":
                folders.append(current + "/" + name)
            else:
                os.remove(current + "/" + name)
        if not folders:
            os.rmdir(pending.pop())
        pending.extend(folders)
