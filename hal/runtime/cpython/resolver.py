"""Names become addresses in a few threads of their own, with bounds.

A name server that is silent holds a thread for half a minute. The threads that wait for files must not be among those,
and a process that ends waits for none of them.
"""

import asyncio
import socket
import threading

THREADS = 4
NAMES_LIMIT = 64  # names that are looked up or wait for a thread


class Resolver:
    """Looks names up for one event loop; equal questions at one time share an answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._asked: dict[tuple, asyncio.Future[list]] = {}
        self._waiting: list[tuple] = []
        self._busy = 0

    async def look_up(self, *question: object) -> list:
        """The answer of socket.getaddrinfo to these arguments; socket.gaierror as there, or where too many wait."""
        if question not in self._asked:
            if len(self._asked) >= NAMES_LIMIT:
                raise socket.gaierror(socket.EAI_AGAIN, f"{NAMES_LIMIT} names are being looked up already")
            self._asked[question] = self._loop.create_future()
            self._waiting.append(question)
            self._start_threads()
        return await asyncio.shield(self._asked[question])  # others may wait for it when this one is cancelled

    def _start_threads(self) -> None:
        while self._waiting and self._busy < THREADS:
            self._busy += 1
            threading.Thread(target=self._ask, args=(self._waiting.pop(0),), daemon=True).start()

    def _ask(self, question: tuple) -> None:
        """One lookup, in a thread."""
        found: list = []
        failure: Exception | None = None
        try:
            found = socket.getaddrinfo(*question)
        except Exception as exc:
            failure = exc
        try:
            self._loop.call_soon_threadsafe(self._end, question, found, failure)
        except RuntimeError:
            pass  # the loop has ended meanwhile

    def _end(self, question: tuple, found: list, failure: Exception | None) -> None:
        self._busy -= 1
        future = self._asked.pop(question)
        if failure is None:
            future.set_result(found)
        else:
            future.set_exception(failure)
            future.exception()  # nobody may be waiting any more
        self._start_threads()
