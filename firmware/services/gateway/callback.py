"""Connections that the device dials itself: to the cloud or to a server of the owner, to be asked Modbus TCP over them.

The device behind a modem or a router cannot be called, so it calls: it holds a TCP or TLS connection open, over which
the far end sends requests as a Modbus TCP client does.
"""

import asyncio

from firmware.services import shapes
from firmware.services.gateway.session import ModbusSession
from firmware.services.routing.mbap import MbapFrames
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.routing.router import ModbusRouter
from hal.runtime import (
    CONNECTION_ERRORS,
    abort_stream,
    in_time,
    keep_alive,
    log_exception,
    now_ms,
    open_stream,
    open_tls,
    random_bytes,
    wait_until,
)
from hal.runtime.annotations import Callable
from hal.service import Pauses, Service
from hal.trace import NETWORK, trace

CONNECT_SEC = 10
SHORTEST_PAUSE = 1  # seconds before a redial, whatever the setting says
PAUSE_GROWTH = (1, 2, 4, 8, 16)  # times the setting
STEADY_SEC = 30  # a connection that lasted so long starts the pauses anew
RECONNECT_WAIT_SEC = 5  # how long a caller of `reconnect` waits for the connection


class CloudConnection(Service):
    """One outbound connection. `settings` is the active value of cbCloud, ownSrv or rmSrv; `to_cloud` lets the far end
    write the activation code, `name` is what the trace calls it."""

    def __init__(
        self,
        router: ModbusRouter,
        registers: OwnRegisters,
        settings: shapes.CbCloud,
        to_cloud: bool = True,
        clock: Callable[[], int] = now_ms,
        name: str = "cloud",
    ):
        self._name = name
        self._router = router
        self._registers = registers
        self._settings = settings
        self._to_cloud = to_cloud
        self._clock = clock
        self._session: ModbusSession | None = None
        self._serving: asyncio.Task | None = None
        self._since = clock()
        self._attempts = 0
        self._last_error: str | None = None
        self._redial = asyncio.Event()
        self._connected = asyncio.Event()

    async def start(self) -> None:
        """Begin to dial, where the settings ask for it."""
        if self._settings["enabled"]:
            self.keep_running(self._run())

    def is_enabled(self) -> bool:
        """Whether the settings ask for the connection."""
        return self._settings["enabled"]

    def is_connected(self) -> bool:
        """Whether the connection stands."""
        return self._session is not None

    def state(self) -> dict:
        """The state key `mbTcpCallback`; `sinceSec` counts from when the connection came or went."""
        settings = self._settings
        return {
            "connected": self.is_connected(),
            "server": f"{settings['host']}:{settings['port']}" if settings["enabled"] else None,
            "sinceSec": (self._clock() - self._since) // 1000,
            "attempts": self._attempts,
            "lastError": self._last_error,
        }

    async def reconnect(self) -> str | None:
        """Hang up, dial at once: None when the connection stands, an error's code where it does not in time."""
        self._connected.clear()
        self._redial.set()
        if self._serving is not None:
            self._serving.cancel()
        if await wait_until(self._connected, RECONNECT_WAIT_SEC):
            return None
        return self._last_error or "TIMEOUT"

    async def _run(self) -> None:
        first_pause = max(self._settings["reconnectSec"], SHORTEST_PAUSE)
        pauses = Pauses(tuple(first_pause * growth for growth in PAUSE_GROWTH))
        while True:
            self._redial.clear()
            started = self._clock()
            await self._call()
            if self._clock() - started >= STEADY_SEC * 1000:
                pauses.reset()
            if await wait_until(self._redial, _jittered(pauses.next())):
                pauses.reset()

    async def _call(self) -> None:
        """Dial once and serve until the connection ends."""
        self._attempts += 1
        try:
            reader, writer = await self._dial()
        except asyncio.TimeoutError:
            self._last_error = "TIMEOUT"
            return
        except CONNECTION_ERRORS as exc:
            self._last_error = _reason(exc)
            return
        except Exception as exc:
            self._last_error = "INTERNAL"
            log_exception(exc)
            return
        keep_alive(writer, self._settings["keepAliveSec"])
        self._session = ModbusSession(
            MbapFrames(), reader, writer, self._router, self._to_cloud, self._clock, self._name
        )
        self._since = self._clock()
        self._last_error = None
        self._connected.set()
        trace(NETWORK, f"cloud: connected to {self._settings['host']}:{self._settings['port']}")
        if self._settings["sendId"]:
            self._session.call(self._router.own_uid(), self._registers.call())
        self._serving = self.spawn(self._session.serve())
        try:
            await self._watch(self._session, self._serving)
        finally:
            self._serving.cancel()
            abort_stream(writer)  # a session that was cancelled before it began has not closed it
            self._serving = None
            self._session = None
            self._since = self._clock()
            trace(NETWORK, f"cloud: {self._settings['host']}:{self._settings['port']} no more: {self._last_error}")

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        settings = self._settings
        if settings["tls"]:
            opening = open_tls(settings["host"], settings["port"])
        else:
            opening = open_stream(settings["host"], settings["port"])
        return await in_time(opening, CONNECT_SEC)

    async def _watch(self, session: ModbusSession, serving: asyncio.Task) -> None:
        """Until the session ends, or nothing was asked for idleSec."""
        while not serving.done():
            if session.idle_sec() > self._settings["idleSec"]:
                self._last_error = "IDLE"
                return
            await asyncio.sleep(0.2)
        if not self._redial.is_set():
            self._last_error = session.end_reason


class CloudConnections(Service):
    """All outbound connections: to the cloud (setting cbCloud), and to servers of the owner (ownSrv, rmSrv)."""

    def __init__(self, router: ModbusRouter, registers: OwnRegisters, settings: shapes.Area):
        self.cloud = CloudConnection(router, registers, settings["cbCloud"])
        self._others = {
            name: CloudConnection(router, registers, settings[name], to_cloud=False, name=name)
            for name in ("ownSrv", "rmSrv")
        }

    async def start(self) -> None:
        """Begin to dial those that the settings ask for."""
        for connection in self._all():
            await connection.start()

    async def stop(self) -> None:
        """Hang up."""
        for connection in self._all():
            await connection.stop()

    def is_alive(self) -> bool:
        """False where one of them has ended by itself."""
        return all(connection.is_alive() for connection in self._all())

    def state(self) -> dict:
        """The state key `mbTcpCallback`: the cloud's connection; in `ownSrv` and `rmSrv` the others, null if off."""
        state = self.cloud.state()
        for name, connection in self._others.items():
            state[name] = connection.state() if connection.is_enabled() else None
        return state

    async def reconnect(self) -> str | None:
        """Hang up and dial anew, all that are enabled: None when all stand, else the first error's code."""
        enabled = [connection for connection in self._all() if connection.is_enabled()]
        if not enabled:
            return "DISABLED"
        errors = await asyncio.gather(*[connection.reconnect() for connection in enabled])
        return next((error for error in errors if error is not None), None)

    def _all(self) -> list:
        return [self.cloud] + list(self._others.values())


def _jittered(pause: float) -> float:
    """A pause made up to a quarter longer, so that a server that comes back is not called by all devices at once."""
    return pause * (1 + random_bytes(1)[0] / 1020)


def _reason(exc: BaseException) -> str:
    """A short code for why a connection could not be made."""
    name = type(exc).__name__
    if name == "gaierror":
        return "DNS"
    if name == "ConnectionRefusedError":
        return "REFUSED"
    if "SSL" in name or "Certificate" in name:
        return "TLS"
    return "UNREACHABLE"
