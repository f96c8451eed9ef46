"""Files on the SD card: listings, reading and writing by blocks, removal, ejection."""

import asyncio

from firmware.services.card.absent import NoCardFiles
from firmware.services.card.paths import bad_path, split_path
from firmware.services.card.slot import CardSlot
from firmware.services.card.uploads import check_block
from firmware.services.card.volume import Volume
from firmware.services.card.worker import CardWorker
from firmware.services.errors import Refused
from firmware.services.transfers import Transfers
from hal.contracts import Card, PartError
from hal.runtime import in_time, log, now_ms
from hal.runtime.annotations import Callable, T, Ts, Unpack

READ_SEC = 10  # how long somebody waits for what is read
WRITE_SEC = 30  # and for what is written: a slow card may have megabytes to bring to its medium
EJECT_SEC = 30
STATUS_SEC = 1
START_SEC = 2
STOP_SEC = 3


class CardFiles(NoCardFiles):
    """The files on a card; `card` is the board's part.

    `local_iso` turns milliseconds UTC into ISO 8601 in device local time. All file work is done in turns, by a worker.

    An upload grows in a folder of the device's own at the card's root and is renamed when its last block is in. Few are
    under way at a time. An upload belongs to the `owner` (a session, an address) that sent its block 0: whoever sends
    block 0 to the same path later takes the path over, and the one before is refused from then on.

    Every method raises Refused: NO_CARD, CARD_FAILED, CARD_BUSY where the card has been busy for long, BAD_PATH,
    NOT_FOUND and NOT_DIRECTORY where they fit, and what its own line says.
    """

    def __init__(
        self,
        card: Card,
        local_iso: Callable[[int], str],
        clock: Callable[[], int] = now_ms,
        transfers: Transfers | None = None,
    ):
        self._card = card
        self._transfers = transfers or Transfers(clock)
        self._worker = CardWorker(clock)
        self._slot = CardSlot(card, local_iso, clock)
        self._ejecting = False
        self._status: dict | None = None  # the last one known

    async def start(self) -> None:
        """Remove what a crash has left of uploads, if a card is in."""
        try:
            await self._worker.do(START_SEC, self._slot.meet)
        except Refused as exc:
            if exc.code != "NO_CARD":
                log(f"SD card: {exc}")

    async def dir(self, path: str, from_idx: int = 0, to_idx: int | None = None) -> tuple[list[dict], int]:
        """(entries of a folder by name, each as of `info`, how many it has in all).

        At most ITEMS_MAX entries; indices are inclusive.
        """
        return await self._do(READ_SEC, Volume.entries, split_path(path), from_idx, to_idx)

    async def info(self, path: str) -> dict:
        """{"name", "attrib", "size", "datetime"} of a file or folder."""
        return await self._do(READ_SEC, Volume.info, split_path(path))

    async def read(self, path: str, block_idx: int) -> tuple[bytes, int]:
        """(a block of a file, how many blocks it has). IS_DIRECTORY; BadField for a block past the end."""
        block = await self._do(READ_SEC, Volume.read, split_path(path), block_idx)
        self._transfers.mark()
        return block

    async def write(
        self, path: str, block_idx: int, block_count: int, data: bytes, owner: str = "", address: str = ""
    ) -> None:
        """Take the next block of an upload.

        Block 0 begins anew. The last block that was taken may come again. BAD_BLOCK names the block that is expected,
        CARD_BUSY: too many uploads, CARD_FULL, CARD_READ_ONLY, IS_DIRECTORY, TOO_LARGE: over 4 GiB, BadField. A card
        that fails ends the upload.
        """
        check_block(block_idx, block_count, data)
        names = split_path(path)
        await self._do(WRITE_SEC, Volume.write, names, block_idx, block_count, data, owner, address)
        self._transfers.mark()

    async def remove(self, path: str, recursive: bool = False) -> None:
        """Remove a file, a link or a folder. NOT_EMPTY unless recursive, CARD_READ_ONLY."""
        names = split_path(path)
        if not names:
            raise bad_path("the card's root cannot be removed")
        await self._do(WRITE_SEC, Volume.remove, names, recursive)

    async def read_whole(self, path: str, limit: int) -> bytes:
        """A file's bytes. TOO_LARGE where there are more than `limit`, IS_DIRECTORY."""
        return await self._do(READ_SEC, Volume.read_whole, split_path(path), limit)

    async def write_whole(self, path: str, data: bytes) -> None:
        """Write a file: whole and synced, or not at all. CARD_FULL, CARD_READ_ONLY, IS_DIRECTORY."""
        await self._do(WRITE_SEC, Volume.write_whole, split_path(path), data)

    async def append(self, path: str, data: bytes) -> None:
        """Add to a file that is there: all of the data and synced, or nothing. CARD_FULL, CARD_READ_ONLY, NOT_FOUND."""
        await self._do(WRITE_SEC, Volume.append, split_path(path), data)
        self._transfers.mark()

    async def status(self) -> dict | None:
        """State of the card: {"present", "mounted", "totalBytes", "freeBytes"}.

        While the card does not answer, what was last known of it, or None.
        """
        try:
            self._status = await self._worker.do(STATUS_SEC, self._slot.status)
        except Refused as exc:
            if exc.code not in ("CARD_BUSY", "CARD_FAILED"):
                raise
        return self._status

    async def eject(self) -> None:
        """Close files, give uploads up, sync and unmount. Without a card until one is put in again."""
        self._refuse_while_ejecting()
        self._ejecting = True
        try:
            await self._worker.do(WRITE_SEC, self._slot.let_go)
            await in_time(self._card.eject(), EJECT_SEC)
        except PartError as exc:
            raise Refused(exc.code, str(exc)) from exc
        except asyncio.TimeoutError:
            raise Refused("CARD_FAILED", "the SD card does not answer; do not take it out yet") from None
        finally:
            self._ejecting = False

    async def stop(self) -> None:
        """Close files and give uploads up."""
        try:
            await self._worker.do(STOP_SEC, self._slot.let_go)
        except Refused:
            pass  # no card, so nothing is open; or it does not answer, and is left as it is

    def _refuse_while_ejecting(self) -> None:
        if self._ejecting:
            raise Refused("NO_CARD", "the SD card is being ejected")

    async def _do(self, seconds: float, operation: Callable[[Volume, Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        self._refuse_while_ejecting()
        return await self._worker.do(seconds, self._slot.use, operation, *args)
