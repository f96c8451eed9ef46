"""The watchdog: whoever watches over the device is told that it is well, as long as it is."""

import asyncio

from hal.contracts import System
from hal.runtime import log
from hal.runtime.annotations import Callable
from hal.service import Service

_FEEDS_PER_PERIOD = 3  # so that a busy moment is no alarm


class Watchdog(Service):
    """Feeds the board's watchdog from the event loop. `ended()` gives the names of services that have ended by
    themselves: from then on it is fed no more, and the board restarts the device."""

    def __init__(self, system: System, ended: Callable[[], list[str]]) -> None:
        self._system = system
        self._ended = ended

    async def start(self) -> None:
        """Say that the device serves, and feed from now on where somebody watches."""
        self._system.ready()
        seconds = self._system.watchdog_sec()
        if seconds is not None:
            self.spawn(self._run(seconds / _FEEDS_PER_PERIOD))

    async def _run(self, pause: float) -> None:
        while True:
            ended = self._ended()
            if ended:
                log("no longer fed to the watchdog, for these have ended: " + ", ".join(ended))
                return
            self._system.feed()
            await asyncio.sleep(pause)
