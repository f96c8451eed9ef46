"""The composition root: builds every service from a board, starts them and stops them."""

from firmware.api.guard import Guard
from firmware.api.http1 import HttpLimits
from firmware.api.routes import add_routes
from firmware.api.server import HttpServer
from firmware.services.bus import Bus
from firmware.services.button_access import ButtonAccess
from firmware.services.identity import Identity
from firmware.services.login import Login
from firmware.services.modbus_requests import ModbusRequests
from firmware.services.sessions import Sessions
from firmware.services.settings import Settings
from firmware.services.state import State
from firmware.services.storage import DocumentStore
from hal.runtime import monotonic


SETTINGS_FILE = "settings.json"


class Device:
    """Everything that runs on a board. `state_dir` is the folder for what must survive a restart.

    BadField where the board's factory settings are none.
    """

    def __init__(self, board, state_dir: str):
        self.board = board
        self._started = monotonic()
        self.settings = Settings(DocumentStore(state_dir, SETTINGS_FILE), board.factory_settings())
        settings = self.settings.active
        httpd, protect = settings["httpd"], settings["protect"]
        self.identity = Identity(board.system)
        self.sessions = Sessions(httpd["sessionTtlSec"])
        self.login = Login(protect["username"], protect["password"], self.sessions)
        self.button = ButtonAccess(board.button, protect["buttonMinutes"])
        self.bus = Bus(board.rs485, settings["serial"]) if board.rs485 is not None else None
        self.modbus_requests = ModbusRequests(self.bus)
        self.state = State({"bus": self._bus_state, "access": self._access_state, "system": self._system_state})
        self.server = HttpServer(
            HttpLimits(
                httpd["maxHeadBytes"],
                httpd["maxBodyBytes"],
                httpd["maxConnections"],
                httpd["headTimeoutSec"],
                httpd["bodyTimeoutSec"],
                httpd["keepAliveSec"],
            )
        )
        add_routes(self.server, self, Guard(self.sessions, self.button, httpd["hosts"]))

    async def start(self, host: str, port: int) -> int:
        """Start every part and service; return the port that HTTP is served on."""
        await self.board.start()
        if self.bus is not None:
            await self.bus.start()
        return await self.server.start(host, port)

    async def stop(self) -> None:
        """Finish the answers in progress, then stop every service and part."""
        await self.server.stop()
        if self.bus is not None:
            await self.bus.stop()
        await self.board.stop()

    def _bus_state(self) -> "dict | None":
        return None if self.bus is None else self.bus.state()

    def _access_state(self) -> dict:
        left = self.button.seconds_left()
        return {"buttonSecLeft": left, "sessions": self.sessions.count()}

    def _system_state(self) -> dict:
        system = self.board.system
        return {
            "uptimeSec": int(monotonic() - self._started),
            "startReason": system.start_reason(),
            "memFree": system.memory_free(),
            "cpuTempC": system.cpu_temperature(),
            "errors": self.server.errors,
        }
