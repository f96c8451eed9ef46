"""Updates of a firmware that lives in one of two folders (hal/update/slots.py), on systems that are not ours to
replace.
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable

from firmware import VERSION
from hal.contracts import PartError, UpdateRefused
from hal.fields import Field, Integer, Object, Text
from hal.runtime import make_folder, offload
from hal.update.bundle import Bundle, check_stream, open_bundle
from hal.update.keys import KeyedUpdater, read_keyring
from hal.update.signed import Moment
from hal.update.slots import SYSTEM, Slots
from hal.update.version import version_key

OPTIONS = Object(
    Field("slots", Text(255), "", help="folder of both slots; empty: slots in the state directory"),
    Field("keys", Text(255, 1), help="file of the keys that are trusted; the service must not be able to write it"),
    Field("readySec", Integer(1, 600), 60, help="seconds that a start may take, where no systemd watches"),
    Field("healthySec", Integer(1, 3600), 60, help="seconds that a new firmware must be healthy to stay"),
    Field("trialSec", Integer(1, 3600), 300, help="seconds until a new firmware that is not healthy is given up"),
    Field("compatible", Text(64, 1), help="name of the board that a bundle must be for"),
)

SYSTEM_VERSION = "MC252_SYSTEM_VERSION"  # variable: version of the firmware that was installed with the system

_ROOM_KEPT = 8 << 20  # bytes that stay free beside an update


def architecture() -> str:
    """What a bundle's modules must have been built for: system, processor, Python."""
    machine = platform.machine()
    if sys.maxsize < 1 << 32:  # 32-bit programs on a 64-bit kernel, as Raspberry Pi OS has them
        machine = {"aarch64": "armv7l", "x86_64": "i686"}.get(machine, machine)
    return f"{sys.platform}-{machine}-cp{sys.version_info[0]}{sys.version_info[1]}"


def slots_folder(options: dict, state_dir: str) -> str:
    """The folder of both slots."""
    return options["slots"] or os.path.join(state_dir, "slots")


def running_slot(folder: str) -> str:
    """The slot that this process was started from, SYSTEM where it is the system's own firmware."""
    here = os.path.realpath(__file__)
    for slot in ("a", "b"):
        if here.startswith(os.path.realpath(os.path.join(folder, slot)) + os.sep):
            return slot
    return SYSTEM


class FoldersUpdater(KeyedUpdater):
    """Two folders of which one starts, chosen and checked at every start by hal/linux/update/supervisor.py."""

    OPTIONS = OPTIONS
    firmware_alone = True

    def __init__(self, options: dict, state_dir: str):
        super().__init__(options["keys"])
        self._options = options
        self._slots = Slots(slots_folder(options, state_dir))
        self._slot = SYSTEM
        self.healthy_sec = options["healthySec"]
        self.trial_sec = options["trialSec"]

    async def start(self) -> None:
        """Find out which slot runs. PartError where the slots' folder cannot be made."""
        try:
            await offload(make_folder, self._slots.folder)
        except OSError as exc:
            raise PartError(f"no updates: {exc}") from exc
        self._slot = running_slot(self._slots.folder)

    async def probe(self) -> str:
        """Which slot runs."""
        await self.start()
        await offload(self.check_keys)
        return f"slot {self._slot or 'system'} runs, keys in {self._options['keys']}"

    def device(self) -> dict:
        """What a bundle must be for."""
        return {"compatible": self._options["compatible"], "architecture": architecture()}

    def running(self) -> dict:
        """Version and slot of what runs, and whether it is on trial."""
        state = self._slots.state()
        trial = self._slot != SYSTEM and state["trial"] == self._slot
        return {"version": VERSION, "slot": self._slot or "system", "trial": trial}

    def last(self) -> dict:
        """What became of the last update."""
        state = self._slots.state()
        return {"result": state["result"], "error": state["error"], "rolledBackFrom": state["rolledBackFrom"]}

    def download_path(self) -> str:
        """The file that a download goes to."""
        return self._slots.folder + "/download"

    def room(self) -> int:
        """Bytes that a bundle may have, beside what unpacking it takes."""
        return max(0, shutil.disk_usage(self._slots.folder).free - _ROOM_KEPT)

    async def inspect(self, path: str, moment: Moment, allow_older: bool) -> dict:
        """Check a bundle, every byte of it. UpdateRefused."""
        return await offload(self._inspect, path, moment, allow_older)

    def _inspect(self, path: str, moment: Moment, allow_older: bool) -> dict:
        bundle = self._open(path, moment, allow_older)
        check_stream(bundle)
        return {"version": bundle.header["version"], "size": bundle.header["size"]}

    def _open(self, path: str, moment: Moment, allow_older: bool) -> Bundle:
        bundle = open_bundle(path, read_keyring(self._keys_path), moment)
        header = bundle.header
        if self._options["compatible"] not in header["compatible"]:
            raise UpdateRefused("UPDATE_WRONG_BOARD", f"it is for {', '.join(header['compatible'])[:80]}")
        if header["architecture"] != architecture():
            raise UpdateRefused("UPDATE_WRONG_ARCH", f"it is for {header['architecture']}, this is {architecture()}")
        if version_key(VERSION) < version_key(header["minVersion"]):
            raise UpdateRefused("UPDATE_NEEDS_STEP", f"it wants {header['minVersion']} to be installed before")
        least = os.environ.get(SYSTEM_VERSION, VERSION) if allow_older else VERSION
        if version_key(header["version"]) < version_key(least):
            raise UpdateRefused("UPDATE_TOO_OLD", f"{header['version']} is older than {least}")
        if bundle.unpacked_size > self.room():
            raise UpdateRefused("UPDATE_TOO_LARGE", f"unpacked it takes {bundle.unpacked_size} of {self.room()} bytes")
        return bundle

    async def install(self, path: str, moment: Moment, allow_older: bool, progress: Callable[[int], None]) -> None:
        """Unpack a bundle into the spare slot and have it start next, on trial. UpdateRefused; PartError."""
        self.check_not_on_trial()
        await offload(self._install, path, moment, allow_older, progress)

    def _install(self, path: str, moment: Moment, allow_older: bool, progress: Callable[[int], None]) -> None:
        bundle = self._open(path, moment, allow_older)
        check_stream(bundle)
        slot = self._slots.spare(self._slot)
        try:
            self._slots.fill(slot, bundle, progress)
        except UpdateRefused:
            self._slots.clear(slot)
            raise
        except OSError as exc:
            raise PartError(f"the update cannot be stored: {exc}") from exc
        self._slots.begin_trial(slot)

    async def confirm(self) -> None:
        """What runs is healthy and starts from now on."""
        await offload(self._slots.confirm)

    async def give_up(self, why: str) -> None:
        """What runs on trial is not healthy: at the next start the one before it comes back."""
        await offload(self._slots.give_up, VERSION, why)
