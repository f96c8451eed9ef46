"""Updates of a board's firmware: a slot holds it as one ROMFS, which what starts it reads into memory and mounts."""

import os
import sys

from firmware import VERSION
from hal.fields import Field, Integer, Nullable, Object, Text
from hal.update.slots import NAMES, SYSTEM
from hal.update.slots_updater import OPTIONS as SLOTS_OPTIONS
from hal.update.slots_updater import SlotsUpdater

DRIVER = "slots"
IMAGE = "firmware.romfs"  # the one file of a bundle for boards
MOUNTED = "/slot-"  # and the slot's name: where its modules are imported from

OPTIONS = Object(
    Field("slots", Text(255), "", help="folder of both slots; empty: slots in the state folder"),
    Field("keys", Text(255, 1), "/update-keys.json", help="file of the keys that are trusted"),
    Field(
        "startWatchdogMs",
        Nullable(Integer(1000, 600000)),
        None,
        unit="ms",
        help="a new firmware that takes longer until it feeds the watchdog itself costs a start; null: nobody watches",
    ),
    *SLOTS_OPTIONS,
)

_ROOM_KEPT = 65536  # bytes that stay free beside an update, for settings


def architecture() -> str:
    """What a bundle's modules must have been built for: bytecode of a version, for any processor."""
    return f"micropython-mpy{sys.implementation._mpy & 0xFF}"


class BoardSlotsUpdater(SlotsUpdater):
    """Two slots in the board's file system, chosen and checked at every start by hal/micropython/update/supervisor.py.

    Whoever takes the firmware over has all of the flash memory, what chooses and checks included.
    """

    OPTIONS = OPTIONS

    def _architecture(self) -> str:
        return architecture()

    def _running_slot(self) -> str:
        for slot in NAMES:
            if __file__.startswith(MOUNTED + slot + "/"):
                return slot
        return SYSTEM

    def _system_version(self) -> str:
        version: str = self._slots.state()["systemVersion"]
        return version or VERSION

    def room(self) -> int:
        """Bytes that a bundle may have, beside what unpacking it takes."""
        status = os.statvfs(self._slots.folder)
        return max(0, status[0] * status[4] - _ROOM_KEPT)
