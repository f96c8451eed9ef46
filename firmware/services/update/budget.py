"""How many bytes a day updates may take over GSM, where they cost money."""

import asyncio

from firmware.services.update.kept import Kept
from hal.runtime.annotations import Callable

DAY = 86400
LOOK_SEC = 60  # while the budget is spent
KEEP_BYTES = 65536  # flash memory wears: the count is stored so often at most


class Budget:
    """Counts bytes by UTC day: `limit` a day, while `counts()` says that they cost; `now()` is seconds since 1970."""

    def __init__(self, limit: int, counts: Callable[[], bool], now: Callable[[], int], kept: Kept):
        self._limit = limit
        self._counts = counts
        self._now = now
        self._kept = kept
        self._day, self._spent = kept.number("gsmDay"), kept.number("gsmBytes")
        self._stored = self._spent
        self.waits = False

    def left(self) -> int:
        """Bytes that may still come today."""
        day = self._now() // DAY
        if day > self._day:
            self._day, self._spent, self._stored = day, 0, 0
        return max(0, self._limit - self._spent)

    async def spend(self, count: int) -> None:
        """So many bytes have come; after the last of today's, wait for tomorrow or for a line that is free."""
        if not self._counts():
            return
        self.left()
        self._spent += count
        if self._spent - self._stored >= KEEP_BYTES or not self.left():
            self._stored = self._spent
            await self._kept.keep(gsmDay=self._day, gsmBytes=self._spent)
        self.waits = True
        while self._counts() and not self.left():  # noqa: ASYNC110 - nothing tells when a cable is plugged in
            await asyncio.sleep(LOOK_SEC)
        self.waits = False
