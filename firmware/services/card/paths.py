"""Paths on the SD card: which are allowed, and which file or folder on the mounted card each means."""

import os

from firmware.services.errors import Refused
from hal.runtime import ENOENT, MICROPYTHON, now_ms
from hal.runtime.annotations import Callable
from hal.runtime.files import folder_stamp, link_status, list_folder, real_path, translate

PATH_MAX = 1024  # characters of a whole path
NAME_MAX = 255  # UTF-16 units of a name: what a FAT directory entry holds
UPLOADS_FOLDER = "_UPLOADS.TMP"  # at the card's root, for the device alone; an 8.3 name: FAT gives it no second one

_FORBIDDEN = ':*?"<>|'  # in a name on FAT
_FOLDERS_KEPT = 4
_NAMES_KEPT = 2000 if MICROPYTHON else 20000  # in all these folders together
_LISTING_AGE = 5000  # milliseconds: not every medium changes a folder's time with its contents

# Letters that FAT takes for the same: (first small letter, last, step, distance to the capital). Latin, Greek,
# Cyrillic, Armenian, one to one as in a FAT driver's table: there the German sharp s has no capital.
_SMALL_LETTERS = (
    (0x61, 0x7A, 1, 32),
    (0xE0, 0xF6, 1, 32),
    (0xF8, 0xFE, 1, 32),
    (0xFF, 0xFF, 1, -121),
    (0x101, 0x12F, 2, 1),
    (0x133, 0x137, 2, 1),
    (0x13A, 0x148, 2, 1),
    (0x14B, 0x177, 2, 1),
    (0x17A, 0x17E, 2, 1),
    (0x1A1, 0x1A5, 2, 1),
    (0x1B0, 0x1B0, 1, 1),
    (0x1CE, 0x1DC, 2, 1),
    (0x1DF, 0x1EF, 2, 1),
    (0x1F9, 0x21F, 2, 1),
    (0x223, 0x233, 2, 1),
    (0x3AC, 0x3AC, 1, 38),
    (0x3AD, 0x3AF, 1, 37),
    (0x3B1, 0x3C1, 1, 32),
    (0x3C2, 0x3C2, 1, 31),
    (0x3C3, 0x3CB, 1, 32),
    (0x3CC, 0x3CC, 1, 64),
    (0x3CD, 0x3CE, 1, 63),
    (0x430, 0x44F, 1, 32),
    (0x450, 0x45F, 1, 80),
    (0x461, 0x481, 2, 1),
    (0x48B, 0x4BF, 2, 1),
    (0x4C2, 0x4CE, 2, 1),
    (0x4CF, 0x4CF, 1, 15),
    (0x4D1, 0x52F, 2, 1),
    (0x561, 0x586, 1, 48),
    (0x1E01, 0x1E95, 2, 1),
    (0x1EA1, 0x1EFF, 2, 1),
)

_CAPITALS = {
    code: code - distance for first, last, step, distance in _SMALL_LETTERS for code in range(first, last + 1, step)
}


def split_path(path: str) -> list[str]:
    """The names in a path, none for the root. Refused BAD_PATH says which rule the path breaks."""
    if len(path) > PATH_MAX:
        raise bad_path(f"must not be longer than {PATH_MAX} characters")
    if not path.startswith("/"):
        raise bad_path("must be absolute: begin with /")
    if path == "/":
        return []
    names = path[1:].split("/")
    for name in names:
        _check_name(name)
    if names[0].upper() == UPLOADS_FOLDER:
        raise bad_path(f"/{UPLOADS_FOLDER} is the device's own")
    return names


def bad_path(rule: str) -> Refused:
    """The refusal of a path that breaks a rule."""
    return Refused("BAD_PATH", "path: " + rule)


def fold(name: str) -> str:
    """The form that names which differ in case alone have in common."""
    if len(name.encode()) == len(name):
        return name.upper()  # quicker
    return translate(name, _CAPITALS)


