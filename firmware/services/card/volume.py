"""The files on a mounted SD card. All of it blocks: firmware/services/card/files.py has it called in turns."""

import os

from firmware.services.card.paths import UPLOADS_FOLDER, CardTree, fold, is_folder
from firmware.services.card.readers import Readers
from firmware.services.card.uploads import BLOCK, Part, Upload, Uploads
from firmware.services.errors import Refused
from hal.contracts import Card, PartError
from hal.fields import BadField
from hal.runtime import ENOENT, MICROPYTHON, fsync_file, log
from hal.runtime.annotations import IO, Callable
from hal.runtime.files import link_status, list_folder, open_regular, sync_folder

ITEMS_MAX = 64 if MICROPYTHON else 1000  # of a folder in one answer


class Volume:
    """The files on one card, mounted at `root`; `card` is the board's part. Its methods must not overlap.

    Paths are lists of names, as `split_path` gives them. Refused and BadField as firmware/services/card/files.py says;
    the card's own errors as they come.
    """

    def __init__(self, card: Card, root: str, local_iso: Callable[[int], str], clock: Callable[[], int]):
        self._card = card
        self._local_iso = local_iso
        self._tree = CardTree(root, clock)
        self._readers = Readers(clock)
        self.uploads = Uploads(clock, self._tidy)
        self._clock = clock
        self._cleaned = False
        self._parts_made = 0

    def close(self) -> None:
        """The card is out: nothing that was open on it is of use."""
        self._readers.close()
        self.uploads.forget()

    def clean(self) -> None:
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

    def entries(self, names: list[str], from_idx: int, to_idx: int | None) -> tuple[list[dict], int]:
        """(entries of a folder by name, how many it has in all); at most ITEMS_MAX of them, indices inclusive."""
        folder, status = self._tree.find(names)
        if not is_folder(status):
            raise Refused("NOT_DIRECTORY", "path: is a file, not a folder")
        found = self._tree.names(folder)
        end = from_idx + ITEMS_MAX if to_idx is None else min(to_idx + 1, from_idx + ITEMS_MAX)
        return [self._listed(folder, name) for name in found[from_idx:end]], len(found)

    def _listed(self, folder: str, name: str) -> dict:
        try:
            status = os.stat(folder + "/" + name)
        except OSError as exc:
            if exc.errno != ENOENT:
                raise
            return self._item(name, (0,) * 10)  # removed since its name was read
        return self._item(name, status)

    def _item(self, name: str, status: tuple) -> dict:
        mode = status[0]
        allowed = mode & 0o600 or (0o600 if MICROPYTHON and mode else 0)  # a FAT volume there tells no permissions
        attrib = "d" if is_folder(status) else "-"
        attrib += "r" if allowed & 0o400 else "-"
        attrib += "w" if allowed & 0o200 else "-"
        size = 0 if is_folder(status) else status[6]
        return {"name": name, "attrib": attrib, "size": size, "datetime": self._local_iso(status[8] * 1000)}

    def info(self, names: list[str]) -> dict:
        """{"name", "attrib", "size", "datetime"} of a file or folder."""
        if not names:
            return self._item("/", os.stat(self._tree.root))
        place, _ = self._tree.find_entry(names)
        return self._item(place.split("/")[-1], os.stat(place))

    def read(self, names: list[str], block_idx: int) -> tuple[bytes, int]:
        """(bytes of a block, how many blocks the file has)."""
        file = self._readers.get(names) or self._readers.keep(names, open_regular(self._find_file(names)))
        try:
            block_count = max(1, (file.seek(0, 2) + BLOCK - 1) // BLOCK)
            if not 0 <= block_idx < block_count:
                raise BadField(f"blockIdx: must be an integer 0..{block_count - 1}; the file has {block_count} blocks")
            file.seek(block_idx * BLOCK)
            data = file.read(BLOCK)
        except OSError:
            self._readers.close()
            raise
        return data, block_count

    def _find_file(self, names: list[str]) -> str:
        place, status = self._tree.find(names)
        if is_folder(status):
            raise _is_directory()
        return place

    def read_whole(self, names: list[str], limit: int) -> bytes:
        """A file's bytes, at most `limit`."""
        with open_regular(self._find_file(names)) as file:
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

    def write_whole(self, names: list[str], data: bytes) -> None:
        """Write a file: whole and synced, or not at all."""
        self._check_target(names)
        part = self._new_part()
        try:
            self._append(part, data)
            self._put(part, names)
        except Exception:
            part.discard()
            raise
        finally:
            self._tidy()

    def append(self, names: list[str], data: bytes) -> None:
        """Add to a file that is there and sync it: all of the data, or nothing."""
        place, status = self._tree.find_entry(names)
        if is_folder(status):
            raise _is_directory()
        self._card.before_write(len(data))
        with open(place, "ab", 0) as file:
            size = file.tell()
            try:
                while data:
                    data = data[file.write(data) :]
                fsync_file(file)
            except OSError:
                _cut(file, size)
                raise

    def write(self, names: list[str], block_idx: int, block_count: int, data: bytes, owner: str, address: str) -> None:
        """Take the next block of an upload, or the last one that was taken once more."""
        key = fold("/".join(names))
        if block_idx == 0:
            self._check_target(names)
            upload = self.uploads.begin(Upload(key, names, owner, address, block_count, self._clock()), self._new_part)
        elif self.uploads.repeated(key, owner, block_idx, block_count, data):
            return
        else:
            upload = self.uploads.expecting(key, owner, block_idx, block_count)
        try:
            self._append(upload.part, data)
            upload.take(data, self._clock())
            if upload.next == block_count:
                self._put(upload.part, upload.names)
        except Exception:
            self.uploads.give_up(upload)
            raise
        if upload.next == block_count:
            self.uploads.complete(upload)

    def _tidy(self) -> None:
        """Remove the folder of uploads when none is left in it."""
        if self.uploads.count():
            return
        try:
            os.rmdir(self._hidden())
        except OSError:
            pass  # the card is gone or fails; whatever is left is removed when a card is next put in

    def _check_target(self, names: list[str]) -> None:
        """Refuse early what could not get its name at the end."""
        self._card.before_write(0)
        _, status, missing = self._tree.walk(names)
        if not missing and is_folder(status):
            raise _is_directory()
        if missing and not is_folder(status):
            raise Refused("NOT_DIRECTORY", "path: a file is where a folder is meant")

    def _new_part(self) -> Part:
        if not self._cleaned:
            self.clean()
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

    def _put(self, part: Part, names: list[str]) -> None:
        """Give a part that is complete its name."""
        self._check_target(names)
        part.sync()
        place, _, missing = self._tree.walk(names)
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
        self._readers.close()
        self._tree.forget()

    def remove(self, names: list[str], recursive: bool) -> None:
        """Remove a file, a link or a folder."""
        self._card.before_write(0)
        place, status = self._tree.find_entry(names)
        self._changed()
        self.uploads.forget_done(fold("/".join(names)))
        if not is_folder(status):
            os.remove(place)
        elif recursive:
            _remove_tree(place)
        elif list_folder(place):
            raise Refused("NOT_EMPTY", "path: the folder is not empty")
        else:
            os.rmdir(place)
        sync_folder(_parent(place))


def _cut(file: IO, size: int) -> None:
    """Take back what was written of something that has no room, where the runtime can."""
    if hasattr(file, "truncate"):
        try:
            file.truncate(size)
        except OSError:
            pass  # the card is gone: nobody reads it here


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
