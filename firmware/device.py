"""The composition root: builds every service from a board, starts them and stops them."""

import asyncio

from firmware.api.call import Services
from firmware.api.endpoints.bus.search import class_result, find_result
from firmware.api.errors import error_answer
from firmware.api.guard import ADMINISTRATOR, GUEST, Guard
from firmware.api.routes import add_console, add_routes
from firmware.http.front_door import FrontDoor
from firmware.http.limits import HttpLimits
from firmware.http.server import HttpServer
from firmware.services import shapes
from firmware.services.access.authority import Authority
from firmware.services.access.button import ButtonAccess
from firmware.services.access.login import Login
from firmware.services.access.sessions import Sessions
from firmware.services.access.tickets import Tickets
from firmware.services.bus.absent import NoBus
from firmware.services.card.absent import NoCardFiles
from firmware.services.events.feed import EventFeed
from firmware.services.gateway.callback import CloudConnections
from firmware.services.gateway.listener import ModbusGateway
from firmware.services.problems import Problems
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.routing.requests import ModbusRequests
from firmware.services.routing.router import ModbusRouter
from firmware.services.search.absent import NoDiscovery, NoTemplateSearch
from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore
from firmware.services.settings.files import SettingsFiles
from firmware.services.settings.unmanaged import unmanaged_settings
from firmware.services.settings.values import with_factory_login
from firmware.services.system.absent import NoGsm, NoNetworking
from firmware.services.system.auto_restart import AutoRestart
from firmware.services.system.health import Health
from firmware.services.system.identity import Identity
from firmware.services.system.state import State
from firmware.services.system.vitals import SystemState
from firmware.services.system.watchdog import Watchdog
from firmware.services.time.absent import NoClock
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.recording import Recording
from firmware.services.transfers import Transfers
from firmware.services.update.absent import CloudActivation, NoUpdates
from hal.board import Board
from hal.contracts import NotPermitted
from hal.rs485.framing import Line
from hal.runtime import MICROPYTHON, in_time, log, log_exception, now_ms
from hal.runtime.annotations import Any, Callable, Coroutine
from hal.runtime.logs import ERROR
from hal.runtime.memory import MEMORY
from hal.service import Service
from hal.trace import TRACE

SETTINGS_FILE = "settings.json"
CONSOLE = "/".join(__file__.split("/")[:-1] + ["web", "site"])
FOLLOWERS = 2 if MICROPYTHON else 24  # event streams at once
STOP_SEC = 20  # for one service to stop
OF_UPDATES = ("UPDATE", "ROLLED_BACK")  # reasons of a restart into another firmware


class CannotServe(OSError):
    """HTTP cannot be served, without which the device cannot be reached."""


