"""Single GPIO lines through libgpiod (PyPI `gpiod`, version 2), which is loaded only on boards that use it."""

import glob
import importlib
import os
from types import ModuleType

from hal.contracts import PartError
from hal.fields import AnyOf, BadField, Boolean, Field, Integer, Nullable, Text
from hal.runtime.annotations import Any

LINE_FIELDS = (
    Field("line", AnyOf(Integer(0, 65535), Text(64, 1)), help="name of the GPIO line, or its number on `chip`"),
    Field("chip", Nullable(Text(255, 1)), None, help="path such as /dev/gpiochip0; null: the one that has the name"),
    Field("activeLow", Boolean(), False, help="whether the low level is the active one"),
)

CHIPS = "/dev/gpiochip*"
_CONSUMER = "mc252"
_EVENTS_KEPT = 256  # edges that the kernel keeps for us; of more the oldest are lost


class PinFailed(PartError):
    """A GPIO line is not there, is taken by somebody else, or fails."""


def check_line(where: str, options: dict) -> None:
    """BadField for a line that cannot be: GPIO chips are soldered on, so they are there from the start."""
    try:
        gpiod = _gpiod()
    except ImportError as exc:
        raise BadField(f"{where}: needs the Python package gpiod, version 2: {exc}") from exc
    if not hasattr(gpiod, "request_lines"):  # which version 1 lacks; Debian 12's python3-libgpiod is one
        version = getattr(gpiod, "__version__", "1")
        raise BadField(f"{where}: needs the Python package gpiod, version 2, and finds version {version}")
    if options["chip"] is None and isinstance(options["line"], int):
        raise BadField(f"{where}.chip: is missing; a line given by its number needs it")
    if options["chip"] is not None and not os.path.exists(options["chip"]):
        raise BadField(f"{where}.chip: {options['chip']} is not there")
    if not glob.glob(CHIPS):
        raise BadField(f"{where}: this machine has no GPIO chip")


class OutputPin:
    """A line that this process drives, inactive at first. PinFailed where it cannot be had."""

    def __init__(self, options: dict):
        gpiod = _gpiod()
        self._request = _request(options, direction=gpiod.line.Direction.OUTPUT, output_value=gpiod.line.Value.INACTIVE)
        self._line = options["line"]
        self._values = (gpiod.line.Value.INACTIVE, gpiod.line.Value.ACTIVE)

    def drive(self, active: bool) -> None:
        """Set the line. OSError."""
        self._request.set_value(self._line, self._values[active])

    def release(self) -> None:
        """Set the line inactive and give it back. OSError."""
        try:
            self.drive(False)
        finally:
            self._request.release()


class EdgePin:
    """A line whose edges are heard, pulled to its inactive level where the chip can. PinFailed as above."""

    def __init__(self, options: dict):
        gpiod = _gpiod()
        pull = gpiod.line.Bias.PULL_UP if options["activeLow"] else gpiod.line.Bias.PULL_DOWN
        self._request = _request(
            options, direction=gpiod.line.Direction.INPUT, edge_detection=gpiod.line.Edge.BOTH, bias=pull
        )
        self._line = options["line"]
        self._active = gpiod.line.Value.ACTIVE
        self._rising = gpiod.EdgeEvent.Type.RISING_EDGE

    def fileno(self) -> int:
        """Readable when edges have come."""
        return self._request.fd

    def is_active(self) -> bool:
        """The level now. OSError."""
        return self._request.get_value(self._line) == self._active

    def edges(self) -> list[tuple[int, bool]]:
        """(milliseconds of `now_ms`, whether the line became active) of each edge since. OSError."""
        return [
            (event.timestamp_ns // 1000000, event.event_type == self._rising)
            for event in self._request.read_edge_events()
        ]

    def release(self) -> None:
        """Give the line back."""
        self._request.release()


def _gpiod() -> ModuleType:
    return importlib.import_module("gpiod")


def _request(options: dict, **settings: Any) -> Any:
    gpiod = _gpiod()
    line = options["line"]
    try:
        chip = options["chip"] or _chip_of(line)
        config = {line: gpiod.LineSettings(active_low=options["activeLow"], **settings)}
        return gpiod.request_lines(chip, config, consumer=_CONSUMER, event_buffer_size=_EVENTS_KEPT)
    except (OSError, ValueError) as exc:
        raise PinFailed(f"GPIO line {line} cannot be had: {exc}") from exc


def _chip_of(name: str) -> str:
    """Path of the chip that has a line of this name: the chips' own numbers change from kernel to kernel."""
    gpiod = _gpiod()
    for path in sorted(glob.glob(CHIPS)):
        with gpiod.Chip(path) as chip:
            try:
                chip.line_offset_from_id(name)
            except (OSError, ValueError):
                continue
            return path
    raise PinFailed(f"GPIO line {name} is on no chip")
