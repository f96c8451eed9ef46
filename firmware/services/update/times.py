"""What time it may be, for whatever expires: licences, certificates, indexes.

A clock that shows a time before the firmware was made was never set; one that was set back revives nothing, for the
highest time ever seen is kept.
"""

from firmware.services.update.kept import Kept
from hal.contracts import Clock
from hal.update.signed import Moment

KEEP_SEC = 3600  # flash memory wears: the highest time is stored so often at most


class Times:
    """`clock` is the board's part or None, `released` is when this firmware was made; whole seconds since 1970."""

    def __init__(self, clock: Clock | None, kept: Kept, released: int):
        self._clock = clock
        self._kept = kept
        self._released = released
        self._highest = kept.number("highestTime")

    def now(self) -> int | None:
        """The clock's time, None where it was never set."""
        now = 0 if self._clock is None else self._clock.now() // 1000
        return now if now >= self._released else None

    def latest(self) -> int:
        """The latest time known: it is not earlier than this."""
        self._highest = max(self._highest, self._released, self.now() or 0)
        return self._highest

    def moment(self) -> Moment:
        """What signed documents are judged by."""
        return Moment(self.now(), self.latest())

    async def keep(self) -> None:
        """Store the highest time where it is worth a write."""
        if self.latest() >= self._kept.number("highestTime") + KEEP_SEC:
            await self._kept.keep(highestTime=self._highest)
