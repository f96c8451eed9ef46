"""Setting serial.listenOnly: nothing is sent, and what another master and its units say goes into the trace."""

import asyncio

from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.entry import LISTEN, Entry
from hal.rs485.framing import Line
from hal.rs485.listening import Heard, Listener
from hal.rs485.port import Rs485Port
from hal.runtime import now_us
from hal.runtime.annotations import Callable
from hal.service import Service

_LEAST_SEC = 0.002  # between two looks at the line


class Listening(Service):
    """Hears a port, which somebody else opens, and tells the trace."""

    def __init__(self, port: Rs485Port, line: Line, trace: BusTrace, clock: Callable[[], int] = now_us):
        self._port = port
        self._line = line
        self._trace = trace
        self._clock = clock
        self._listener = Listener(line, self._heard)
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Begin to listen."""
        self._port.on_bytes = self._add
        self.keep_running(self._settle())

    async def stop(self) -> None:
        """Listen no more."""
        self._port.on_bytes = None
        await super().stop()

    def _add(self, data: bytes, now: int) -> None:
        self._listener.add(data, now)
        self._wake.set()

    async def _settle(self) -> None:
        """End what the silence ends."""
        while True:
            self._wake.clear()
            due = self._listener.due()
            if due is None:
                await self._wake.wait()
                continue
            await asyncio.sleep(max(_LEAST_SEC, (due - self._clock()) / 1000000))
            self._listener.settle(self._clock())

    def _heard(self, heard: Heard) -> None:
        line = self._line
        entry = Entry(LISTEN, "line", heard.began, heard.uid, heard.question)
        entry.line = (line.baud_rate, line.char_format, line.frame_mode)
        entry.answer = heard.answer
        entry.cause = heard.error
        entry.line_us = max(0, heard.ended - heard.began)
        if heard.first:
            entry.first_us = max(0, heard.first - heard.asked)
        if heard.noise:
            entry.thrown = (("noise", heard.noise),)
        if heard.error is None and heard.answer and heard.answer[0] & 0x80:
            entry.cause = "EXCEPTION"
        self._trace.add(entry)
