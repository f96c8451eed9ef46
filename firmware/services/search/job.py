"""What every search on the bus has in common: one runs at a time, it can be stopped, and it says how far it is."""

import asyncio

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import SEARCH, Transaction
from firmware.services.errors import Refused
from hal.rs485.framing import Line
from hal.runtime import log_exception, now_ms
from hal.runtime.annotations import Awaitable, Callable, Ts, Unpack
from hal.service import Service


class LineSearch(Service):
    """Base of the searches. A search walks a plan of `planned` seconds, of which `walked` lie behind."""

    def __init__(self, bus: Bus, clock: Callable[[], int] = now_ms):
        self._bus = bus
        self._clock = clock
        self._status = "IDLE"
        self._started = 0
        self._planned = 0.0
        self._walked = 0.0

    def is_running(self) -> bool:
        """Whether a search is under way."""
        return self._status == "RUNNING"

    async def stop(self) -> None:
        """End the search within one probe."""
        if self.is_running():
            self._status = "STOPPED"
        await super().stop()

    async def end(self) -> None:
        """As `stop`, for who has asked for it; until the last probe has left the line."""
        await self.stop()
        if self._bus is not None:
            await self._bus.let_go(self)

    def _begin(self, walk: Callable[[Unpack[Ts]], Awaitable[None]], *arguments: Unpack[Ts]) -> None:
        """Run the coroutine function `walk` as the search. Refused LISTEN_ONLY."""
        self._bus.refuse_where_it_only_listens()
        self._status = "RUNNING"
        self._planned = self._walked = 0.0
        self._started = self._clock()
        self.spawn(self._run(walk, arguments))

    async def _run(self, walk: Callable[[Unpack[Ts]], Awaitable[None]], arguments: tuple[Unpack[Ts]]) -> None:
        status = "DONE"
        try:
            await walk(*arguments)
        except Refused:
            status = "ERROR"  # the port has vanished
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            status = "ERROR"
            log_exception(exc)
        self._status = status

    async def _ask(self, uid: int, pdu: bytes, line: Line, wait: float) -> Transaction:
        """One exchange in the lowest lane; Refused NO_PORT where the port has vanished."""
        transaction = await self._bus.exchange(uid, pdu, SEARCH, self, line, wait)
        if transaction.error == "PORT_LOST":
            raise Refused("NO_PORT", "the serial port has vanished")
        return transaction

    def progress(self) -> tuple[str, int, int]:
        """(status IDLE, RUNNING, DONE, STOPPED or ERROR, percent, seconds until it ends)."""
        percent = int(100 * self._walked / self._planned) if self._planned else 0
        if self._status != "RUNNING":
            return self._status, 100 if self._status == "DONE" else percent, 0
        left = max(self._planned - self._walked, 0.0) * self._slowness()
        return self._status, min(percent, 99), int(left + 0.999)

    def _slowness(self) -> float:
        """Seconds that a planned second has taken so far: answers shorten probes, other traffic delays them."""
        if self._walked < 1:
            return 1.0
        return (self._clock() - self._started) / 1000 / self._walked
