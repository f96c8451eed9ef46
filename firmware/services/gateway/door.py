"""A port on which the gateway listens."""

import asyncio

from firmware.services.system.problems import Problems

FIRST_PAUSE = 1  # seconds until a port that was taken is tried again; the pause doubles
LONGEST_PAUSE = 60


class Door:
    """Listens on a port; one that is taken is tried again, and is a problem until it is free.

    `name` is what is served there, `place` the address and port; `listen()` returns what `close()` ends, or raises
    OSError.
    """

    def __init__(self, name: str, place: str, listen, problems: Problems):
        self._name = name
        self._place = place
        self._listen = listen
        self._problems = problems
        self._trying: asyncio.Task | None = None
        self.listener = None  # what `listen` gave, None while there is nothing

    async def open(self) -> None:
        """Listen now, or as soon as it can be."""
        if not await self._try():
            self._trying = asyncio.create_task(self._try_again())

    def close(self) -> None:
        """Listen no more."""
        if self._trying is not None:
            self._trying.cancel()
            self._trying = None
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    def is_alive(self) -> bool:
        """False where it has ended by itself, by an unexpected error."""
        return self.listener is not None or self._trying is None or not self._trying.done()

    async def _try(self) -> bool:
        try:
            self.listener = await self._listen()
        except OSError as exc:
            self._problems.report(self._name, f"{self._name} cannot listen on {self._place}: {exc}")
            return False
        self._problems.withdraw(self._name)
        return True

    async def _try_again(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            if await self._try():
                return
            pause = min(2 * pause, LONGEST_PAUSE)
