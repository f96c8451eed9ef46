"""An asyncio event loop with timers as fine as the kernel's, and name lookups that hold nothing else up.

epoll_wait takes whole milliseconds, so asyncio's own selector rounds every wait up to the next one. Between two
Modbus frames at 115200 baud lies a silence of 1.75 ms: rounding it to 2.2 ms or 3 ms costs a tenth of the wire.
select() takes microseconds, and an epoll descriptor can itself be waited for with select().
"""

import asyncio
import ctypes
import select
import selectors
import traceback

from hal.runtime.cpython.resolver import Resolver
from hal.runtime.logs import log

_PR_SET_TIMERSLACK = 29  # prctl(2); in nanoseconds


_LAST_PART = 0.002  # seconds: longer than epoll's rounding


class FineEpollSelector(selectors.EpollSelector):
    """Epoll for many descriptors, with select's resolution for the wait."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As EpollSelector.select, the timeout kept to the microsecond.

        A long wait ends early, as a selector's may: the event loop then waits for the rest.
        """
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if timeout > _LAST_PART:
            return super().select(timeout - _LAST_PART)
        select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class DeviceEventLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on the fine selector, with a resolver of its own."""

    def __init__(self) -> None:
        super().__init__(FineEpollSelector())
        self._resolver = Resolver(self)

    async def getaddrinfo(
        self, host: object, port: object, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list:
        """As socket.getaddrinfo; everything in asyncio that takes a name asks this."""
        return await self._resolver.look_up(host, port, family, type, proto, flags)

    def default_exception_handler(self, context: dict) -> None:
        """What nobody has caught goes to the log like everything else, and floods it as little.

        Without descriptors left, asyncio tells so for every connection that waits to be accepted, every second.
        """
        exc = context.get("exception")
        if exc is None or isinstance(exc, OSError):
            log(context["message"] if exc is None else f"{context['message']}: {exc}")
        else:
            log(context["message"] + "\n" + "".join(traceback.format_exception(exc)).rstrip())


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A new event loop on the fine selector.

    The kernel lets a wait end up to 50 us late so that it can wake up less often; this process has it end in time.
    """
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1)
    return DeviceEventLoop()
