"""The automatic restart: after so many minutes, by default only when nothing was transferred in that time."""

import asyncio

from hal.runtime import monotonic

CHECK_SEC = 5


class AutoRestart:
    """Watches the time. `settings` is the active value of areset; `last_transfer()` is the monotonic time of the last
    transfer (transfers.py), or None; `restart()` is called once when it is time."""

    def __init__(self, settings: dict, last_transfer, restart, clock=monotonic):
        self._settings = settings
        self._last_transfer = last_transfer
        self._restart = restart
        self._clock = clock
        self._started = clock()
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        """Begin to watch, where the settings ask for it."""
        if self._settings["enabled"]:
            self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def is_alive(self) -> bool:
        """False where it has ended by itself, by an unexpected error."""
        return self._task is None or not self._task.done()

    def is_due(self) -> bool:
        """Whether the period has passed since the start, or since the last transfer."""
        since = self._started
        if self._settings["onlyIdle"]:
            since = max(since, self._last_transfer() or since)
        return self._clock() - since >= self._settings["periodMin"] * 60

    async def _watch(self) -> None:
        while not self.is_due():  # noqa: ASYNC110 - what makes it due is time itself
            await asyncio.sleep(CHECK_SEC)
        self._restart()
