"""Memory that has run out, on boards that have little: wherever that is noticed, it is told here."""

import gc

from hal.runtime.annotations import Callable
from hal.runtime.logs import ERROR, log

SHORTAGES_IN_A_ROW = 50  # with nothing done in between, after which only a new start can help


class Memory:
    """Counts shortages. `restart()`, where set, has the device start anew: what must go on could not."""

    def __init__(self) -> None:
        self.shortages = 0
        self._in_a_row = 0
        self.restart: Callable[[], None] | None = None

    def ran_out(self, what: str) -> None:
        """There was not enough memory for something: collect what nobody needs, log and count it."""
        self.shortages += 1
        gc.collect()
        log("out of memory: " + what, ERROR)
        self._in_a_row += 1
        if self._in_a_row >= SHORTAGES_IN_A_ROW and self.restart is not None:
            self.restart()

    def sufficed(self) -> None:
        """There was enough for a request."""
        self._in_a_row = 0

    def ended(self, what: str) -> None:
        """Something that had to go on has ended for want of memory."""
        self.ran_out(what)
        if self.restart is not None:
            self.restart()


MEMORY = Memory()
