"""The port of HTTP: another one while its own is not to be had, for without HTTP nobody can set the device right."""

import asyncio

from firmware.http.server import HttpServer
from hal.runtime.annotations import Callable
from hal.service import Pauses, Service

OTHER_PORTS = (8080, 0)  # 0: any that is free


class FrontDoor(Service):
    """Has a server listen. `level` is what arriving there gives; `report(key, text)` is told of trouble,
    `withdraw(key)` of its end.

    `missed` is the port that was asked for and could not be had when the device started, None where it could.
    """

    def __init__(
        self, server: HttpServer, level: int, report: Callable[[str, str], None], withdraw: Callable[[str], None]
    ):
        self._server = server
        self._level = level
        self._report = report
        self._withdraw = withdraw
        self.missed: int | None = None

    async def open(self, host: str, port: int, fixed: bool) -> None:
        """Listen on a port. Where that fails OSError if it is `fixed`; else on another one, until it can be had."""
        try:
            await self._server.listen(host, port, self._level)
        except OSError as exc:
            if fixed:
                raise
            await self._open_elsewhere(host)
            self.missed = port
            elsewhere = f"it is served on port {self._server.port}"
            self._report("HTTP", f"HTTP cannot listen on {host}:{port}: {exc}; {elsewhere}")
            self.spawn(self._try_again(host, port))

    async def _open_elsewhere(self, host: str) -> None:
        for port in OTHER_PORTS:
            try:
                await self._server.listen(host, port, self._level)
                return
            except OSError:
                if port == OTHER_PORTS[-1]:
                    raise

    async def _try_again(self, host: str, port: int) -> None:
        pauses = Pauses()
        while True:
            await asyncio.sleep(pauses.next())
            try:
                await self._server.listen(host, port, self._level)
            except OSError:
                continue
            self._withdraw("HTTP")
            return
