"""What stands in for the SD card's files on a board without a card."""

from firmware.services.errors import Refused
from hal.service import Service


class NoCardFiles(Service):
    """Refuses everything with NO_CARD."""

    async def status(self) -> dict | None:
        """The state key `card`."""
        return None

    async def dir(self, path: str, from_idx: int = 0, to_idx: int | None = None) -> tuple[list[dict], int]:
        """Refused NO_CARD, as all below."""
        raise _no_card()

    async def info(self, path: str) -> dict:
        """Of a file or folder."""
        raise _no_card()

    async def read(self, path: str, block_idx: int) -> tuple[bytes, int]:
        """A block of a file."""
        raise _no_card()

    async def write(
        self, path: str, block_idx: int, block_count: int, data: bytes, owner: str = "", address: str = ""
    ) -> None:
        """A block of an upload."""
        raise _no_card()

    async def remove(self, path: str, recursive: bool = False) -> None:
        """A file or folder."""
        raise _no_card()

    async def read_whole(self, path: str, limit: int) -> bytes:
        """A file's bytes."""
        raise _no_card()

    async def write_whole(self, path: str, data: bytes) -> None:
        """A whole file."""
        raise _no_card()

    async def append(self, path: str, data: bytes) -> None:
        """What is added to a file."""
        raise _no_card()

    async def eject(self) -> None:
        """The card."""
        raise _no_card()


def _no_card() -> Refused:
    return Refused("NO_CARD", "this board has no SD card")
