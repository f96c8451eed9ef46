"""Threads for what blocks: a bounded number, and none that the process waits for when it ends.

A file system that hangs, as one does whose medium fails, holds a thread in the kernel for as long as it likes. It must
hold nothing else.
"""

import asyncio
import queue
import threading

from hal.runtime.annotations import Any, Callable, T, Ts, Unpack

IDLE_SEC = 5.0  # after which a thread without work ends


class Threads:
    """Calls functions in at most `limit` threads of its own, beginning them in the order of the calls."""

    def __init__(self, limit: int):
        self._limit = limit
        self._lock = threading.Lock()
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._count = 0  # of threads
        self._pending = 0  # calls that wait or are being made

    async def call(self, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        """The result of a function that blocks. It is not begun any more when its caller is gone before its turn.

        A file that it opens for a caller who is gone meanwhile is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._calls.put((loop, future, function, args))
        with self._lock:
            self._pending += 1
            if self._pending > self._count and self._count < self._limit:
                self._count += 1
                threading.Thread(target=self._work, daemon=True).start()
        try:
            return await future
        except asyncio.CancelledError:
            if not future.cancelled() and future.exception() is None:  # it came in the turn in which the caller went
                _let_go(future.result())
            raise

    def _work(self) -> None:
        while True:
            try:
                loop, future, function, args = self._calls.get(timeout=IDLE_SEC)
            except queue.Empty:
                with self._lock:
                    if self._pending < self._count:
                        self._count -= 1
                        return
            else:
                if not future.cancelled():
                    _call(loop, future, function, args)
                with self._lock:
                    self._pending -= 1


def _call(loop: asyncio.AbstractEventLoop, future: asyncio.Future, function: Callable[..., Any], args: tuple) -> None:
    result = None
    failure: BaseException | None = None
    try:
        result = function(*args)
    except BaseException as exc:
        failure = exc
    try:
        loop.call_soon_threadsafe(_end, future, result, failure)
    except RuntimeError:
        pass  # the loop has ended meanwhile


def _end(future: asyncio.Future, result: object, failure: BaseException | None) -> None:
    if future.done():  # its caller is gone
        _let_go(result)
    elif failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)


def _let_go(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()
