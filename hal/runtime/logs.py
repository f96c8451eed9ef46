"""The log: lines on the standard error, where the service manager collects them; a flood of them is left out.

The last lines are kept for whoever cannot look there.
"""

import os
import sys
import time

from hal.runtime.annotations import Callable

MINUTE = 60000  # milliseconds
EQUAL_LINES = 5  # that many of one text are written in a minute
LINES = 100  # that many are written at once, then so many a minute
ERROR, WARNING, INFO = 3, 4, 6  # priorities: syslog(3)
LEVELS = {"error": ERROR, "warning": WARNING, "info": INFO}
KEPT = 32 if sys.implementation.name == "micropython" else 200  # last lines that are kept
KEPT_LENGTH = 500  # characters of one that are kept
_TEXTS = 32  # texts that are remembered


def _now_ms() -> int:
    """Milliseconds of a clock that wraps now and then on MicroPython; it tells only how long ago something was."""
    if hasattr(time, "monotonic_ns"):
        return time.monotonic_ns() // 1000000
    ticks: int = time.ticks_ms()  # type: ignore[attr-defined]
    return ticks


class Log:
    """Writes lines, but no floods: neither of one text nor of all. What was left out is counted and told later."""

    def __init__(self, clock: Callable[[], int] = _now_ms):
        self._clock = clock
        self._marked = hasattr(os, "getenv") and bool(os.getenv("JOURNAL_STREAM"))  # sd-daemon(3)
        self.level = INFO  # lines of a priority beyond it are left out
        self._kept: list[tuple[int, int, int, str]] = []  # (number, when, priority, text)
        self.count = 0
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if nothing had been written yet."""
        self._texts: dict = {}  # text -> [when its minute began, lines of it since, those that were left out]
        self._left = float(LINES)
        self._at = self._clock()
        self._left_out = 0

    def write(self, text: str, priority: int = WARNING) -> None:
        """Write a text, or leave it out."""
        if priority > self.level:
            return
        now = self._clock()
        left_out = self._is_repeated(text, now)
        if left_out is None or not self._has_room(now):
            return
        if self._left_out:
            self.put(f"{self._left_out} lines were left out here", WARNING)
            self._left_out = 0
        self.put(f"{text} ({left_out} more of these were left out)" if left_out else text, priority)

    def _is_repeated(self, text: str, now: int) -> int | None:
        """None where a text was written often enough in this minute, else how often it was left out in the last one."""
        entry = self._texts.get(text)
        if entry is None or not 0 <= now - entry[0] < MINUTE:
            left_out = entry[2] if entry else 0
            if entry is None and len(self._texts) >= _TEXTS:
                del self._texts[min(self._texts, key=lambda known: self._texts[known][0])]
            self._texts[text] = [now, 1, 0]
            return left_out
        if entry[1] < EQUAL_LINES:
            entry[1] += 1
            return 0
        entry[2] += 1
        return None

    def _has_room(self, now: int) -> bool:
        passed = max(0, now - self._at)
        self._left = min(LINES, self._left + passed * LINES / MINUTE)
        self._at = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True

    def put(self, text: str, priority: int) -> None:
        """Write a text whatever was written before. The service manager is told the priority of each of its lines."""
        if priority > self.level:
            return
        self.keep(text, priority)
        for line in text.split("\n") if self._marked else (text,):
            print(f"<{priority}>{line}" if self._marked else line, file=sys.stderr)

    def keep(self, text: str, priority: int) -> None:
        """Keep a text that is written elsewhere."""
        self.count += 1
        self._kept = self._kept[1 - KEPT :] + [(self.count, self._clock(), priority, text[:KEPT_LENGTH])]

    def since(self, number: int) -> list:
        """The kept lines after a number, each (number, milliseconds since then, priority, text), the oldest first."""
        now = self._clock()
        return [(count, max(0, now - at), priority, text) for count, at, priority, text in self._kept if count > number]


LOG = Log()


def log(text: str, priority: int = WARNING) -> None:
    """Write one line to the log; one that repeats without end is written a few times a minute and counted."""
    LOG.write(text, priority)
