"""The log: lines on the standard error, where the service manager collects them; a flood of them is left out."""

import sys
import time

MINUTE = 60
EQUAL_LINES = 5  # that many of one text are written in a minute
LINES = 100  # that many are written at once, then so many a minute
_TEXTS = 32  # texts that are remembered


def _seconds() -> float:
    """Seconds of a clock that begins anew now and then on MicroPython; it tells only how long ago something was."""
    if hasattr(time, "monotonic"):
        return time.monotonic()
    return float(time.ticks_ms() // 1000)  # type: ignore[attr-defined]


class Log:
    """Writes lines, but no floods: neither of one text nor of all. What was left out is counted and told later."""

    def __init__(self, clock=_seconds):
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Begin anew, as if nothing had been written yet."""
        self._texts: dict = {}  # text -> [when its minute began, lines of it since, those that were left out]
        self._left = float(LINES)
        self._at = self._clock()
        self._left_out = 0

    def write(self, text: str) -> None:
        """Write a text, or leave it out."""
        now = self._clock()
        left_out = self._is_repeated(text, now)
        if left_out is None or not self._has_room(now):
            return
        if self._left_out:
            self._print(f"{self._left_out} lines were left out here")
            self._left_out = 0
        self._print(f"{text} ({left_out} more of these were left out)" if left_out else text)

    def _is_repeated(self, text: str, now: float) -> "int | None":
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

    def _has_room(self, now: float) -> bool:
        passed = max(0, now - self._at)
        self._left = min(LINES, self._left + passed * LINES / MINUTE)
        self._at = now
        if self._left < 1:
            self._left_out += 1
            return False
        self._left -= 1
        return True

    def _print(self, line: str) -> None:
        print(line, file=sys.stderr)


LOG = Log()


def log(text: str) -> None:
    """Write one line to the log; one that repeats without end is written a few times a minute and counted."""
    LOG.write(text)
