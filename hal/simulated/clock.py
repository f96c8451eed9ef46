"""A clock that keeps its own distance from the host's and leaves the host's alone."""

import os
import time

from hal.contracts import Clock, PartError
from hal.fields import Object
from hal.runtime import log
from hal.small_file import read_whole, write_whole

_FILE = "clock-offset"
_FARTHEST = 200 * 366 * 86400  # seconds; what is farther was not set here


class SimulatedClock(Clock):
    """System clock and RTC in one; the offset to the host's clock survives restarts as a battery would have it."""

    OPTIONS = Object()

    def __init__(self, options: dict, state_dir: str):
        self._path = os.path.join(state_dir, _FILE)
        self._offset = self._load()

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        return int((time.time() + self._offset) * 1000)

    def set(self, moment: int) -> None:
        """Keep the offset to the host's clock; PartError where it cannot be stored."""
        offset = moment / 1000 - time.time()
        try:
            write_whole(self._path, repr(offset))
        except OSError as exc:
            raise PartError(f"the clock's offset cannot be stored: {exc}") from exc
        self._offset = offset

    async def probe(self) -> str:
        """How far it is from the host's clock."""
        return f"{self._offset:+.3f} s from the host's clock"

    def _load(self) -> float:
        try:
            offset = float(read_whole(self._path))
        except FileNotFoundError:
            return 0.0
        except (OSError, ValueError) as exc:
            log(f"{self._path}: cannot be used, the clock is the host's: {exc}")
            return 0.0
        if not abs(offset) <= _FARTHEST:
            log(f"{self._path}: cannot be used, the clock is the host's: {offset}")
            return 0.0
        return offset
