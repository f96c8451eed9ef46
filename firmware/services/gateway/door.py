"""A port on which the gateway listens."""

import asyncio

from firmware.services.gateway.datagrams import ModbusDatagrams
from firmware.services.problems import Problems
from hal.runtime.annotations import Awaitable, Callable
from hal.service import Pauses, Service


class Door(Service):
    """Listens on a port; one that is taken is tried again, and is a problem until it is free.

    `name` is what is served there, `place` the address and port; `listen()` returns what `close()` ends, or raises
    OSError.
    """

    def __init__(
        self,
        name: str,
        place: str,
        listen: Callable[[], Awaitable[asyncio.Server | ModbusDatagrams]],
        problems: Problems,
    ):
        self._name = name
        self._place = place
        self._listen = listen
        self._problems = problems
        self.listener: asyncio.Server | ModbusDatagrams | None = None  # what `listen` gave, None while there is nothing

    async def open(self) -> None:
        """Listen now, or as soon as it can be."""
        if not await self._try():
            self.spawn(self._try_again())

    async def stop(self) -> None:
        """Listen no more."""
        await super().stop()
        if self.listener is not None:
            self.listener.close()
            self.listener = None

    async def _try(self) -> bool:
        try:
            self.listener = await self._listen()
        except OSError as exc:
            self._problems.report(self._name, f"{self._name} cannot listen on {self._place}: {exc}")
            return False
        self._problems.withdraw(self._name)
        return True

    async def _try_again(self) -> None:
        pauses = Pauses()
        while True:
            await asyncio.sleep(pauses.next())
            if await self._try():
                return
