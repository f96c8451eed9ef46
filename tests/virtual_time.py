"""An event loop whose time jumps to the next timer, so that hours of a line pass in a second and always alike."""

import asyncio
import selectors


class StandsStill(Exception):
    """Every task waits for something that will never come."""


class _Selector(selectors.DefaultSelector):
    def __init__(self):
        super().__init__()
        self.now = 1000.0

    def select(self, timeout=None):
        events = super().select(0)
        if not events:
            if timeout is None:
                raise StandsStill
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        self._virtual = _Selector()
        super().__init__(self._virtual)
        self._clock_resolution = 1e-9

    def time(self):
        return self._virtual.now


def milliseconds(clock):
    """A clock of whole milliseconds, as the firmware wants one, out of one in seconds."""
    return lambda: int(clock() * 1000)


def run(main):
    """What a coroutine function that takes the clock, a function that gives seconds, returns."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main(runner.get_loop().time))
