"""What "healthy" means, in one place: for the watchdog, for an update on trial and for `mc252 check`."""

from hal.runtime import http_answers, offload
from hal.runtime.annotations import Callable

PROBE_SEC = 5.0


class Health:
    """Looks at the running device.

    `ended()` gives the names of services that have ended by themselves, `http_address()` where HTTP listens,
    `bus_open()` whether the RS-485 port is open, None where the board has none; `settings_lost` is whether the stored
    settings could not be read.
    """

    def __init__(
        self,
        ended: Callable[[], list[str]],
        http_address: Callable[[], tuple[str, int]],
        bus_open: Callable[[], bool | None],
        settings_lost: bool,
    ) -> None:
        self._ended = ended
        self._http_address = http_address
        self._bus_open = bus_open
        self._settings_lost = settings_lost

    def problems_inside(self) -> list[str]:
        """What the event loop sees by itself, and a restart may mend: the watchdog, which restarts, goes by it."""
        ended = self._ended()
        return ["these have ended: " + ", ".join(ended)] if ended else []

    async def problems(self, before: dict) -> list[str]:
        """All that is wrong, measured by what `now` gave before; HTTP is asked from outside the event loop where there
        are threads."""
        problems = self.problems_inside()
        if before.get("busWasOpen") and self._bus_open() is False:
            problems.append("the RS-485 port is not open, which was open before")
        if before.get("settingsWereRead") and self._settings_lost:
            problems.append("the settings cannot be read, which could be read before")
        if not await offload(http_answers, *self._http_address(), PROBE_SEC):
            problems.append("HTTP does not answer")
        return problems

    def now(self) -> dict:
        """What works now and may not get lost by an update: {"busWasOpen": 0|1, "settingsWereRead": 0|1}."""
        return {"busWasOpen": int(bool(self._bus_open())), "settingsWereRead": int(not self._settings_lost)}
