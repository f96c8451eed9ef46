"""What "healthy" means, in one place: for the watchdog, for an update on trial and for `mc252 check`."""

from hal.runtime import http_answers, offload
from hal.runtime.annotations import Callable

PROBE_SEC = 5.0


class Health:
    """Looks at the running device.

    `ended()` gives the names of services that have ended by themselves, `http_port()` the port that HTTP listens on,
    `bus_open()` whether the RS-485 port is open, None where the board has none.
    """

    def __init__(
        self, ended: Callable[[], list[str]], http_port: Callable[[], int], bus_open: Callable[[], bool | None]
    ) -> None:
        self._ended = ended
        self._http_port = http_port
        self._bus_open = bus_open

    def problems_inside(self) -> list[str]:
        """What the event loop itself can see, at once: whoever is ended is no longer fed to the watchdog."""
        return [f"{name} has ended" for name in self._ended()]

    async def problems(self, bus_was_open: bool = False) -> list[str]:
        """All that is wrong; HTTP is asked from outside the event loop where there are threads."""
        problems = self.problems_inside()
        if bus_was_open and self._bus_open() is False:
            problems.append("the RS-485 port is not open, which was open before")
        if not await offload(http_answers, self._http_port(), PROBE_SEC):
            problems.append("HTTP does not answer")
        return problems

    def is_bus_open(self) -> bool:
        """Whether the RS-485 port is open now."""
        return bool(self._bus_open())
