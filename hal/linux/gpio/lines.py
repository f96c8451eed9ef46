"""Single GPIO lines through libgpiod's Python package `gpiod`, which is loaded only on boards that use it.

PyPI and Debian 13 have version 2 of it, Debian 12 has version 1 (python3-libgpiod), with another interface each:
gpiod1.py and gpiod2.py. The one that is there is taken.
"""

import glob
import importlib
import os
from types import ModuleType

from hal.contracts import PartError
from hal.fields import AnyOf, BadField, Boolean, Field, Integer, Nullable, Text
from hal.linux.gpio import gpiod1, gpiod2

LINE_FIELDS = (
    Field("line", AnyOf(Integer(0, 65535), Text(64, 1)), help="name of the GPIO line, or its number on `chip`"),
    Field("chip", Nullable(Text(255, 1)), None, help="path such as /dev/gpiochip0; null: the one that has the name"),
    Field("activeLow", Boolean(), False, help="whether the low level is the active one"),
)

CHIPS = "/dev/gpiochip*"

Pin = gpiod1.Pin | gpiod2.Pin


class PinFailed(PartError):
    """A GPIO line is not there, is taken by somebody else, or fails."""


def check_line(where: str, options: dict) -> None:
    """BadField for a line that cannot be: GPIO chips are soldered on, so they are there from the start."""
    try:
        _gpiod()
    except ImportError as exc:
        raise BadField(f"{where}: needs the Python package gpiod: {exc}") from exc
    if options["chip"] is None and isinstance(options["line"], int):
        raise BadField(f"{where}.chip: is missing; a line given by its number needs it")
    if options["chip"] is not None and not os.path.exists(options["chip"]):
        raise BadField(f"{where}.chip: {options['chip']} is not there")
    if not glob.glob(CHIPS):
        raise BadField(f"{where}: this machine has no GPIO chip")


def output_pin(options: dict) -> Pin:
    """A line that this process drives, inactive at first and when it is given back. PinFailed."""
    return _pin(options, True)


def edge_pin(options: dict) -> Pin:
    """A line whose edges are heard, pulled to its inactive level where the chip can. PinFailed."""
    return _pin(options, False)


def _gpiod() -> ModuleType:
    return importlib.import_module("gpiod")


def _pin(options: dict, output: bool) -> Pin:
    gpiod, line = _gpiod(), options["line"]
    version = gpiod2 if hasattr(gpiod, "request_lines") else gpiod1
    try:
        chip = options["chip"] or next(
            (path for path in sorted(glob.glob(CHIPS)) if version.has(gpiod, path, line)), None
        )
        if chip is not None:
            return version.Pin(gpiod, chip, line, options["activeLow"], output)
    except (OSError, ValueError) as exc:
        raise PinFailed(f"GPIO line {line} cannot be had: {exc}") from exc
    raise PinFailed(f"GPIO line {line} is on no chip")
