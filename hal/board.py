"""Reads a board config: which backend drives each part of the board, and with which options.

A board config is a JSON object with the board's name in "board" and one member for each part of PARTS: null where the
board lacks it, or {"driver": name, ...options of that driver}. "settings" may hold factory defaults of settings where
the board's differ from the firmware's.
"""

from hal.fields import BadField
from hal.runtime import json_loads, real_path

PARTS = ("system", "network", "rs485", "card", "clock", "modem", "button")

DRIVERS = {  # (part, driver) -> (module, class)
    ("system", "simulated"): ("hal.simulated.system", "SimulatedSystem"),
    ("system", "linux"): ("hal.linux.system", "LinuxSystem"),
    ("system", "micropython"): ("hal.micropython.system", "MicroPythonSystem"),
    ("rs485", "simulated"): ("hal.simulated.rs485", "SimulatedPort"),
    ("rs485", "tty"): ("hal.linux.rs485", "TtyPort"),
    ("network", "linux"): ("hal.linux.network", "LinuxNetwork"),
    ("card", "linux"): ("hal.linux.card", "LinuxCard"),
    ("card", "simulated"): ("hal.simulated.card", "SimulatedCard"),
    ("clock", "linux"): ("hal.linux.clock", "LinuxClock"),
    ("clock", "simulated"): ("hal.simulated.clock", "SimulatedClock"),
    ("modem", "simulated"): ("hal.simulated.modem", "SimulatedModem"),
    ("button", "gpio"): ("hal.linux.button", "GpioButton"),
    ("button", "simulated"): ("hal.simulated.button", "SimulatedButton"),
}


class BadBoard(Exception):
    """A board config cannot be used; the text names the file, the field and the reason."""


class Board:
    """The parts of a board, each a backend or None, its name and its factory defaults of settings."""

    def __init__(self, name: str, parts: dict, settings: dict):
        self.name = name
        self.settings = settings
        self.parts = parts
        self.system = parts["system"]
        self.network = parts["network"]
        self.rs485 = parts["rs485"]
        self.card = parts["card"]
        self.clock = parts["clock"]
        self.modem = parts["modem"]
        self.button = parts["button"]

    async def start(self) -> None:
        """Bring every part up."""
        await self.system.attach(self)
        for name in PARTS:
            if self.parts[name] is not None:
                await self.parts[name].start()

    async def stop(self) -> None:
        """Let every part's hardware go, the last one first."""
        for name in reversed(PARTS):
            if self.parts[name] is not None:
                await self.parts[name].stop()

    def factory_settings(self) -> dict:
        """Factory defaults of settings, key -> partial value, the login of the factory among them."""
        login = self.system.factory_login()
        if login is None:
            return self.settings
        return dict(self.settings, protect={"username": login[0], "password": login[1]})

    def notices(self) -> "list[str]":
        """What somebody at the console should know of the parts."""
        notices = [part.notice() for part in self.parts.values() if part is not None]
        return [notice for notice in notices if notice]


def load_board(path: str, state_dir: str) -> Board:
    """The board that a config file describes. BadBoard names file, field and reason.

    `state_dir` is the folder in which backends may keep what must survive a restart.
    """
    config = _read(path)
    try:
        return _build(config, state_dir)
    except BadField as exc:
        raise BadBoard(f"{path}: {exc}") from exc


def _read(path: str) -> dict:
    try:
        with open(path) as file:
            text = file.read()
    except OSError as exc:
        raise BadBoard(f"{path}: cannot be read: {exc}") from exc
    try:
        config = json_loads(text)
    except ValueError as exc:
        raise BadBoard(f"{path}: is not JSON: {exc}") from exc
    if not isinstance(config, dict):
        raise BadBoard(f"{path}: must be a JSON object")
    return config


def _build(config: dict, state_dir: str) -> Board:
    unknown = [name for name in config if name not in PARTS and name not in ("board", "settings")]
    if unknown:
        raise BadField([f"{name}: is no part of a board" for name in unknown])
    if not isinstance(config.get("board"), str):
        raise BadField("board: must be the board's name")
    if config.get("system") is None:
        raise BadField("system: is missing; no board works without it")
    parts = {}
    for part in PARTS:
        parts[part] = _part(part, config.get(part), state_dir)
    _check_ttys(config)
    settings = config.get("settings") or {}
    if not isinstance(settings, dict):
        raise BadField("settings: must be an object")
    return Board(config["board"], parts, settings)


def _part(part: str, config, state_dir: str):
    if config is None:
        return None
    if not isinstance(config, dict):
        raise BadField(f"{part}: must be null or an object")
    driver = config.get("driver")
    if not isinstance(driver, str) or (part, driver) not in DRIVERS:
        known = ", ".join(sorted(name for of_part, name in DRIVERS if of_part == part))
        raise BadField(f"{part}.driver: must be one of {known}")
    module_name, class_name = DRIVERS[(part, driver)]
    try:
        module = __import__(module_name, None, None, (class_name,))
    except ImportError as exc:
        raise BadField(f"{part}.driver: {driver} does not run here: {exc}") from exc
    backend = getattr(module, class_name)
    options = {name: value for name, value in config.items() if name != "driver"}
    return backend(backend.OPTIONS.check(options, part), state_dir)


def _check_ttys(config: dict) -> None:
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
