"""Reads a board config: which backend drives each part of the board, and with which options.

A board config is a JSON object with the board's name in "board" and one member for each part of PARTS: null where the
board lacks it, or {"driver": name, ...options of that driver}. "settings" may hold factory defaults of settings where
the board's differ from the firmware's.
"""

import asyncio

from hal.contracts import Button, Card, Clock, Modem, Network, NotPermitted, Part, PartError, System, Updater
from hal.fields import BadField
from hal.json_text import json_loads
from hal.runtime import in_time, log, log_exception, wait_until
from hal.runtime.annotations import Any
from hal.runtime.files import real_path
from hal.runtime.logs import ERROR, INFO
from hal.service import Pauses, Service

MYPY = False
if MYPY:  # a board without the port has no memory for its module
    from hal.rs485.port import Rs485Port

PARTS = ("system", "network", "rs485", "card", "clock", "modem", "button", "updater")

START_SEC = 15.0  # for a part to come up
HURRY_SEC = 5.0  # for all parts, before the device goes on without those that are late
STOP_SEC = 6.0

DRIVERS = {  # (part, driver) -> (module, class)
    ("system", "simulated"): ("hal.simulated.system", "SimulatedSystem"),
    ("system", "linux"): ("hal.linux.host.system", "LinuxSystem"),
    ("system", "micropython"): ("hal.micropython.system", "MicroPythonSystem"),
    ("rs485", "simulated"): ("hal.simulated.rs485", "SimulatedPort"),
    ("rs485", "tty"): ("hal.linux.rs485", "TtyPort"),
    ("rs485", "uart"): ("hal.micropython.rs485", "UartPort"),
    ("network", "linux"): ("hal.linux.net.network", "LinuxNetwork"),
    ("network", "board"): ("hal.micropython.network", "BoardNetwork"),
    ("card", "linux"): ("hal.linux.storage.card", "LinuxCard"),
    ("card", "simulated"): ("hal.simulated.card", "SimulatedCard"),
    ("card", "sd"): ("hal.micropython.card", "SdCard"),
    ("clock", "linux"): ("hal.linux.clock", "LinuxClock"),
    ("clock", "rtc"): ("hal.micropython.clock", "RtcClock"),
    ("clock", "simulated"): ("hal.simulated.clock", "SimulatedClock"),
    ("modem", "at"): ("hal.linux.modem", "AtModem"),
    ("modem", "uart"): ("hal.micropython.modem", "UartModem"),
    ("modem", "simulated"): ("hal.simulated.modem.part", "SimulatedModem"),
    ("button", "gpio"): ("hal.linux.button", "GpioButton"),
    ("button", "pin"): ("hal.micropython.button", "PinButton"),
    ("button", "simulated"): ("hal.simulated.button", "SimulatedButton"),
    ("updater", "folders"): ("hal.linux.update.folders", "FoldersUpdater"),
    ("updater", "rauc"): ("hal.linux.update.rauc", "RaucUpdater"),
    ("updater", "slots"): ("hal.micropython.update.slots", "BoardSlotsUpdater"),
}


class BadBoard(Exception):
    """A board config cannot be used; the text names the file, the field and the reason."""


class Board(Service):
    """The parts of a board, each a backend or None, its name and its factory defaults of settings."""

    def __init__(self, name: str, parts: dict, settings: dict):
        self.name = name
        self.settings = settings
        self.parts = parts
        self._is_starting = False
        self._untried = 0  # parts that are being started
        self._all_tried = asyncio.Event()
        self._refusal: NotPermitted | None = None
        self.system: System = parts["system"]
        self.network: Network | None = parts["network"]
        self.rs485: Rs485Port | None = parts["rs485"]
        self.card: Card | None = parts["card"]
        self.clock: Clock | None = parts["clock"]
        self.modem: Modem | None = parts["modem"]
        self.button: Button | None = parts["button"]
        self.updater: Updater | None = parts["updater"]

    async def start(self) -> None:
        """Bring every part up. One that fails, or does not answer, is tried again with growing pauses and costs the
        others nothing; whoever starts the board is kept waiting for HURRY_SEC at most.

        NotPermitted where the process lacks a privilege, for that does not change while it runs.
        """
        await self._start_part("system", self.system)
        others = [name for name in PARTS if name != "system" and self.parts[name] is not None]
        self._untried = len(others)
        self._is_starting = True
        for name in others:
            self.spawn(self._start_beside(name, self.parts[name]))
        if others:
            await wait_until(self._all_tried, HURRY_SEC)
        self._is_starting = False
        if self._refusal is not None:
            raise self._refusal

    async def _start_beside(self, name: str, part: Part) -> None:
        try:
            await self._start_part(name, part)
        except NotPermitted as exc:
            if self._is_starting:
                self._refusal = exc
            else:  # too late to be told at the start
                log(f"{name}: {exc}", ERROR)
        self._untried -= 1
        if self._untried == 0 or self._refusal is not None:
            self._all_tried.set()

    async def _start_part(self, name: str, part: Part) -> None:
        try:
            if not await _bring_up(name, part):
                self.spawn(_keep_trying(name, part))
        except NotPermitted:
            raise
        except Exception as exc:  # what one part does not expect costs no other one
            log(f"{name}: could not be started", ERROR)
            log_exception(exc)

    async def stop(self) -> None:
        """Let every part's hardware go, the system last; one that does not answer is left."""
        await super().stop()
        others = [name for name in PARTS if name != "system" and self.parts[name] is not None]
        await asyncio.gather(*[self._stop_part(name, self.parts[name]) for name in others])
        await self._stop_part("system", self.system)

    async def _stop_part(self, name: str, part: Part) -> None:
        try:
            await in_time(part.stop(), STOP_SEC)
        except asyncio.TimeoutError:
            log(f"{name}: does not stop within {STOP_SEC:g} s", ERROR)
        except Exception as exc:
            log(f"{name}: could not be stopped", ERROR)
            log_exception(exc)

    def is_alive(self) -> bool:
        """False where a part has ended by itself."""
        return super().is_alive() and all(part is None or part.is_alive() for part in self.parts.values())

    def notices(self) -> list[str]:
        """What somebody at the console should know of the parts."""
        notices = [part.notice() for part in self.parts.values() if part is not None]
        return [notice for notice in notices if notice]


