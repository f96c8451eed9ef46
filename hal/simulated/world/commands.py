"""The commands that the simulated world takes. docs/simulator.md describes them."""

import json
import time
from collections.abc import Callable

from hal.fields import BadField, Boolean, Choice, Field, Integer, Nullable, Object, Text
from hal.runtime import log_exception
from hal.simulated.world.devices import Devices
from hal.simulated.world.faults import KINDS, Fault
from hal.simulated.world.port import Port

_MINUTE_MS = 60_000


def _is_hex(text: str) -> bool:
    try:
        bytes.fromhex(text)
    except ValueError:
        return False
    return True


_LINE = Field("line", Choice("rs485", "rs485-tool"), "rs485")
_PARITY = Choice("N", "E", "O", "M", "S")

_COMMANDS = {
    "line": Object(_LINE, Field("parity", _PARITY, "N"), Field("dataBits", Choice(7, 8), 8)),
    "devices": Object(
        Field("baudRate", Integer(75, 1_000_000)), Field("parity", _PARITY, "N"), Field("stopBits", Choice(1, 2), 1)
    ),
    "stats": Object(_LINE, Field("reset", Boolean(), False)),
    "unplug": Object(_LINE),
    "plug": Object(_LINE),
    "fault": Object(
        _LINE,
        Field("kind", Choice(*KINDS)),
        Field("uid", Nullable(Integer(1, 255)), None),
        Field("count", Integer(1, 1_000_000), 1),
        Field("delayMs", Integer(0, _MINUTE_MS), 1000),
        Field("gapMs", Integer(0, _MINUTE_MS), 50),
        Field("ms", Integer(1, _MINUTE_MS), 1000),
        Field("hex", Text(1024, form=(_is_hex, "hexadecimal digits", {})), ""),
    ),
    "clear": Object(_LINE),
    "silence": Object(_LINE, Field("needed", Boolean())),
    "lump": Object(_LINE, Field("bytes", Integer(0, 256))),
}


class Commands:
    """Carries the commands out on the ports and the devices."""

    def __init__(self, ports: dict[str, Port], devices: Devices):
        self._ports = ports
        self._devices = devices
        self._actions: dict[str, Callable[[dict], dict]] = {
            "line": self._line,
            "devices": self._jumper,
            "stats": self._stats,
            "unplug": self._unplug,
            "plug": self._plug,
            "fault": self._fault,
            "clear": self._clear,
            "silence": self._silence,
            "lump": self._lump,
        }

    def answer(self, text: bytes) -> bytes:
        """The answer, a line of JSON, to a command, a line of JSON: {"error": "..."} where it cannot be done."""
        return json.dumps(self._answer(text)).encode() + b"\n"

    def _answer(self, text: bytes) -> dict:
        try:
            return self._carry_out(text)
        except BadField as exc:
            return {"error": str(exc)}
        except Exception as exc:
            log_exception(exc)
            return {"error": f"{type(exc).__name__}: {exc}"}

    def _carry_out(self, text: bytes) -> dict:
        try:
            command = json.loads(text)
        except (ValueError, RecursionError):
            raise BadField("not a line of JSON") from None
        if not isinstance(command, dict):
            raise BadField("not an object")
        name = command.pop("cmd", None)
        if not isinstance(name, str) or name not in _COMMANDS:
            raise BadField("cmd: must be one of " + ", ".join(_COMMANDS))
        return self._actions[name](_COMMANDS[name].check(command))

    def _line(self, command: dict) -> dict:
        self._ports[command["line"]].line.character_format(command["parity"], command["dataBits"])
        return {}

    def _jumper(self, command: dict) -> dict:
        self._devices.jumper(command["baudRate"], command["parity"], command["stopBits"])
        return {}

    def _stats(self, command: dict) -> dict:
        return self._ports[command["line"]].line.stats(command["reset"])

    def _unplug(self, command: dict) -> dict:
        port = self._ports[command["line"]]
        port.line.drop()
        port.unplug()
        return {}

    def _plug(self, command: dict) -> dict:
        return {"path": self._ports[command["line"]].plug()}

    def _fault(self, command: dict) -> dict:
        kind = command["kind"]
        milliseconds = {
            "late": command["delayMs"],
            "split": command["gapMs"],
            "double": command["gapMs"],
            "babble": command["ms"],
        }.get(kind, 0)
        fault = Fault(kind, command["uid"], command["count"], milliseconds / 1000, bytes.fromhex(command["hex"]))
        try:
            self._ports[command["line"]].line.add_fault(fault, time.monotonic())
        except ValueError as exc:
            raise BadField(str(exc)) from None
        return {}

    def _clear(self, command: dict) -> dict:
        self._ports[command["line"]].line.clear()
        return {}

    def _silence(self, command: dict) -> dict:
        self._ports[command["line"]].line.silence_needed = command["needed"]
        return {}

    def _lump(self, command: dict) -> dict:
        self._ports[command["line"]].line.lump = command["bytes"]
        return {}
