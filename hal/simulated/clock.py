"""A clock that keeps its own distance from the host's and leaves the host's alone."""

import os
import time

from hal.contracts import Clock, PartError
from hal.fields import Object
from hal.runtime import fsync_file, log

_FILE = "clock-offset"
_FARTHEST = 200 * 366 * 86400  # seconds; what is farther was not set here


class SimulatedClock(Clock):
    """System clock and RTC in one; the offset to the host's clock survives restarts as a battery would have it."""

    OPTIONS = Object()

    def __init__(self, options: dict, state_dir: str):
        self._path = os.path.join(state_dir, _FILE)
        self._offset = self._load()

    def now(self) -> float:
        """Seconds since 1970-01-01T00:00:00Z."""
        return time.time() + self._offset

    def set(self, seconds: float) -> None:
        """Keep the offset to the host's clock; PartError where it cannot be stored."""
        offset = seconds - time.time()
        try:
            with open(self._path + ".new", "w") as file:
                file.write(repr(offset))
                fsync_file(file)
            os.replace(self._path + ".new", self._path)
        except OSError as exc:
            raise PartError(f"the clock's offset cannot be stored: {exc}") from exc
        self._offset = offset

    async def probe(self) -> str:
        """How far it is from the host's clock."""
        return f"{self._offset:+.3f} s from the host's clock"

    def _load(self) -> float:
        try:
            with open(self._path) as file:
                offset = float(file.read(64))
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError) as exc:
            log(f"{self._path}: cannot be used, the clock is the host's: {exc}")
            return 0.0
        if not abs(offset) <= _FARTHEST:
            log(f"{self._path}: cannot be used, the clock is the host's: {offset}")
            return 0.0
        return offset
