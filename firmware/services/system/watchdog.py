"""The watchdog: whoever watches over the device is told that it is well, as long as it is."""

import asyncio

from firmware.services.system.health import Health
from hal.contracts import System
from hal.runtime import log
from hal.runtime.logs import ERROR
from hal.service import Service

_FEEDS_PER_PERIOD = 3  # so that a busy moment is no alarm


class Watchdog(Service):
    """Feeds the board's watchdog from the event loop until something is wrong that `health` sees there: from then on it
    is fed no more, and the board restarts the device."""

    def __init__(self, system: System, health: Health) -> None:
        self._system = system
        self._health = health

    async def start(self) -> None:
        """Say that the device serves, and feed from now on where somebody watches."""
        self._system.ready()
        seconds = self._system.watchdog_sec()
        if seconds is not None:
            self.spawn(self._run(seconds / _FEEDS_PER_PERIOD))

    async def _run(self, pause: float) -> None:
        while True:
            problems = self._health.problems_inside()
            if problems:
                log("no longer fed to the watchdog: " + ", ".join(problems), ERROR)
                return
            self._system.feed()
            await asyncio.sleep(pause)
