"""Updates of a whole system by RAUC (rauc.io): two root file systems, of which the boot loader starts one.

RAUC checks a bundle's signature (X.509, CMS), writes it into the slot that does not run, and tells the boot loader;
this backend asks it to over D-Bus (interface de.pengutronix.rauc.Installer) and puts its answers into the codes of
ours. The boot loader counts the starts of a new system and falls back by itself; `confirm` marks the running one as
good.

A bundle's `compatible` is BOARD-PROCESSOR, its `version` is ours, perhaps with +min.VERSION behind it: the oldest
firmware that may install it (semver.org, build metadata).
"""

import asyncio
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from typing import Any

from dbus_fast import BusType, DBusError
from dbus_fast.aio import MessageBus

from firmware import VERSION
from hal.contracts import PartError, UpdateRefused
from hal.fields import Boolean, Field, Integer, Object, Text
from hal.json_text import json_loads
from hal.runtime import in_time, json_dumps, make_folder, offload
from hal.small_file import write_whole
from hal.update.keys import KeyedUpdater
from hal.update.signed import Moment
from hal.update.version import is_version, version_key

NAME, PATH, INTERFACE = "de.pengutronix.rauc", "/", "de.pengutronix.rauc.Installer"
ANSWER_SEC = 60  # for all but an installation
INSTALL_SEC = 3600
LOOK_SEC = 0.2

_ROOM_KEPT = 8 << 20
_ERROR = Text(200)
_STATE = Object(
    Field("from", Text(64), "", help="the slot that an update is installed from, until it is known what became of it"),
    Field("installed", Boolean(), True, help="whether RAUC has said that it is"),
    Field("version", Text(32), ""),
    Field("confirmed", Text(64), "", help="the slot that was confirmed last"),
    Field("result", Text(16), ""),
    Field("error", _ERROR, ""),
    Field("rolledBackFrom", Text(32), ""),
)
_COMPLAINTS = (  # what RAUC and OpenSSL say, in lower case -> the code
    ("certificate has expired", "UPDATE_EXPIRED"),
    ("not yet valid", "UPDATE_NOT_YET_VALID"),
    ("certificate revoked", "UPDATE_REVOKED"),
    ("local issuer", "UPDATE_WRONG_KEY"),
    ("self-signed", "UPDATE_WRONG_KEY"),
    ("self signed", "UPDATE_WRONG_KEY"),
    ("signer certificate not found", "UPDATE_WRONG_KEY"),
    ("verify error", "UPDATE_WRONG_KEY"),
    ("exceeds bundle size", "UPDATE_CUT_SHORT"),
    ("invalid bundle format", "UPDATE_BAD_BUNDLE"),
    ("bundle identifier", "UPDATE_BAD_BUNDLE"),
    ("not a squashfs", "UPDATE_BAD_BUNDLE"),
    ("signature", "UPDATE_CHANGED"),
    ("digest", "UPDATE_CHANGED"),
    ("compatible mismatch", "UPDATE_WRONG_BOARD"),
    ("no space left", "UPDATE_TOO_LARGE"),
)


def refusal(complaint: str) -> UpdateRefused:
    """What RAUC says of a bundle, as one of our codes."""
    text = complaint.lower()
    for words, code in _COMPLAINTS:
        if words in text:
            return UpdateRefused(code, complaint[:200])
    return UpdateRefused("UPDATE_BAD_BUNDLE", complaint[:200])


def whole_path(path: str) -> str:
    """The path as another process understands it."""
    return os.path.abspath(path)


