"""The automatic restart: after so many minutes, by default only when nothing was transferred in that time."""

import asyncio

from firmware.services import shapes
from hal.runtime import now_ms
from hal.runtime.annotations import Callable
from hal.service import Service

CHECK_SEC = 5


class AutoRestart(Service):
    """Watches the time. `settings` is the active value of areset; `last_transfer()` is the millisecond of the last
    transfer (transfers.py), or None; `restart()` is called once when it is time."""

    def __init__(
        self,
        settings: shapes.Areset,
        last_transfer: Callable[[], int | None],
        restart: Callable[[], None],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._settings = settings
        self._last_transfer = last_transfer
        self._restart = restart
        self._clock = clock
        self._started = clock()

    async def start(self) -> None:
        """Begin to watch, where the settings ask for it."""
        if self._settings["enabled"]:
            self.keep_running(self._watch())

    def is_due(self) -> bool:
        """Whether the period has passed since the start, or since the last transfer."""
        since = self._started
        if self._settings["onlyIdle"]:
            since = max(since, self._last_transfer() or since)
        return self._clock() - since >= self._settings["periodMin"] * 60000

    async def _watch(self) -> None:
        while not self.is_due():  # noqa: ASYNC110 - what makes it due is time itself
            await asyncio.sleep(CHECK_SEC)
        self._restart()
