"""An asyncio event loop with timers as fine as the kernel's, and name lookups that hold nothing else up.

epoll_wait takes whole milliseconds, so asyncio's own selector rounds every wait up to the next one. Between two
Modbus frames at 115200 baud lies a silence of 1.75 ms: rounding it to 2.2 ms or 3 ms costs a tenth of the wire.
select() takes microseconds, and an epoll descriptor can itself be waited for with select().
"""

import asyncio
import ctypes
import os
import select
import selectors
import time
import traceback

from hal.runtime.annotations import Any
from hal.runtime.cpython.resolver import Resolver
from hal.runtime.logs import log

_PR_SET_TIMERSLACK = 29  # prctl(2); in nanoseconds

_ROUNDING = 0.002  # seconds: longer than epoll's
_SHORT = 0.01  # seconds: a longer wait is made in two parts; one turn of the loop more is nothing to it
_TURN_LIMIT = 64  # descriptors that are served in one turn
_SHORT_TURN = 2  # and while somebody must not wait long for the next one

_READ, _WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_NOT_IN, _NOT_OUT = ~select.EPOLLIN, ~select.EPOLLOUT


class FineEpollSelector(selectors.EpollSelector):
    """Epoll for many descriptors, with select's resolution for the wait; one of them can be muted for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._epoll = select.epoll.fromfd(os.dup(self.fileno()))  # the one that EpollSelector keeps to itself
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._muted = -1
        self._muted_until = 0.0
        self._turn_limit = _TURN_LIMIT

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As EpollSelector.register."""
        key = super().register(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """As EpollSelector.modify."""
        key = super().modify(fileobj, events, data)
        self._keys[key.fd] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """As EpollSelector.unregister."""
        key = super().unregister(fileobj)
        del self._keys[key.fd]
        if key.fd == self._muted:
            self._muted = -1
        return key

    def close(self) -> None:
        """As EpollSelector.close."""
        self._epoll.close()
        super().close()

    def mute(self, descriptor: int, seconds: float) -> None:
        """Have nobody woken for so long by what comes to a descriptor that is only read.

        Each byte wakes whoever waits for a tty, in the kernel, which then finds that VMIN is not reached.
        """
        if self._muted < 0:
            self._epoll.modify(descriptor, 0)
            self._muted = descriptor
            self._muted_until = time.monotonic() + seconds

    def shorten_turns(self, short: bool) -> None:
        """Give out few of those that are ready at once, or as many as usual; the others are first the next time."""
        self._turn_limit = _SHORT_TURN if short else _TURN_LIMIT

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As EpollSelector.select, the timeout kept to the microsecond.

        A long wait ends early, as a selector's may: the event loop then waits for the rest.
        """
        if self._muted < 0:
            return self._wait(timeout)
        left = max(0.0, self._muted_until - time.monotonic())
        if timeout is not None and timeout < left:
            return self._wait(timeout)
        ready = self._wait(left)
        if ready or left > _SHORT:
            return ready
        self._epoll.modify(self._muted, select.EPOLLIN)
        self._muted = -1
        return self._wait(None if timeout is None else timeout - left)

    def _wait(self, timeout: float | None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready by then, perhaps earlier."""
        if timeout is None:
            events = self._epoll.poll(None, self._turn_limit)
        elif timeout > _SHORT:
            events = self._epoll.poll(timeout - _ROUNDING, self._turn_limit)
        elif timeout <= 0 or select.select([self._epoll], [], [], timeout)[0]:
            events = self._epoll.poll(0, self._turn_limit)
        else:
            return []
        keys = self._keys
        return [(keys[descriptor], _asked(keys[descriptor].events, event)) for descriptor, event in events]


def _asked(events: int, happened: int) -> int:
    """What of that which was asked for has happened; errors and hang-ups are both."""
    return ((happened & _NOT_OUT and _READ) | (happened & _NOT_IN and _WRITE)) & events


class DeviceEventLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on the fine selector, with a resolver of its own."""

    def __init__(self) -> None:
        self._fine = FineEpollSelector()
        super().__init__(self._fine)
        self._resolver = Resolver(self)

    async def getaddrinfo(
        self, host: object, port: object, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list:
        """As socket.getaddrinfo; everything in asyncio that takes a name asks this."""
        return await self._resolver.look_up(host, port, family, type, proto, flags)

    def mute(self, descriptor: int, seconds: float) -> None:
        """As FineEpollSelector.mute."""
        self._fine.mute(descriptor, seconds)

    def shorten_turns(self, short: bool) -> None:
        """As FineEpollSelector.shorten_turns."""
        self._fine.shorten_turns(short)

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
