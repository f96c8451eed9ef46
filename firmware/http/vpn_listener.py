"""The VPN listener: sockets of their own on the VPN's interfaces; arriving there gives a level of its own."""

import asyncio

from firmware.http.server import HttpServer
from hal.contracts import Network
from hal.runtime import log, log_exception, wait_until
from hal.runtime.logs import INFO
from hal.service import Service, Trouble

LOOK_SEC = 30.0  # after these it is looked again even where the kernel has told nothing


class VpnListener(Service):
    """Listens on each of the named interfaces while it is there.

    `level` is the access level of who calls over one of them, `own_level` that of this machine's own processes.
    An interface that was deleted and made anew is another one: a socket bound to the old one hears nothing any more,
    and nothing tells it so.
    """

    def __init__(self, server: HttpServer, network: Network, interfaces: list[str], level: int, own_level: int):
        self._server = server
        self._network = network
        self._interfaces = interfaces
        self._level = level
        self._own_level = own_level
        self._open: dict[str, tuple[int, asyncio.Server]] = {}  # name of the interface -> (its index, the listener)
        self._troubles = {name: Trouble("VPN") for name in interfaces}
        self._changed = asyncio.Event()

    async def start(self) -> None:
        """Listen on the server's port from now on, wherever there is an interface to listen on."""
        if not self._interfaces:
            return
        self._network.on_change = self._changed.set
        await self._look()
        self.keep_running(self._follow())

    async def stop(self) -> None:
        """Listen no more."""
        await super().stop()
        for name in list(self._open):
            self._close(name)

    async def _follow(self) -> None:
        while True:
            if await wait_until(self._changed, LOOK_SEC):
                self._changed.clear()
            try:
                await self._look()
            except Exception as exc:
                log_exception(exc)

    async def _look(self) -> None:
        for name in self._interfaces:
            index = self._network.interface_index(name)
            if name in self._open and self._open[name][0] != index:
                self._close(name)
            if name not in self._open and index is not None:
                await self._listen(name, index)

    async def _listen(self, name: str, index: int) -> None:
        try:
            sock = self._network.listen_on(name, self._server.port, self._server.sockets())
        except OSError as exc:
            self._troubles[name].tell(f"cannot listen on {name}: {exc}")
            return
        self._open[name] = (
            index,
            await self._server.listen_on(sock, lambda address: self._level_of(name, index, address)),
        )
        self._troubles[name].end()
        log(f"VPN: listening on {name}", INFO)

    def _close(self, name: str) -> None:
        self._server.close_listener(self._open.pop(name)[1])
        log(f"VPN: listening on {name} no more", INFO)

    def _level_of(self, name: str, index: int, address: str) -> int:
        """The level of who calls from an address, judged when he comes: the interface may have become another one.

        The kernel also takes connections of this machine to itself.
        """
        if self._network.interface_index(name) != index or not self._network.is_tunnel(name):
            return self._own_level
        return self._own_level if self._network.is_own_address(address) else self._level
