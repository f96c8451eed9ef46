"""What a board starts first: chooses the firmware, checks every byte of it, and has its modules found before others.

It belongs to the firmware that the board was flashed with, which starts where no slot does.
"""

import gc
import os
import sys

from firmware import VERSION
from hal.contracts import UpdateRefused
from hal.fields import BadField
from hal.json_text import json_loads
from hal.micropython.update.slots import DRIVER, IMAGE, MOUNTED, OPTIONS, architecture
from hal.runtime import log, make_folder
from hal.runtime.annotations import Any, Callable
from hal.update.choice import Chosen, choose
from hal.update.keys import read_keyring
from hal.update.signed import Keyring
from hal.update.slots import SYSTEM, Slots
from hal.update.slots_updater import slots_folder

_OURS = ("hal", "firmware", "microdot")  # packages that every firmware brings along


def prepare(board_path: str, state_dir: str, memory: Callable[[int], Any] = bytearray) -> None:
    """Have the modules of the firmware that is to start be imported from now on; what choosing took is forgotten.

    `memory(size)` gives room for a firmware of so many bytes.
    """
    options = read_options(board_path)
    if options is not None:
        _prepare(options, state_dir, memory)
    forget_modules()


def _prepare(options: dict, state_dir: str, memory: Callable[[int], Any]) -> None:
    slots = Slots(slots_folder(options, state_dir))
    try:
        make_folder(state_dir)
        keyring = read_keyring(options["keys"])
        _note_version(slots)
        chosen = _mounted(slots, keyring, memory)
    except (OSError, UpdateRefused) as exc:
        log(f"update: the firmware starts that the board was flashed with: {exc}")
        return
    if chosen.trial and options["startWatchdogMs"] is not None:
        import machine

        machine.WDT(timeout=options["startWatchdogMs"])
    if chosen.slot != SYSTEM:
        sys.path.insert(0, MOUNTED + chosen.slot)


def read_options(path: str) -> dict | None:
    """The options of the driver for slots in a board config, None where the board has another or none."""
    try:
        with open(path) as file:
            part = json_loads(file.read())["updater"]  # type: ignore[index]
        if part["driver"] != DRIVER:
            return None
        return OPTIONS.check({name: value for name, value in part.items() if name != "driver"}, "updater")
    except (OSError, ValueError, TypeError, KeyError, BadField):
        return None  # the firmware says what is wrong with its board config


def _note_version(slots: Slots) -> None:
    """Leave word of this firmware's version, below which no slot starts and nothing is installed."""
    if slots.state()["systemVersion"] != VERSION:
        slots.change(systemVersion=VERSION)


def _mounted(slots: Slots, keyring: Keyring, memory: Callable[[int], Any]) -> Chosen:
    """What is to start, its modules mounted. OSError where nothing can be noted."""
    while True:
        chosen = choose(slots, keyring, architecture(), VERSION)
        if chosen.slot == SYSTEM:
            return chosen
        try:
            mount(slots.path(chosen.slot) + "/" + IMAGE, MOUNTED + chosen.slot, memory)
            return chosen
        except (OSError, ValueError, MemoryError) as exc:
            if chosen.trial:
                slots.give_up("", f"it cannot be mounted: {exc}")
            else:
                slots.leave_current(f"it cannot be mounted: {exc}")


def mount(path: str, folder: str, memory: Callable[[int], Any]) -> None:
    """Read a ROMFS into memory and mount it. OSError; ValueError where it is none; MemoryError."""
    import vfs

    gc.collect()
    image = memory(os.stat(path)[6])
    with open(path, "rb") as file:
        file.readinto(image)
    vfs.mount(vfs.VfsRom(image), folder)


def forget_modules() -> None:
    """Let all modules go that another firmware has too, this one among them.

    They are emptied: an old address on the stack would have the collector keep one with all that it refers to.
    """
    modules, ours, collect = sys.modules, _OURS, gc.collect
    for name in list(modules):
        if name.split(".")[0] in ours:
            modules.pop(name).__dict__.clear()
    collect()
