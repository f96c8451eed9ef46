"""What runs in the background: one life cycle, one ladder of growing pauses, one way to say what is wrong."""

import asyncio

from hal.runtime import log, run_task
from hal.runtime.annotations import Any, Coroutine
from hal.runtime.logs import INFO

RETRY_PAUSES = (1, 2, 5, 10, 30, 60)  # seconds between tries; the last one repeats


class Service:
    """Base of whatever runs from `start` to `stop`: the device's services, and the parts of a board.

    `start` of a subclass calls `keep_running` for what has to go on until it is stopped, any method calls `spawn` for
    what ends by itself. A subclass with more to let go calls `await super().stop()` first: then nothing of it runs any
    more.
    """

    _lasting: tuple = ()
    _passing: tuple = ()

    async def start(self) -> None:
        """Begin to run."""

    async def stop(self) -> None:
        """Cancel all that runs, and wait until it has ended. Safe to call twice, and by what is itself running here."""
        tasks = self._lasting + self._passing
        self._lasting = self._passing = ()
        running = [task for task in tasks if not task.done() and task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.gather(*running, return_exceptions=True)

    def is_alive(self) -> bool:
        """False where something that had to go on until it is stopped has ended by itself."""
        return not any(task.done() for task in self._lasting)

    def keep_running(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task:
        """Run a coroutine that has to go on until `stop`. An exception that it lets out is logged; where it ends for
        want of memory, the device starts anew."""
        task = run_task(coroutine, type(self).__name__)
        self._lasting += (task,)
        return task

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task:
        """Run a coroutine until it ends, at the latest until `stop`. An exception that it lets out is logged."""
        task = run_task(coroutine)
        self._passing = tuple(other for other in self._passing if not other.done()) + (task,)
        return task


class Pauses:
    """Growing pauses between tries, in seconds; the last one repeats."""

    def __init__(self, seconds: tuple | None = None):
        self._seconds = RETRY_PAUSES if seconds is None else seconds
        self._tries = 0

    def next(self) -> float:
        """How long to wait before the next try."""
        pause = self._seconds[min(self._tries, len(self._seconds) - 1)]
        self._tries += 1
        return pause

    def reset(self) -> None:
        """It works: the next trouble begins with the first pause."""
        self._tries = 0


class Trouble:
    """What is wrong with one thing. It is logged once for each reason, not at every try."""

    def __init__(self, about: str):
        self._about = about
        self.reason: str | None = None

    def tell(self, reason: str) -> bool:
        """It does not work, for this reason; True where that is new."""
        is_new = reason != self.reason
        if is_new:
            log(f"{self._about}: {reason}")
        self.reason = reason
        return is_new

    def end(self, word: str = "") -> None:
        """It works; `word`, where there is one, is logged if it did not before."""
        if word and self.reason is not None:
            log(f"{self._about}: {word}", INFO)
        self.reason = None