class CardTree:
    """Finds files and folders on a mounted card. `root` is where it is mounted.

    It goes through the file system's own names first; only what is not there as it is spelt is looked for among the
    names of its folder, of which those of the last few are kept.
    """

    def __init__(self, root: str, clock: Callable[[], int] = now_ms):
        self.root = real_path(root)
        self._clock = clock
        self._listings: list[_Listing] = []  # the one used last at the end

    def find(self, names: list[str]) -> tuple:
        """(path on the host, its os.stat) of a file or folder. Refused BAD_PATH, NOT_FOUND, NOT_DIRECTORY."""
        place, status, missing = self.walk(names)
        if missing:
            raise not_found()
        return place, status

    def find_entry(self, names: list[str]) -> tuple:
        """Like `find`, but where the path ends at a link on the card, that link itself."""
        folder, _, missing = self.walk(names[:-1])
        entry = None if missing else self._entry(folder, names[-1])
        if entry is None:
            raise not_found()
        self._follow(*entry)
        return entry

    def walk(self, names: list[str]) -> tuple:
        """(path on the host, its os.stat, the names that are not there) as far as a path can be followed."""
        place, status = self.root, os.stat(self.root)
        for index, name in enumerate(names):
            if not is_folder(status):
                raise Refused("NOT_DIRECTORY", f"path: /{'/'.join(names[:index])} is a file, not a folder")
            entry = self._entry(place, name)
            if entry is None:
                return place, status, names[index:]
            place, status = self._follow(*entry)
        return place, status, []

    def names(self, folder: str) -> list[str]:
        """The names in a folder on the host that can be addressed, in alphabetical order without regard to case."""
        return self._listing(folder).names

    def forget(self) -> None:
        """What is on the card has changed."""
        self._listings = []

    def _entry(self, folder: str, name: str) -> tuple | None:
        """(path on the host, status without following links) of a name in a folder, or None."""
        entry = _status(folder, name)
        if entry is None:
            other = self._listing(folder).spelling(name)
            entry = None if other is None else _status(folder, other)
        return entry

    def _follow(self, place: str, status: tuple) -> tuple:
        """Where a path on the host leads. BAD_PATH unless that is a file or folder on the card."""
        if status[0] & 0o170000 == 0o120000:
            place = real_path(place)
            if not self._inside(place):
                raise bad_path("leads through a link out of the card")
            try:
                status = link_status(place)
            except OSError as exc:
                if exc.errno == ENOENT:
                    raise bad_path("leads through a broken link") from None
                raise
        if not is_folder(status) and not is_file(status):
            raise bad_path("is neither a file nor a folder")
        return place, status

    def _inside(self, place: str) -> bool:
        hidden = self.root + "/" + UPLOADS_FOLDER
        if place == hidden or place.startswith(hidden + "/"):
            return False
        return place == self.root or place.startswith(self.root + "/")

    def _listing(self, folder: str) -> "_Listing":
        stamp = folder_stamp(folder)
        listing = None
        for known in self._listings:
            if known.folder == folder:
                listing = known
        if listing is not None:
            self._listings.remove(listing)
        if listing is None or stamp is None or stamp != listing.stamp or self._age(listing) > _LISTING_AGE:
            listing = _Listing(folder, stamp, self._clock(), self._read(folder))
        self._listings.append(listing)
        while len(self._listings) > _FOLDERS_KEPT or self._names_kept() > _NAMES_KEPT:
            self._listings.pop(0)
        return listing

    def _age(self, listing: "_Listing") -> int:
        return self._clock() - listing.read_at

    def _names_kept(self) -> int:
        return sum(len(listing.names) for listing in self._listings)

    def _read(self, folder: str) -> list[str]:
        names = [name for name, kind in list_folder(folder) if self._shown(folder, name, kind)]
        names.sort()
        names.sort(key=fold)
        return names

    def _shown(self, folder: str, name: str, kind: str) -> bool:
        if kind == "link":
            try:
                self._follow(folder + "/" + name, link_status(folder + "/" + name))
            except (Refused, OSError):
                return False  # it cannot be addressed either
        elif kind == "other":
            return False
        return _is_text(name) and (folder != self.root or name.upper() != UPLOADS_FOLDER)


class _Listing:
    """The names in a folder as they were at one time."""

    def __init__(self, folder: str, stamp: int | None, read_at: int, names: list[str]):
        self.folder = folder
        self.stamp = stamp
        self.read_at = read_at
        self.names = names
        self._spellings: dict[str, str] = {}

    def spelling(self, name: str) -> str | None:
        """The name that differs from this one in case alone."""
        if not self._spellings:
            self._spellings = {fold(known): known for known in self.names}
        return self._spellings.get(fold(name))


def is_folder(status: tuple) -> bool:
    """Whether an os.stat is a folder's."""
    return status[0] & 0o170000 == 0o040000


def is_file(status: tuple) -> bool:
    """Whether an os.stat is a file's."""
    return status[0] & 0o170000 == 0o100000


def not_found() -> Refused:
    """The refusal of a path that leads nowhere."""
    return Refused("NOT_FOUND", "path: there is no such file or folder on the SD card")


def _status(folder: str, name: str) -> tuple | None:
    place = folder + "/" + name
    try:
        return place, link_status(place)
    except OSError as exc:
        if exc.errno == ENOENT:
            return None
        raise


def _check_name(name: str) -> None:
    if name == "":
        raise bad_path("must not have an empty name between or after its slashes")
    if name in (".", ".."):
        raise bad_path("must not contain . or .. as a name")
    units = 0
    for letter in name:
        if letter < " " or letter == "\x7f" or 0xD800 <= ord(letter) <= 0xDFFF:
            raise bad_path("must not contain control characters")
        if letter == "\\":
            raise bad_path("must not contain a backslash: names are separated by /")
        if letter in _FORBIDDEN:
            raise bad_path("must not contain any of " + _FORBIDDEN)
        units += 2 if letter > "\uffff" else 1
    if units > NAME_MAX:
        raise bad_path(f"must not contain a name longer than {NAME_MAX} characters (UTF-16)")
    if name[-1] in ". ":
        raise bad_path("must not contain a name that ends in a dot or a space: FAT would drop it")


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeError:
        return False
    return True
