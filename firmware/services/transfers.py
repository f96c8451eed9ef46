"""What counts as a transfer, for all who serve somebody outside.

A transfer is an answer that somebody outside has got: to a Modbus request, whoever sent it (HTTP, Modbus TCP, the
cloud) and whoever answered it (a unit on the line, a remote server, the device itself), or to a request for a block of
a file on the card. Searches, requests that nobody answered, and what is only looked at (state, settings) are none.
"""

from hal.runtime import now_ms
from hal.runtime.annotations import Callable


class Transfers:
    """Notes when the last transfer was."""

    def __init__(self, clock: Callable[[], int] = now_ms) -> None:
        self._clock = clock
        self.last: int | None = None  # millisecond of hal.runtime.now_ms

    def mark(self) -> None:
        """One has just been."""
        self.last = self._clock()
