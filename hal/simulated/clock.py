"""A clock that keeps its own distance from the host's and leaves the host's alone."""

import os
import time

from hal.contracts import Clock
from hal.fields import Object
from hal.runtime import fsync_file

_FILE = "clock-offset"


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
        """Keep the offset to the host's clock."""
        self._offset = seconds - time.time()
        with open(self._path + ".new", "w") as file:
            file.write(repr(self._offset))
            fsync_file(file)
        os.replace(self._path + ".new", self._path)

    async def probe(self) -> str:
        """How far it is from the host's clock."""
        return f"{self._offset:+.3f} s from the host's clock"

    def _load(self) -> float:
        try:
            with open(self._path) as file:
                return float(file.read())
        except (OSError, ValueError):
            return 0.0
