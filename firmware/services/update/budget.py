"""How many bytes a day updates may take over GSM, where they cost money."""

import asyncio

from firmware.services.update.kept import Kept
from hal.runtime import now_ms
from hal.runtime.annotations import Callable

DAY = 86400
LOOK_SEC = 60  # while the budget is spent
KEEP_BYTES = 65536  # flash memory wears: the count is stored so often at most
KEEP_RUN_SEC = 900  # and the time that the device has run so often


class Budget:
    """Counts bytes: `limit` a day, while `counts()` says that they cost.

    `now()` is seconds since 1970, None where the clock was never set. Days are those of UTC where it is set. Elsewhere
    one is over when the device has run for 24 hours, which are counted over restarts: these give nothing back.
    """

    def __init__(self, limit: int, counts: Callable[[], bool], now: Callable[[], int | None], kept: Kept):
        self._limit = limit
        self._counts = counts
        self._now = now
        self._kept = kept
        self._day, self._spent = kept.number("gsmDay"), kept.number("gsmBytes")  # day 0: one that had no date
        self._run_ms = kept.number("gsmRunSec") * 1000  # of the day, without a clock
        self._looked_ms = now_ms()
        self._stored, self._stored_run_ms = self._spent, self._run_ms
        self.waits = False

    def has_clock(self) -> bool:
        """Whether days are those of a clock."""
        return self._now() is not None

    def left(self) -> int:
        """Bytes that may still come today."""
        now, looked = self._now(), now_ms()
        if now is None:
            self._run_ms += looked - self._looked_ms
            if self._run_ms >= DAY * 1000:
                self._begin_day(0, 0)
        elif now // DAY > self._day:
            # A day without a date is not over because the clock was set in the middle of it.
            self._begin_day(now // DAY, 0 if self._day else self._spent)
        self._looked_ms = looked
        return max(0, self._limit - self._spent)

    def _begin_day(self, day: int, spent: int) -> None:
        self._day, self._spent, self._run_ms = day, spent, 0
        self._stored, self._stored_run_ms = spent - KEEP_BYTES, 0  # worth a write

    async def spend(self, count: int) -> None:
        """So many bytes have come; after the last of today's, wait for tomorrow or for a line that is free."""
        if not self._counts():
            return
        self.left()
        self._spent += count
        if self._spent - self._stored >= KEEP_BYTES or not self.left():
            await self._keep()
        self.waits = True
        while self._counts() and not self.left():  # nothing tells when a cable is plugged in
            if self._run_ms - self._stored_run_ms >= KEEP_RUN_SEC * 1000:
                await self._keep()
            await asyncio.sleep(LOOK_SEC)
        self.waits = False

    async def _keep(self) -> None:
        self._stored, self._stored_run_ms = self._spent, self._run_ms
        await self._kept.keep(gsmDay=self._day, gsmBytes=self._spent, gsmRunSec=self._run_ms // 1000)
