"""What stands in for the searches on a board without an RS-485 port."""

from firmware.services.bus.absent import no_port
from firmware.services.search.verdicts import Found, Member, Search
from hal.service import Service


class BadTemplate(Exception):
    """A file holds no template, or cannot be had; the text begins with the code of the reason."""


class _NoSearch(Service):
    async def end(self) -> None:
        """There is nothing to end."""

    def progress(self) -> tuple[str, int, int]:
        """What it is before the first search."""
        return "IDLE", 0, 0


class NoDiscovery(_NoSearch):
    """Refuses to search for devices."""

    def begin(self, search: Search) -> bool:
        """Refused NO_PORT."""
        raise no_port()

    def found(self) -> list[Found]:
        """The devices found: none."""
        return []


class NoTemplateSearch(_NoSearch):
    """Refuses to search for devices of a template."""

    async def meta_info(self, path: str) -> dict:
        """Refused NO_PORT."""
        raise no_port()

    async def begin(self, path: str, setting: tuple[int, int, int]) -> dict | None:
        """Refused NO_PORT."""
        raise no_port()

    def found(self) -> list[Member]:
        """The devices found: none."""
        return []

    def unjudged(self) -> list[tuple[int, str]]:
        """Units that could not be judged: none."""
        return []
