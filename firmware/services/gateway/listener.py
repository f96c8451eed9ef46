"""The Modbus TCP gateway: listens, lets in whom the settings allow, serves each client with a ModbusSession.

Beside Modbus TCP it serves, where the settings ask for it, Modbus RTU over TCP and Modbus over UDP.
"""

import asyncio

from firmware.services import shapes
from firmware.services.gateway.datagrams import ModbusDatagrams
from firmware.services.gateway.door import Door
from firmware.services.gateway.rtu import RtuFrames
from firmware.services.gateway.session import ModbusSession
from firmware.services.problems import Problems
from firmware.services.routing.mbap import MbapFrames
from firmware.services.routing.router import ModbusRouter
from hal.ip_addresses import lies_in, parse_network, source_of
from hal.runtime import abort_stream, bind_datagrams, listen, log, log_exception, now_ms, peer_address
from hal.runtime.annotations import Awaitable, Callable, Iterable
from hal.service import Service

GRACE_SEC = 5  # who asked within so many seconds gives way only to an address that has fewer connections

_IDLE_CHECK_SEC = 1.0


class ModbusGateway(Service):
    """Modbus clients over IP. `settings` is the active value of modbusTcp, `tunnel` the networks behind the VPN's peer:
    for who comes from there others give way."""

    def __init__(
        self,
        router: ModbusRouter,
        settings: shapes.ModbusTcp,
        problems: Problems | None = None,
        clock: Callable[[], int] = now_ms,
        tunnel: Iterable[str] = (),
    ):
        self._router = router
        self._settings = settings
        self._problems = problems or Problems()
        self._allowed = [parse_network(network) for network in settings["allow"]]
        networks = [parse_network(network) for network in tunnel]
        self._tunnel = [network for network in networks if network[1]]  # one of all addresses tells of nobody
        self._clock = clock
        self._sessions: dict[ModbusSession, asyncio.Task] = {}  # ModbusSession -> its task
        self._origins: dict[
            ModbusSession, tuple[bool, int | str]
        ] = {}  # ModbusSession -> where it comes from, as `_origin` has it
        self._doors: list[Door] = []

    async def listen(self, host: str, port: int) -> int | None:
        """Listen; returns the port of Modbus TCP, a free one where 0 was asked for, None where it is taken: a port that
        is taken is tried again by itself."""
        self.keep_running(self._close_idle())
        first = await self._open("Modbus TCP", host, port, self._listen_tcp)
        if self._settings["rtuPort"]:
            await self._open("Modbus RTU over TCP", host, self._settings["rtuPort"], self._listen_rtu)
        if self._settings["udpPort"]:
            await self._open("Modbus UDP", host, self._settings["udpPort"], self._listen_udp)
        sockets = getattr(first.listener, "sockets", None)
        return sockets[0].getsockname()[1] if sockets else (port if first.listener is not None else None)

    async def stop(self) -> None:
        """Stop listening and close every client."""
        for door in self._doors:
            await door.stop()
        await super().stop()
        tasks = list(self._sessions.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def is_alive(self) -> bool:
        """False where it has ended by itself, by an unexpected error."""
        return super().is_alive() and all(door.is_alive() for door in self._doors)

    def client_count(self) -> int:
        """Clients connected now."""
        return len(self._sessions)

    async def _open(
        self,
        name: str,
        host: str,
        port: int,
        listen_there: Callable[[str, int], Awaitable[asyncio.Server | ModbusDatagrams]],
    ) -> Door:
        door = Door(name, f"{host}:{port}", lambda: listen_there(host, port), self._problems)
        self._doors.append(door)
        await door.open()
        return door

    async def _listen_tcp(self, host: str, port: int) -> asyncio.Server:
        return await listen(lambda reader, writer: self._accept(MbapFrames(), reader, writer), host, port)

    async def _listen_rtu(self, host: str, port: int) -> asyncio.Server:
        return await listen(lambda reader, writer: self._accept(RtuFrames(), reader, writer), host, port)

    async def _listen_udp(self, host: str, port: int) -> ModbusDatagrams:
        datagrams = ModbusDatagrams(await bind_datagrams(host, port), self._router, self._admits)
        self.keep_running(datagrams.serve())
        return datagrams

    async def _accept(
        self, frames: MbapFrames | RtuFrames, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        address = peer_address(writer)
        origin = self._origin(address)
        if not self._admits(address) or not self._has_room(origin):
            why = "no place for" if self._admits(address) else "setting modbusTcp.allow does not let in"
            log(f"Modbus TCP: {why} {address}")
            abort_stream(writer)
            return
        session = ModbusSession(frames, reader, writer, self._router, clock=self._clock, origin="tcp " + address)
        task = asyncio.current_task()
        assert task is not None
        self._sessions[session] = task
        self._origins[session] = origin
        try:
            await session.serve()
        except asyncio.CancelledError:
            pass  # closed as idle or because the gateway stops: the stream is closed already
        except Exception as exc:
            log_exception(exc)
        finally:
            self._forget(session)

    def _admits(self, address: str) -> bool:
        return lies_in(address, self._allowed)

    def _origin(self, address: str) -> tuple[bool, int | str]:
        """Whether it comes over the tunnel, and what counts as its address."""
        return lies_in(address, self._tunnel), source_of(address)

    def _has_room(self, origin: tuple[bool, int | str]) -> bool:
        """Whether one more client from there has a place; where all are taken, somebody else's is given up for it."""
        if len(self._sessions) < self._settings["maxClients"]:
            return True
        session = self._gives_way(origin)
        if session is None:
            return False
        self._sessions[session].cancel()
        self._forget(session)
        return True

    def _gives_way(self, origin: tuple[bool, int | str]) -> ModbusSession | None:
        """The client that gives way to one from there: of those whose address has more connections than that one would
        have, or who have asked nothing for GRACE_SEC, the idlest of the address with most. Anybody else gives way to
        who comes over the tunnel, and those to none but their like."""
        taken: dict[tuple[bool, int | str], int] = {}
        for other in self._origins.values():
            taken[other] = taken.get(other, 0) + 1
        own = taken.get(origin, 0) + 1
        best = None
        rank = (0, 0.0)
        for session, other in self._origins.items():
            idle = session.idle_sec()
            yields = origin[0] > other[0] or taken[other] > own or idle >= GRACE_SEC
            if yields and origin[0] >= other[0] and (taken[other], idle) > rank:
                best = session
                rank = (taken[other], idle)
        return best

    def _forget(self, session: ModbusSession) -> None:
        self._sessions.pop(session, None)
        self._origins.pop(session, None)

    async def _close_idle(self) -> None:
        while True:
            await asyncio.sleep(_IDLE_CHECK_SEC)
            for session, task in list(self._sessions.items()):
                if session.idle_sec() > self._settings["idleSec"]:
                    task.cancel()