class Device(Services):
    """Everything that runs on a board. `state_dir` is the folder for what must survive a restart.

    `ended` is set when the device restarts; `restart_reason` then says why. BadField where the board's factory settings
    are none.
    """

    def __init__(self, board: Board, state_dir: str):
        self.board = board
        self.ended = asyncio.Event()
        self.restart_reason: str | None = None
        self._started = now_ms()
        MEMORY.restart = lambda: self.request_restart("NO_MEMORY")
        self._services: list[
            tuple[Service, Callable[[], Coroutine[Any, Any, None]]]
        ] = []  # (service, how it is started), in the order in which they start
        self._modbus_port: int | None = None
        self._run(board)
        self.problems = Problems()
        factory = with_factory_login(board.settings, board.system.factory_login())
        self.settings = Settings(
            DocumentStore(state_dir, SETTINGS_FILE), factory, unmanaged_settings(board.parts, board.network)
        )
        self.settings.report_to(self.problems)
        TRACE.topics = self.settings.active["logFlags"]
        self.settings.followers.append(_select_traces)
        self._run(self.settings)
        self.identity = Identity(board.system)
        self.transfers = Transfers()
        settings = self.settings.active
        self._build_access(settings)
        self._build_card_and_clock(settings)
        self._build_network(settings)
        self.trace = BusTrace(board.system.trace_bytes(), self.clock.utc)
        self.recording = Recording(self.trace, self.card_files, self.identity.version()["device"])
        self._run(self.recording)
        self._build_bus(settings["serial"], settings["units"])
        self._build_gateway(settings)
        self.settings.checks.append(self.networking.check)
        self._build_modem(state_dir, settings["gsm"])
        self.auto_restart = AutoRestart(settings["areset"], self._last_transfer, self._restart_by_itself)
        self._run(self.auto_restart)
        self._build_updates(state_dir, settings)
        self._build_state()
        self._build_events()
        self._build_server(settings["httpd"])
        self.watchdog = Watchdog(board.system, self.health)

    async def start(
        self, http: tuple[str, int], modbus_tcp: tuple[str, int] | None, http_is_fixed: bool = True
    ) -> tuple[int, int | None]:
        """Start every part and service; return the ports of HTTP and of Modbus TCP, None where that is not served.

        Where HTTP's port is not to be had another one is taken, unless it is fixed: CannotServe then. NotPermitted
        where a part lacks a privilege that it cannot be without.
        """
        self._http = (http[0], http[1], http_is_fixed)
        self._modbus_tcp = modbus_tcp
        for service, start in self._services:
            await self._start(type(service).__name__, start)
        await self.watchdog.start()
        return self.server.port, self._modbus_port

    async def stop(self) -> None:
        """Finish the answers in progress and the writes in flight, then stop every service and part, the last first.

        The watchdog is fed to the end, which is bounded.
        """
        for service, _ in reversed(self._services):
            try:
                await in_time(service.stop(), STOP_SEC)
            except Exception as exc:  # costs no other one its stop
                log(f"{type(service).__name__} could not be stopped", ERROR)
                log_exception(exc)
        await self.watchdog.stop()

    async def _start(self, name: str, start: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """What one service does not expect costs no other one."""
        try:
            await start()
        except (NotPermitted, CannotServe):
            raise
        except Exception as exc:
            log_exception(exc)
            self.problems.report("start of " + name, f"{name} could not be started: {exc}")

    async def _serve_http(self) -> None:
        try:
            await self.front_door.open(*self._http)
        except OSError as exc:
            raise CannotServe(f"HTTP cannot listen on {self._http[0]}:{self._http[1]}: {exc}") from exc

    async def _serve_modbus_tcp(self) -> None:
        if self._modbus_tcp is not None:
            self._modbus_port = await self.gateway.listen(*self._modbus_tcp)

    async def _announce(self) -> None:
        if not self._http[0].startswith(("127.", "localhost", "::1")):  # those who are told could not call
            self.announcer.announce(self.server.port, self._modbus_port)

    def request_restart(self, reason: str) -> None:
        """Have the device stop and the board restart it."""
        self.restart_reason = reason
        self.ended.set()

    def restart(self) -> None:
        """Have the board restart as it was requested; the firmware alone, where an update has replaced no more."""
        updater, reason = self.board.updater, self.restart_reason or ""
        if reason in OF_UPDATES and updater is not None and updater.firmware_alone:
            self.board.system.restart_firmware(reason)
        else:
            self.board.system.restart(reason)

    # Composition

    def _run(self, service: Service, start: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Have a service started in its turn, by `start()` where that needs more than itself; stopped in the reverse
        order, and watched."""
        self._services.append((service, start or service.start))

    def _build_access(self, settings: shapes.Area) -> None:
        protect = settings["protect"]
        self.sessions = Sessions(settings["httpd"]["sessionTtlSec"])
        self.tickets = Tickets()
        self.login = Login(protect["username"], protect["password"], self.sessions)
        self.authority = Authority(self.settings, self.sessions)
        self.button = ButtonAccess(protect["buttonMinutes"])
        if self.board.button is not None:
            self.board.button.on_press = self.button.press

    def _build_card_and_clock(self, settings: shapes.Area) -> None:
        if self.board.clock is None:
            self.clock: NoClock = NoClock(settings)
        else:
            from firmware.services.time.clock import ClockService

            self.clock = ClockService(self.board.clock, settings)
        if self.board.card is None:
            self.card_files: NoCardFiles = NoCardFiles()
        else:
            from firmware.services.card.files import CardFiles

            self.card_files = CardFiles(self.board.card, self.clock.local_iso, transfers=self.transfers)
        self._run(self.card_files)
        self._run(self.clock)
        self.settings_files = SettingsFiles(self.settings, self.card_files)

    def _build_network(self, settings: shapes.Area) -> None:
        if self.board.network is None:
            self.networking: NoNetworking = NoNetworking()
        else:
            from firmware.services.network.interfaces import Networking

            self.networking = Networking(self.board.network, settings, self.problems)
        self._run(self.networking)

    def _build_modem(self, state_dir: str, settings: shapes.Gsm) -> None:
        if self.board.modem is None:
            self.gsm: NoGsm = NoGsm()
        elif not settings["enabled"]:
            self.gsm = NoGsm("switched off: setting gsm.enabled")
        else:
            from firmware.services.network.gsm import Gsm
            from firmware.services.network.sms_limits import SmsBudget

            self.gsm = Gsm(self.board.modem, settings, SmsBudget(state_dir, settings["smsPerDay"], self.clock.utc))

    def _build_bus(self, serial: shapes.Serial, units: list[shapes.UnitsItem]) -> None:
        if self.board.rs485 is None:
            self.bus: NoBus = NoBus()
            self.discovery: NoDiscovery = NoDiscovery()
            self.template_search: NoTemplateSearch = NoTemplateSearch()
        else:
            from firmware.services.bus.arbiter import Bus
            from firmware.services.search.classes import TemplateSearch
            from firmware.services.search.devices import Discovery

            bus = Bus(self.board.rs485, serial, units=units)
            bus.on_exchange = self.trace.exchange
            if serial["listenOnly"]:
                from firmware.services.trace.listening import Listening

                self._run(Listening(self.board.rs485, Line.of(dict(serial)), self.trace))
            self.bus = bus
            self.discovery = Discovery(bus, serial)
            self.template_search = TemplateSearch(bus, self.card_files.read_whole, serial)
        self._run(self.bus)
        self._run(self.discovery)
        self._run(self.template_search)

    def _build_gateway(self, settings: shapes.Area) -> None:
        modbus_tcp = settings["modbusTcp"]
        self.forwarding = Forwarding(settings["forwarding"])
        self._run(self.forwarding)
        self.registers = OwnRegisters(
            self.identity.full(), modbus_tcp["maxClients"], self._uptime_minutes, self._client_count, self._is_called
        )
        router = ModbusRouter(self.bus, self.registers, self.forwarding, modbus_tcp, self.transfers)
        router.on_forwarded = self.trace.forwarded
        self.modbus_requests = ModbusRequests(router)
        self._run(self.modbus_requests)
        tunnel = settings["wgManual"]["allowedIps"] if settings["wgManual"]["enabled"] else []
        self.gateway = ModbusGateway(router, modbus_tcp, self.problems, tunnel=tunnel)
        self._run(self.gateway, self._serve_modbus_tcp)
        self.cloud = CloudConnections(router, self.registers, settings)
        self._run(self.cloud)

    def _build_updates(self, state_dir: str, settings: shapes.Area) -> None:
        self.health = Health(self._ended_services, self._http_address, self.bus.is_open, self.settings.lost)
        if self.board.updater is None:
            self.updates = NoUpdates()
            self.activation = CloudActivation(self.registers, self.cloud)
            self.trial = self.update_server = Service()
        else:
            from firmware.services.update.build import build_updates

            made = build_updates(
                state_dir,
                settings,
                self.board.updater,
                self.board.clock,
                self.identity.full(),
                self.registers,
                self.cloud,
                self.clock,
                self.card_files,
                self.health,
                self.is_on_gsm,
                self.request_restart,
            )
            self.updates, self.activation, self.trial, self.update_server = made
        self._run(self.activation)
        self._run(self.updates)
        self._run(self.update_server)

    def _build_state(self) -> None:
        system_state = SystemState(self.board.system, self.problems, self._started, lambda: self.server.errors)
        self.state = State(
            {
                "ethernet": self.networking.ethernet,
                "gsm": self.gsm.state,
                "vpn": self.networking.vpn,
                "mbTcpCallback": self.cloud.state,
                "activation": self.activation.state,
                "fwUpdate": self.updates.state,
                "card": self.card_files.status,
                "time": self.clock.state,
                "bus": self.bus.state,
                "devices": self._devices,
                "recording": self.recording.state,
                "http": lambda: self.server.state(),
                "access": self._access,
                "system": system_state.get,
            }
        )

    def _build_events(self) -> None:
        searches = {
            "search": lambda: find_result(self.discovery, True),
            "classSearch": lambda: class_result(self.template_search),
        }
        self.events = EventFeed(self.state, self.trace, searches)
        self._run(self.events)

    def _build_server(self, httpd: shapes.Httpd) -> None:
        limits = HttpLimits(
            httpd["maxHeadBytes"],
            httpd["maxBodyBytes"],
            httpd["maxConnections"],
            httpd["headTimeoutSec"],
            httpd["bodyTimeoutSec"],
            httpd["keepAliveSec"],
            FOLLOWERS,
        )
        self.server = HttpServer(limits, error_answer, self.clock.utc)
        self._run(self.server, self._serve_http)
        self.front_door = FrontDoor(self.server, GUEST, self.problems.report, self.problems.withdraw)
        self._run(self.front_door)
        guard = Guard(self.sessions, self.button, self._own_names(), httpd["metricsAllow"], self.tickets)
        add_routes(self.server, self, guard)
        add_console(self.server, CONSOLE)
        interfaces = self.networking.vpn_interfaces
        if self.board.network is not None and interfaces:
            from firmware.http.vpn_listener import VpnListener

            self._run(VpnListener(self.server, self.board.network, interfaces, ADMINISTRATOR, GUEST))
        if httpd["mdns"] and self.board.network is not None:
            from firmware.services.network.announcing import Announcer

            hostname = self.settings.active["ethernet"]["hostname"]
            self.announcer = Announcer(self.board.network, self.identity, hostname)
            self._run(self.announcer, self._announce)
        self._run(self.trial)  # judges whether all the others work

    # What services ask of each other

    def is_on_gsm(self) -> bool:
        """Whether bytes from outside come over GSM, as far as can be told: there is no cable."""
        ethernet = self.networking.ethernet()
        return self.settings.active["gsm"]["enabled"] and (ethernet is None or not ethernet["linkUp"])

    def _ended_services(self) -> list[str]:
        return [type(service).__name__ for service, _ in self._services if not service.is_alive()]

    def _http_address(self) -> tuple[str, int]:
        return self._http[0], self.server.port

    def _last_transfer(self) -> int | None:
        return self.transfers.last

    def _restart_by_itself(self) -> None:
        self.request_restart("AUTO_RESTART")

    def _uptime_minutes(self) -> int:
        return (now_ms() - self._started) // 60000

    def _client_count(self) -> int:
        return self.gateway.client_count()

    def _is_called(self) -> bool:
        return self.cloud.cloud.is_connected()

    def _devices(self) -> dict | None:
        return self.bus.devices(self.clock.utc_iso_ago)

    def _own_names(self) -> list[str]:
        """By which browsers may call: those of the settings, and what a LAN makes of the device's own name."""
        name = self.settings.active["ethernet"]["hostname"]
        return self.settings.active["httpd"]["hosts"] + [name, name + ".local"]

    def _access(self) -> dict:
        return dict(self.login.failures(), buttonSecLeft=self.button.seconds_left(), sessions=self.sessions.count())


def _select_traces(before: dict, after: dict, author: object) -> None:
    """What is logged is for whoever looks for a fault now: it does not wait for a restart."""
    TRACE.topics = after["logFlags"]