class RaucUpdater(KeyedUpdater):
    """RAUC on the system's D-Bus, or on a bus of its own at an address."""

    OPTIONS = Object(
        Field("bus", Text(255), "", help="D-Bus address; empty: the system's bus"),
        Field("config", Text(255, 1), "/etc/rauc/system.conf", help="RAUC's own configuration"),
        Field("downloads", Text(255), "", help="folder for a bundle on its way; empty: updates in the state directory"),
        Field("keys", Text(255, 1), help="file of the keys that indexes and licences are checked with"),
        Field("compatible", Text(64, 1), help="name of the board that a bundle must be for"),
        Field("healthySec", Integer(1, 3600), 60, help="seconds that a new firmware must be healthy to stay"),
        Field("trialSec", Integer(1, 3600), 300, help="seconds until a new firmware that is not healthy is given up"),
    )

    def __init__(self, options: dict, state_dir: str):
        super().__init__(options["keys"])
        self._options = options
        self._folder = options["downloads"] or os.path.join(state_dir, "updates")
        self._state_path = os.path.join(state_dir, "rauc-update.json")
        self._slot = ""
        self._state = _STATE.check({})
        self.healthy_sec = options["healthySec"]
        self.trial_sec = options["trialSec"]

    async def start(self) -> None:
        """Find out which slot runs, and what became of the last update. PartError where RAUC does not answer."""
        self._slot = await self._property("BootSlot")
        await offload(make_folder, self._folder)
        self._state = await offload(self._read_state)
        await self._see_what_came_of_it()
        if not self.running()["trial"]:
            await self._mark("good", "booted")  # the boot loader counts the starts of every system
        elif not self._state["installed"]:
            await self._note(installed=True, error="")  # the power was cut right behind the installation
        self.is_up.set()

    async def _see_what_came_of_it(self) -> None:
        """An update is undone where the slot runs that it was installed from, or not the one that was confirmed."""
        before, confirmed = self._state["from"], self._state["confirmed"]
        if before == self._slot and not self._state["installed"]:
            await self._note(**{"from": ""})  # a power cut during the installation
        elif before == self._slot or (before == "" and confirmed not in ("", self._slot)):
            why = self._state["error"] or "the boot loader fell back: the new system did not come up healthy"
            undone = {"result": "ROLLED_BACK", "error": why, "rolledBackFrom": self._state["version"]}
            await self._note(**{"from": "", "confirmed": self._slot}, **undone)

    async def probe(self) -> str:
        """Which slot runs, and for what RAUC takes bundles."""
        await offload(self.check_keys)
        return f"slot {await self._property('BootSlot')} runs, RAUC takes {await self._property('Compatible')}"

    def device(self) -> dict:
        """What a bundle must be for."""
        return {"compatible": self._options["compatible"], "architecture": platform.machine()}

    def running(self) -> dict:
        """Version and slot of what runs, and whether it is on trial."""
        return {"version": VERSION, "slot": self._slot, "trial": self._state["from"] not in ("", self._slot)}

    def last(self) -> dict:
        """What became of the last update."""
        return {name: self._state[name] for name in ("result", "error", "rolledBackFrom")}

    def download_path(self) -> str:
        """The file that a download goes to."""
        return os.path.join(self._folder, "download.raucb")

    def room(self) -> int:
        """Bytes that a bundle may have; it is written into the other slot, which has its room."""
        return max(0, shutil.disk_usage(self._folder).free - _ROOM_KEPT)

    async def inspect(self, path: str, moment: Moment, allow_older: bool) -> dict:
        """Have RAUC check a bundle's signature, and look at what it is for. UpdateRefused."""
        try:
            compatible, version = await self._call("call_info", whole_path(path))
        except DBusError:
            raise refusal(await offload(self._complaint, path)) from None
        version, _, least = version.partition("+min.")
        self._check_board(compatible)
        if not is_version(version) or not is_version(least or "0.0.0"):
            raise UpdateRefused("UPDATE_BAD_BUNDLE", f"{version[:40]}: is no version major.minor.patch")
        if version_key(VERSION) < version_key(least or "0.0.0"):
            raise UpdateRefused("UPDATE_NEEDS_STEP", f"it wants {least} to be installed before")
        if version_key(version) < version_key(VERSION) and not allow_older:
            raise UpdateRefused("UPDATE_TOO_OLD", f"{version} is older than {VERSION}, which runs")
        return {"version": version, "size": os.stat(path).st_size}

    def _complaint(self, path: str) -> str:
        """What RAUC has against a bundle: its service says only that there is something (RAUC 1.8)."""
        command = ["rauc", f"--conf={self._options['config']}", "info", path]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_SEC)
        except (OSError, subprocess.TimeoutExpired) as exc:
            return f"RAUC cannot say what it has against it: {exc}"
        lines = done.stderr.strip().splitlines()
        return lines[-1] if lines else "RAUC does not take it"

    def _check_board(self, compatible: str) -> None:
        board, _, machine = compatible.rpartition("-")
        if board != self._options["compatible"]:
            raise UpdateRefused("UPDATE_WRONG_BOARD", f"it is for {compatible[:80]}")
        if machine != platform.machine():
            raise UpdateRefused("UPDATE_WRONG_ARCH", f"it is for {machine}, this is {platform.machine()}")

    async def install(self, path: str, moment: Moment, allow_older: bool, progress: Callable[[int], None]) -> None:
        """Have RAUC write a bundle into the other slot and start it next. UpdateRefused; PartError."""
        self.check_not_on_trial()
        found = await self.inspect(path, moment, allow_older)
        # First, for the new system may be started as soon as RAUC has written it.
        await self._note(**{"from": self._slot}, version=found["version"], installed=False)
        async with Rauc(self._options["bus"]) as rauc:
            try:
                await rauc.installer.call_install_bundle(whole_path(path), {})
                await in_time(self._follow(rauc, progress), INSTALL_SEC)
            except DBusError as exc:
                raise refusal(exc.text) from None
        await self._note(installed=True, result="", error="", rolledBackFrom="")

    async def _follow(self, rauc: "Rauc", progress: Callable[[int], None]) -> None:
        """Wait for the end of an installation. UpdateRefused with what RAUC says where it fails."""
        while not rauc.completed.is_set():
            percent, _, _ = await rauc.installer.get_progress()
            progress(percent)
            try:
                await in_time(rauc.completed.wait(), LOOK_SEC)
            except TimeoutError:
                pass
        if rauc.result != 0:
            raise refusal(await rauc.installer.get_last_error())
        progress(100)

    async def confirm(self) -> None:
        """Mark the running system as good."""
        await self._mark("good", "booted")
        await self._note(**{"from": "", "confirmed": self._slot}, result="DONE", error="", rolledBackFrom="")

    async def give_up(self, why: str) -> None:
        """Mark the running system as bad, and have the other one start next."""
        await self._note(error=_ERROR.fit(why))
        await self._mark("bad", "booted")
        await self._mark("active", "other")

    async def _mark(self, state: str, slot: str) -> None:
        try:
            await self._call("call_mark", state, slot)
        except DBusError as exc:
            raise PartError(f"RAUC cannot mark the {slot} system as {state}: {exc}") from exc

    async def _call(self, name: str, *arguments: object) -> Any:
        async with Rauc(self._options["bus"]) as rauc:
            return await in_time(getattr(rauc.installer, name)(*arguments), ANSWER_SEC)

    async def _property(self, name: str) -> str:
        getter = {"BootSlot": "get_boot_slot", "Compatible": "get_compatible"}[name]
        value: str = await self._call(getter)
        return value

    def _read_state(self) -> dict:
        try:
            with open(self._state_path) as file:
                return _STATE.check(json_loads(file.read()), "state")
        except Exception:  # damaged or not there: then nothing is known of an update
            return _STATE.check({})

    async def _note(self, **members: object) -> None:
        self._state = dict(self._state, **members)
        try:
            await offload(write_whole, self._state_path, json_dumps(self._state))
        except OSError as exc:
            raise PartError(f"the state of the update cannot be stored: {exc}") from exc


class Rauc:
    """A connection to RAUC's service for a few calls. PartError where there is none."""

    def __init__(self, address: str):
        self._address = address or None
        self.installer: Any = None  # its methods are made from what RAUC says of itself
        self.completed = asyncio.Event()
        self.result = 0

    async def __aenter__(self) -> "Rauc":
        self._bus = MessageBus(self._address, BusType.SYSTEM)
        try:
            await in_time(self._bus.connect(), ANSWER_SEC)
            introspection = await in_time(self._bus.introspect(NAME, PATH), ANSWER_SEC)
        except (OSError, DBusError, TimeoutError, EOFError) as exc:
            await self._let_go()
            raise PartError(f"RAUC does not answer: {exc}") from exc
        self.installer = self._bus.get_proxy_object(NAME, PATH, introspection).get_interface(INTERFACE)
        self.installer.on_completed(self._complete)
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._let_go()

    async def _let_go(self) -> None:
        if self._bus.connected:
            self._bus.disconnect()
            await in_time(self._bus.wait_for_disconnect(), ANSWER_SEC)
        if self._bus._sock is not None:
            self._bus._sock.close()  # which the library leaves to the garbage collector

    def _complete(self, result: int) -> None:
        self.result = result
        self.completed.set()
