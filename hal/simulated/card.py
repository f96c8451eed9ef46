"""A folder that stands for the SD card."""

import contextlib
import os

from hal.contracts import Card, CardFailed, CardFull, CardReadOnly, NoCard
from hal.fields import Boolean, Field, Integer, Nullable, Object, Text
from hal.simulated.control import join


class SimulatedCard(Card):
    """An SD card whose files are those of a folder on the host; it can be put in, pulled out and write-protected.

    With `sizeBytes` the card is full when the files in the folder are that long together; without, when the host's
    file system is.
    """

    OPTIONS = Object(
        Field("folder", Nullable(Text(4096, 1)), None, help="where the files are; default: card in the state folder"),
        Field("sizeBytes", Nullable(Integer(1)), None, help="size of the card; default: what the host has"),
        Field("readOnly", Boolean(), False, help="whether the card is write-protected at first"),
    )

    def __init__(self, options: dict, state_dir: str):
        self.insertions = 0
        self._folder = options["folder"] or os.path.join(state_dir, "card")
        self._size: int | None = options["sizeBytes"]
        self._read_only: bool = options["readOnly"]
        self._present = True
        join(state_dir, "card", self.control)
        self._used: int | None = None  # bytes, at least what the files take; None before they were counted

    async def start(self) -> None:
        """Make the folder where there is none."""
        try:
            os.makedirs(self._folder, exist_ok=True)
        except OSError as exc:
            raise CardFailed(f"the folder {self._folder} that stands for the SD card cannot be made: {exc}") from exc

    def notice(self) -> str:
        """Where the files are."""
        return f"SD card {self._folder}"

    async def probe(self) -> str:
        """Whether the card is in, and how much room it has."""
        status = self.status()
        if not status["mounted"]:
            raise NoCard("no SD card: it was pulled out")
        return f"{self._folder}, {status['freeBytes']} of {status['totalBytes']} bytes free"

    async def control(self, words: list[str]) -> str:
        """`pull`, `insert`, `readonly on`, `readonly off`."""
        if words == ["pull"]:
            self.pull()
            return "pulled"
        if words == ["insert"]:
            self.insert()
            return "inserted"
        if words in (["readonly", "on"], ["readonly", "off"]):
            self.set_read_only(words[1] == "on")
            return "write-protected" if self._read_only else "writable"
        raise ValueError("the card knows: pull, insert, readonly on, readonly off")

    def pull(self) -> None:
        """Pull the card out without ejecting it."""
        self._present = False

    def insert(self) -> None:
        """Put the card in, if it is out."""
        if not self._present:
            self._present = True
            self._used = None
            self.insertions += 1

    def set_read_only(self, read_only: bool) -> None:
        """Slide the write protection on or off."""
        self._read_only = read_only

    def root(self) -> str:
        """The folder; NoCard while the card is out."""
        if not self._present:
            raise NoCard("no SD card: put one in")
        return self._folder

    def before_write(self, count: int) -> None:
        """So many more bytes are about to be written: CardReadOnly, or CardFull where `sizeBytes` has no room."""
        if self._read_only:
            raise CardReadOnly("the SD card is write-protected")
        if self._size is None or count == 0:
            return
        if self._used is None or self._used + count > self._size:
            self._used = self._count_bytes()  # again: files may have been removed
        if self._used + count > self._size:
            raise CardFull("the SD card has no room left")
        self._used += count

    def status(self) -> dict:
        """Size and free room in bytes; None while the card is out."""
        if not self._present:
            return {"present": False, "mounted": False, "totalBytes": None, "freeBytes": None}
        if self._size is None:
            host = os.statvfs(self._folder)
            total, free = host.f_blocks * host.f_frsize, host.f_bavail * host.f_frsize
        else:
            total, free = self._size, max(0, self._size - self._count_bytes())
        return {"present": True, "mounted": True, "totalBytes": total, "freeBytes": free}

    async def eject(self) -> None:
        """The card is then out until `insert`. NoCard where it is out already."""
        self.root()
        self._present = False

    def _count_bytes(self) -> int:
        used = 0
        pending = [self._folder]
        while pending:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                        continue
                    with contextlib.suppress(FileNotFoundError):  # removed since
                        used += entry.stat(follow_symlinks=False).st_size
        return used
