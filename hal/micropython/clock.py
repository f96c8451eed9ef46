"""The real-time clock of a microcontroller."""

import time

from hal.contracts import Clock, PartError
from hal.fields import Object
from hal.runtime import log, now_ms
from hal.runtime.annotations import Any

_YEARS = (2024, 2099)  # an RTC that says another year has lost its time
_DAY = 86400
_MONTHS = (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)  # days before each


class RtcClock(Clock):
    """The RTC that the port has. It counts whole seconds, some from 2000: what is between them is kept here.

    Few boards have a battery for it: then the time is unknown after a power cut, until it is set.
    """

    OPTIONS = Object()

    def __init__(self, options: dict, state_dir: str, clock: Any = now_ms):
        import machine  # here, so that what the driver takes can be told where there is none

        self._rtc = machine.RTC()
        self._clock = clock
        self._offset = 0  # milliseconds from the clock that never jumps to this one

    async def start(self) -> None:
        """Take the time of the RTC."""
        fields = self._rtc.datetime()
        if not _YEARS[0] <= fields[0] <= _YEARS[1]:
            log(f"clock: the RTC has lost the time: it says year {fields[0]}")
        self._offset = _seconds_of(fields) * 1000 - self._clock()

    async def probe(self) -> str:
        """What the RTC says. PartError where it has lost the time."""
        fields = self._rtc.datetime()
        if not _YEARS[0] <= fields[0] <= _YEARS[1]:
            raise PartError(f"the RTC has lost the time: it says year {fields[0]}")
        return "RTC {:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z".format(*fields[:3], *fields[4:7])

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        return self._offset + self._clock()

    def set(self, moment: int) -> None:
        """Set the RTC to the whole second. PartError where it does not take it."""
        try:
            self._rtc.datetime(_fields_of((moment + 500) // 1000))
        except (OSError, ValueError, OverflowError) as exc:
            raise PartError(f"the RTC cannot be set: {exc}") from exc
        self._offset = moment - self._clock()


def _seconds_of(fields: tuple) -> int:
    """Seconds since 1970 of what an RTC says: (year, month, day, day of the week, hour, minute, second, ...). The
    port's own functions count from 1970 or 2000."""
    year, month, day, _, hour, minute, second = fields[:7]
    leaps = (year - 1969) // 4 - (year - 1901) // 100 + (year - 1601) // 400
    days = (year - 1970) * 365 + leaps + _MONTHS[month - 1] + day - 1
    if month > 2 and year % 4 == 0 and (year % 100 or year % 400 == 0):
        days += 1
    return days * _DAY + (hour * 60 + minute) * 60 + second


_EPOCH = time.gmtime(0)[0]  # 1970 or 2000


def _fields_of(seconds: int) -> tuple:
    """What an RTC is told: (year, month, day, day of the week from Monday 0, hour, minute, second, 0)."""
    since = seconds - _seconds_of((_EPOCH, 1, 1, 0, 0, 0, 0))
    year, month, day, hour, minute, second, weekday = time.gmtime(since)[:7]
    return year, month, day, weekday, hour, minute, second, 0
