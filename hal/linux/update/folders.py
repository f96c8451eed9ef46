"""Updates of a firmware that lives in one of two folders (hal/update/slots.py), on systems that are not ours to
replace.
"""

import os
import platform
import shutil
import sys

from firmware import VERSION
from hal.fields import Field, Integer, Object, Text
from hal.update.slots import NAMES, SYSTEM
from hal.update.slots_updater import OPTIONS as SLOTS_OPTIONS
from hal.update.slots_updater import SlotsUpdater

OPTIONS = Object(
    Field("slots", Text(255), "", help="folder of both slots; empty: slots in the state directory"),
    Field("keys", Text(255, 1), help="file of the keys that are trusted; the service must not be able to write it"),
    Field("readySec", Integer(1, 600), 60, help="seconds that a start may take, where no systemd watches"),
    *SLOTS_OPTIONS,
)

SYSTEM_VERSION = "MC252_SYSTEM_VERSION"  # variable: version of the firmware that was installed with the system

_ROOM_KEPT = 8 << 20  # bytes that stay free beside an update


def architecture() -> str:
    """What a bundle's modules must have been built for: system, processor, Python."""
    machine = platform.machine()
    if sys.maxsize < 1 << 32:  # 32-bit programs on a 64-bit kernel, as Raspberry Pi OS has them
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return f"{sys.platform}-{machine}-cp{sys.version_info[0]}{sys.version_info[1]}"


class FoldersUpdater(SlotsUpdater):
    """Two folders of which one starts, chosen and checked at every start by hal/linux/update/supervisor.py."""

    OPTIONS = OPTIONS

    def _architecture(self) -> str:
        return architecture()

    def _running_slot(self) -> str:
        here = os.path.realpath(__file__)
        for slot in NAMES:
            if here.startswith(os.path.realpath(self._slots.path(slot)) + os.sep):
                return slot
        return SYSTEM

    def _system_version(self) -> str:
        return os.environ.get(SYSTEM_VERSION, VERSION)

    def room(self) -> int:
        """Bytes that a bundle may have, beside what unpacking it takes."""
        return max(0, shutil.disk_usage(self._slots.folder).free - _ROOM_KEPT)
