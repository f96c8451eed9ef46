"""When a device looks for updates by itself: once a day in quiet hours, each device at a minute of its own."""

from hal.runtime import sha256
from hal.runtime.annotations import Callable

FIRST_HOUR, HOURS = 2, 3  # local time: between two and five at night
DAY_MIN = 1440


class QuietHours:
    """`minute_of_day()` is local time in minutes, None without a clock: then it is once a day after the start."""

    def __init__(self, mac: str, minute_of_day: Callable[[], int | None]):
        digest = sha256(b"quiet " + mac.encode())
        self._minute = FIRST_HOUR * 60 + (digest[0] << 8 | digest[1]) % (HOURS * 60)
        self._minute_of_day = minute_of_day

    def seconds_until(self) -> int:
        """Seconds until the next look, a minute at least."""
        now = self._minute_of_day()
        if now is None:
            return DAY_MIN * 60
        return max(1, (self._minute - now) % DAY_MIN or DAY_MIN) * 60
