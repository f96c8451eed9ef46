"""Which firmware starts: a slot on trial, the slot that was confirmed, or the system's own; each checked before."""

from hal.contracts import UpdateRefused
from hal.runtime import log
from hal.update.signed import Keyring, Moment
from hal.update.slots import SYSTEM, TRIAL_STARTS, Slots
from hal.update.version import version_key

_NO_TIME = Moment(None, 0)  # what was valid when it was installed may start for ever


class Chosen:
    """What is to be started: a slot (SYSTEM: the system's own firmware), on trial or not."""

    def __init__(self, slot: str, trial: bool):
        self.slot = slot
        self.trial = trial


def choose(slots: Slots, keyring: Keyring, architecture: str, system_version: str) -> Chosen:
    """Which firmware starts now; a start on trial is counted before it is made.

    `architecture` is what modules must have been built for, `system_version` that of the system's own firmware: it
    starts rather than one that is older.
    """
    state = slots.state()
    if state["trial"] != SYSTEM:
        try:
            version = _believe(slots, state["trial"], keyring, architecture, system_version)
        except (UpdateRefused, OSError) as exc:
            state = slots.give_up("", f"{exc}")
        else:
            if state["starts"] < TRIAL_STARTS:
                slots.count_start()
                return Chosen(state["trial"], True)
            words = slots.last_words()
            why = f"it did not become healthy in {TRIAL_STARTS} starts"
            state = slots.give_up(version, f"{why}, the last of which ended with {words}" if words else why)
    if state["current"] != SYSTEM:
        try:
            _believe(slots, state["current"], keyring, architecture, system_version)
        except (UpdateRefused, OSError) as exc:
            log(f"update: the system's own firmware starts instead of slot {state['current']}: {exc}")
            state = slots.leave_current(f"{exc}")
    return Chosen(state["current"], False)


def _believe(slots: Slots, slot: str, keyring: Keyring, architecture: str, system_version: str) -> str:
    """The version in a slot, every byte of it checked. UpdateRefused; OSError."""
    header = slots.header(slot, keyring, _NO_TIME)
    if version_key(header["version"]) < version_key(system_version):
        raise UpdateRefused("UPDATE_TOO_OLD", f"{header['version']} is older than the system's own {system_version}")
    if header["architecture"] != architecture:
        raise UpdateRefused("UPDATE_WRONG_ARCH", f"it is for {header['architecture']}, this is {architecture}")
    slots.verify(slot, header)
    version: str = header["version"]
    return version