async def _bring_up(name: str, part: Part) -> bool:
    try:
        await in_time(part.start(), START_SEC)
    except NotPermitted:
        raise
    except asyncio.TimeoutError:
        log(f"{name}: does not start within {START_SEC:g} s", ERROR)
        return False
    except PartError as exc:
        log(f"{name}: {exc}", ERROR)
        return False
    return True


async def _keep_trying(name: str, part: Part) -> None:
    pauses = Pauses()
    while True:
        await asyncio.sleep(pauses.next())
        try:
            if await _bring_up(name, part):
                log(f"{name}: has come up", INFO)
                return
        except Exception as exc:
            log_exception(exc)
            return


def make_factory_login(state_dir: str) -> tuple[str, str] | None:
    """Make the login that a board with Linux has when it leaves the factory: (user name, password), which is shown
    once; None where it was made before. PartError. Boards with MicroPython have it in their config."""
    from hal.linux.host.factory_login import make_login

    return make_login(state_dir)


def load_board(path: str, state_dir: str) -> Board:
    """The board that a config file describes. BadBoard names file, field and reason.

    `state_dir` is the folder in which backends may keep what must survive a restart.
    """
    config = read_config(path)
    try:
        parts = {part: make_part(config, part, state_dir) for part in PARTS}
        check_ttys(config)
    except BadField as exc:
        raise BadBoard(f"{path}: {exc}") from exc
    return Board(config["board"], parts, config.get("settings") or {})


def read_config(path: str) -> dict:
    """The board config in a file, its parts not looked at yet. BadBoard."""
    try:
        with open(path) as file:
            text = file.read()
    except OSError as exc:
        raise BadBoard(f"{path}: cannot be read: {exc}") from exc
    except ValueError as exc:  # UnicodeError is one
        raise BadBoard(f"{path}: is not UTF-8 text") from exc
    try:
        config = json_loads(text)
    except ValueError as exc:
        raise BadBoard(f"{path}: is not JSON: {exc}") from exc
    if not isinstance(config, dict):
        raise BadBoard(f"{path}: must be a JSON object")
    problems = _problems(config)
    if problems:
        raise BadBoard(f"{path}: " + "; ".join(problems))
    return config


def _problems(config: dict) -> list[str]:
    problems = [f"{name}: is no part of a board" for name in config if name not in PARTS + ("board", "settings")]
    for part in PARTS:
        if config.get(part) is not None and not isinstance(config[part], dict):
            problems.append(f"{part}: must be null or an object")
    if not isinstance(config.get("board"), str):
        problems.append("board: must be the board's name")
    if config.get("system") is None:
        problems.append("system: is missing; no board works without it")
    if config.get("settings") is not None and not isinstance(config["settings"], dict):
        problems.append("settings: must be an object")
    return problems


def make_part(board_config: dict, part: str, state_dir: str) -> Any:
    """The backend of one part, None where the board lacks it. BadField where it cannot be there."""
    config = board_config.get(part)
    if config is None:
        return None
    driver = config.get("driver")
    if not isinstance(driver, str) or (part, driver) not in DRIVERS:
        known = ", ".join(sorted(name for of_part, name in DRIVERS if of_part == part))
        raise BadField(f"{part}.driver: must be one of {known}")
    module_name, class_name = DRIVERS[(part, driver)]
    try:
        backend = getattr(__import__(module_name, None, None, (class_name,)), class_name)
        options = {name: value for name, value in config.items() if name != "driver"}
        return backend(backend.OPTIONS.check(options, part), state_dir)
    except ImportError as exc:
        raise BadField(f"{part}.driver: {driver} does not run here: {exc}") from exc


def check_ttys(config: dict) -> None:
    """BadField where two parts are on one tty, be it by different names of it."""
    users: dict = {}
    for part in PARTS:
        port = (config.get(part) or {}).get("port")
        if not isinstance(port, str):
            continue
        path = real_path(port)
        if path in users:
            raise BadField(f"{part}.port: {port} is the tty of {users[path]} already")
        users[path] = part
