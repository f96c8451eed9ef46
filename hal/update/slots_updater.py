"""Updates of a firmware that lives in one of two slots (hal/update/slots.py): what all boards do alike that have them.

What starts a slot chooses it and checks it at every start (hal/update/choice.py).
"""

import asyncio

from firmware import VERSION
from hal.contracts import PartError, UpdateRefused
from hal.fields import Field, Integer, Text
from hal.runtime import make_folder, offload
from hal.runtime.annotations import Callable, Iterator
from hal.update.bundle import Bundle, check_stream, open_bundle
from hal.update.keys import KeyedUpdater, read_keyring
from hal.update.room import not_stored
from hal.update.signed import Moment
from hal.update.slots import SYSTEM, Slots
from hal.update.version import version_key

OPTIONS = (  # that all of them have
    Field("healthySec", Integer(1, 3600), 60, help="seconds that a new firmware must be healthy to stay"),
    Field("trialSec", Integer(1, 3600), 300, help="seconds until a new firmware that is not healthy is given up"),
    Field("compatible", Text(64, 1), help="name of the board that a bundle must be for"),
)


def slots_folder(options: dict, state_dir: str) -> str:
    """The folder of both slots."""
    folder: str = options["slots"] or state_dir + "/slots"
    return folder


class SlotsUpdater(KeyedUpdater):
    """Base of the updaters with two slots, which have OPTIONS, `slots` and `keys` among their options."""

    firmware_alone = True

    def __init__(self, options: dict, state_dir: str):
        super().__init__(options["keys"])
        self._options = options
        self._slots = Slots(slots_folder(options, state_dir))
        self._slot = SYSTEM
        self.healthy_sec = options["healthySec"]
        self.trial_sec = options["trialSec"]

    # What differs from system to system

    def _architecture(self) -> str:
        """What a bundle's modules must have been built for."""
        raise NotImplementedError

    def _running_slot(self) -> str:
        """The slot that this process was started from, SYSTEM where it is the system's own firmware."""
        raise NotImplementedError

    def _system_version(self) -> str:
        """Version of the system's own firmware, below which none is ever taken."""
        raise NotImplementedError

    def room(self) -> int:
        """Bytes that a bundle may have, beside what unpacking it takes."""
        raise NotImplementedError

    # What does not

    async def start(self) -> None:
        """Find out which slot runs. PartError where the slots' folder cannot be made."""
        try:
            await offload(make_folder, self._slots.folder)
        except OSError as exc:
            raise PartError(f"no updates: {exc}") from exc
        self._slot = self._running_slot()
        self.is_up.set()

    async def probe(self) -> str:
        """Which slot runs."""
        await self.start()
        await offload(self.check_keys)
        return f"slot {self._slot or 'system'} runs, keys in {self._options['keys']}"

    def device(self) -> dict:
        """What a bundle must be for."""
        return {"compatible": self._options["compatible"], "architecture": self._architecture()}

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

    async def inspect(self, path: str, moment: Moment, allow_older: bool) -> dict:
        """Check a bundle, every byte of it. UpdateRefused."""
        bundle = await offload(self._checked, path, moment, allow_older)
        return {"version": bundle.header["version"], "size": bundle.header["size"]}

    async def install(self, path: str, moment: Moment, allow_older: bool, progress: Callable[[int], None]) -> None:
        """Unpack a bundle into the spare slot and have it start next, on trial. UpdateRefused; PartError."""
        self.check_not_on_trial()
        steps = self._installing(path, moment, allow_older)
        told = -1
        while (percent := await offload(next, steps, None)) is not None:
            if percent != told:
                progress(percent)
            told = percent
            await asyncio.sleep(0)  # where there are no threads, the bus and the watchdog are waiting

    def _installing(self, path: str, moment: Moment, allow_older: bool) -> Iterator[int]:
        bundle = self._checked(path, moment, allow_older)
        slot = self._slots.spare(self._slot)
        try:
            yield from self._slots.filling(slot, bundle)
        except OSError as exc:
            self._slots.clear(slot)
            raise not_stored("the update", exc) from exc
        self._slots.begin_trial(slot)

    def _checked(self, path: str, moment: Moment, allow_older: bool) -> Bundle:
        """A bundle that this device may install, every byte of it checked. UpdateRefused."""
        bundle = open_bundle(path, read_keyring(self._keys_path), moment)
        self._check_header(bundle.header, allow_older)
        room = self.room() + self._slots.size(self._slots.spare(self._slot))
        if bundle.unpacked_size > room:
            raise UpdateRefused("UPDATE_TOO_LARGE", f"unpacked it takes {bundle.unpacked_size} of {room} bytes")
        check_stream(bundle)
        return bundle

    def _check_header(self, header: dict, allow_older: bool) -> None:
        if self._options["compatible"] not in header["compatible"]:
            raise UpdateRefused("UPDATE_WRONG_BOARD", f"it is for {', '.join(header['compatible'])[:80]}")
        here = self._architecture()
        if header["architecture"] != here:
            raise UpdateRefused("UPDATE_WRONG_ARCH", f"it is for {header['architecture']}, this is {here}")
        if version_key(VERSION) < version_key(header["minVersion"]):
            raise UpdateRefused("UPDATE_NEEDS_STEP", f"it wants {header['minVersion']} to be installed before")
        least = self._system_version() if allow_older else VERSION
        if version_key(header["version"]) < version_key(least):
            raise UpdateRefused("UPDATE_TOO_OLD", f"{header['version']} is older than {least}")

    async def confirm(self) -> None:
        """What runs is healthy and starts from now on."""
        await offload(self._slots.confirm)

    async def give_up(self, why: str) -> None:
        """What runs on trial is not healthy: at the next start the one before it comes back."""
        await offload(self._slots.give_up, VERSION, why)
