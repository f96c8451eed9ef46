"""What stands in for the searches on a board without an RS-485 port."""

from firmware.services.bus.absent import no_port
from firmware.services.search.verdicts import Search
from hal.service import Service


class _NoSearch(Service):
    async def end(self) -> dict:
        """There is nothing to end: {"status": "DONE"}."""
        return {"status": "DONE"}


class NoDiscovery(_NoSearch):
    """Refuses to search for devices."""

    def begin(self, search: Search) -> dict:
        """Refused NO_PORT."""
        raise no_port()

    def result(self, with_list: bool) -> dict:
        """What it is before the first search."""
        answer: dict = {"status": "IDLE", "progress": 0, "etaSec": 0}
        if with_list:
            answer["foundDevices"] = []
        return answer


class NoTemplateSearch(_NoSearch):
    """Refuses to search for devices of a template."""

    async def meta_info(self, path: str) -> dict:
        """Refused NO_PORT."""
        raise no_port()

    async def begin(self, path: str, setting: tuple[int, int, int], with_meta: bool) -> dict:
        """Refused NO_PORT."""
        raise no_port()

    def result(self) -> dict:
        """What it is before the first search."""
        return {"status": "IDLE", "progress": 0, "etaSec": 0, "foundDevices": [], "unjudged": []}
