"""The Modbus TCP gateway: listens, lets in whom the settings allow, serves each client with a ModbusSession."""

import asyncio

from firmware.services.gateway.router import ModbusRouter
from firmware.services.gateway.session import ModbusSession
from hal.ip_addresses import contains, parse_address, parse_network
from hal.runtime import abort_stream, log_exception, monotonic, peer_address

_IDLE_CHECK_SEC = 1.0


class ModbusGateway:
    """Modbus TCP clients. `settings` is the active value of modbusTcp."""

    def __init__(self, router: ModbusRouter, settings: dict, clock=monotonic):
        self._router = router
        self._settings = settings
        self._allowed = [parse_network(network) for network in settings["allow"]]
        self._clock = clock
        self._sessions: dict = {}  # ModbusSession -> its task
        self._listener: asyncio.AbstractServer | None = None
        self._watchdog: asyncio.Task | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen; returns the port, a free one where 0 was asked for."""
        self._listener = await asyncio.start_server(self._accept, host, port, backlog=16)
        self._watchdog = asyncio.create_task(self._close_idle())
        sockets = getattr(self._listener, "sockets", None)
        return sockets[0].getsockname()[1] if sockets else port

    async def stop(self) -> None:
        """Stop listening and close every client."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None
        for task in list(self._sessions.values()):
            task.cancel()

    def is_alive(self) -> bool:
        """False where it has ended by itself, by an unexpected error."""
        return self._watchdog is None or not self._watchdog.done()

    def client_count(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

    async def _accept(self, reader, writer) -> None:
        if len(self._sessions) >= self._settings["maxClients"] or not self._admits(peer_address(writer)):
            abort_stream(writer)
            return
        session = ModbusSession(reader, writer, self._router, clock=self._clock)
        self._sessions[session] = asyncio.current_task()
        try:
            await session.serve()
        except asyncio.CancelledError:
            pass  # closed as idle or because the gateway stops: the stream is closed already
        except Exception as exc:
            log_exception(exc)
        finally:
            del self._sessions[session]

    def _admits(self, address: str) -> bool:
        try:
            parsed = parse_address(address.split("%")[0])
        except ValueError:
            return False
        return any(contains(network, parsed) for network in self._allowed)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SEC)
            oldest = self._clock() - self._settings["idleSec"]
            for session, task in list(self._sessions.items()):
                if session.used < oldest:
                    task.cancel()
