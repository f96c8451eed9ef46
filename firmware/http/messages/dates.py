"""Dates as HTTP writes them (RFC 9110 section 5.6.7)."""

import time

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = 946684800 if time.gmtime(0)[0] == 2000 else 0  # boards with MicroPython count from 2000


def http_date(seconds: int) -> str:
    """A moment in seconds since 1970 as `Sun, 06 Nov 1994 08:49:37 GMT`."""
    year, month, day, hour, minute, second, weekday = time.gmtime(seconds - _EPOCH)[:7]
    return f"{_DAYS[weekday]}, {day:02d} {_MONTHS[month - 1]} {year:04d} {hour:02d}:{minute:02d}:{second:02d} GMT"
