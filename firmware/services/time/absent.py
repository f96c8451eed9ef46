"""What stands in for the clock on a board without one."""

from firmware.services import shapes
from firmware.services.errors import Refused
from firmware.services.time.local_time import LocalTime
from hal.service import Service


class NoClock(Service):
    """Knows what local time is, but not what time. `settings` is the active area: timeGmt, tsMode and tsManual."""

    def __init__(self, settings: shapes.Area):
        self._local = LocalTime(settings["timeGmt"], settings["tsMode"], settings["tsManual"])

    def local_iso(self, utc: int) -> str:
        """Local time of a moment in milliseconds UTC, ISO 8601 without a zone."""
        return self._local.local_iso(utc)

    def state(self) -> dict | None:
        """The state key `time`."""
        return None

    def utc(self) -> int | None:
        """Milliseconds since 1970, None where there is no clock or it was never set."""
        return None

    def utc_iso_ago(self, age: float) -> str | None:
        """UTC time of so many seconds ago, ISO 8601; None without a clock."""
        return None

    def minute_of_day(self) -> int | None:
        """Minutes since midnight, local time; None without a clock, or where it was never set."""
        return None

    def set(self, text: str) -> None:
        """Refused NO_CLOCK."""
        raise _no_clock()

    async def sync(self) -> tuple[str | None, int | None]:
        """Refused NO_CLOCK."""
        raise _no_clock()


def _no_clock() -> Refused:
    return Refused("NO_CLOCK", "this board has no clock")
