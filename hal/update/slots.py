"""Two folders for the firmware, of which one starts: which one, and what became of the last update.

    slots/a, slots/b      each a whole signed firmware, its header beside it in a/bundle.json
    slots/state.json      which one starts; put in place by a rename, so that a power cut leaves the old or the new one
    slots/download        a bundle on its way

A new firmware starts on trial: each of its starts is counted before it is made, and after TRIAL_STARTS that did not
become healthy the one before it starts again. An empty slot name stands for the firmware that was installed with the
system.
"""

import os

from hal.contracts import UpdateRefused
from hal.fields import BadField, Choice, Field, Integer, Object, Text
from hal.json_text import json_loads
from hal.runtime import json_dumps, log, make_folder
from hal.runtime.annotations import Iterator
from hal.runtime.archive import remove_tree
from hal.runtime.files import list_folder
from hal.runtime.logs import ERROR
from hal.small_file import read_whole, write_whole
from hal.update.bundle import Bundle, checked_header, file_digest, unpacking
from hal.update.signed import Keyring, Moment, open_signed

NAMES = ("a", "b")
SYSTEM = ""  # the slot of the firmware that was installed with the system
TRIAL_STARTS = 3
HEADER_FILE = "bundle.json"
WORDS_FILE = "last-words"  # how the last start of a trial ended, where it could still say so

_SLOT = Choice(*NAMES, SYSTEM)
_ERROR = Text(200)

STATE = Object(
    Field("current", _SLOT, SYSTEM, help="the slot that starts"),
    Field("trial", _SLOT, SYSTEM, help="the slot that starts first, until it is confirmed or given up"),
    Field("starts", Integer(0, 1000), 0, help="starts of the trial so far"),
    Field("result", Choice("", "DONE", "ROLLED_BACK"), "", help="of the last update"),
    Field("error", _ERROR, "", help="why it was rolled back"),
    Field("rolledBackFrom", Text(11), "", help="the version that was given up"),
    Field("systemVersion", Text(11), "", help="of the system's own firmware, where what starts a slot notes it here"),
)


class Slots:
    """The folder that holds both slots. Its calls block; OSError where the medium fails."""

    def __init__(self, folder: str):
        self.folder = folder

    def path(self, slot: str) -> str:
        """The folder of a slot."""
        return self.folder + "/" + slot

    def state(self) -> dict:
        """What STATE declares; a damaged file counts as empty: then the firmware starts that came with the system."""
        try:
            with open(self.folder + "/state.json") as file:
                return STATE.check(json_loads(file.read()), "state")
        except (OSError, ValueError, BadField):
            return STATE.check({})

    def change(self, **members: object) -> dict:
        """Store the state with some members changed, and return it."""
        make_folder(self.folder)
        state = dict(self.state(), **members)
        write_whole(self.folder + "/state.json", json_dumps(state))
        return state

    def spare(self, running: str) -> str:
        """The slot that an update may overwrite: neither the running one nor the one to fall back to."""
        kept = (running, self.state()["current"])
        return next(slot for slot in NAMES if slot not in kept)

    def filling(self, slot: str, bundle: Bundle) -> Iterator[int]:
        """Unpack a bundle into a slot, a piece at each step, which gives the percent that is done; the header comes
        last, so that a slot with a header is whole. UpdateRefused, and the slot is empty."""
        self.clear(slot)
        make_folder(self.folder)
        make_folder(self.path(slot))
        try:
            yield from unpacking(bundle, self.path(slot))
        except UpdateRefused:
            self.clear(slot)
            raise
        write_whole(self.path(slot) + "/" + HEADER_FILE, json_dumps(bundle.document))

    def clear(self, slot: str) -> None:
        """Empty a slot, its header first."""
        try:
            os.remove(self.path(slot) + "/" + HEADER_FILE)
        except OSError:
            pass  # it has none
        remove_tree(self.path(slot))

    def size(self, slot: str) -> int:
        """Bytes of the files in a slot, which emptying it gives back."""
        try:
            return sum(os.stat(self.path(slot) + "/" + path)[6] for path in files_below(self.path(slot)))
        except OSError:
            return 0  # it was never filled

    def header(self, slot: str, keyring: Keyring, moment: Moment) -> dict:
        """The header of what is in a slot, its signature checked. UpdateRefused where there is none to believe."""
        try:
            with open(self.path(slot) + "/" + HEADER_FILE) as file:
                document = json_loads(file.read())
        except (OSError, ValueError) as exc:
            raise UpdateRefused("UPDATE_UNSIGNED", f"slot {slot} has no header: {exc}") from None
        return checked_header(open_signed(document, "bundle", keyring, moment))

    def verify(self, slot: str, header: dict) -> None:
        """UpdateRefused where a slot does not hold what was signed, every byte of it and nothing else."""
        expected = {entry["path"]: entry for entry in header["files"]}
        found = files_below(self.path(slot))
        found.discard(HEADER_FILE)
        if found != set(expected):
            odd = sorted(found ^ set(expected))[0]
            raise UpdateRefused("UPDATE_CHANGED", f"slot {slot}: {odd} is missing or not of the bundle")
        for path, entry in expected.items():
            if file_digest(self.path(slot) + "/" + path) != entry["sha256"]:
                raise UpdateRefused("UPDATE_CHANGED", f"slot {slot}: {path} is not what was signed")

    # What becomes of a trial

    def words_path(self) -> str:
        """The file in which a start on trial leaves word of its end."""
        return self.folder + "/" + WORDS_FILE

    def leave_word(self, text: str) -> None:
        """Leave word of a trial's end in its place, where the medium takes it."""
        try:
            write_whole(self.words_path(), text)
        except OSError:
            pass

    def last_words(self) -> str:
        """How the last start of the trial ended, empty where nobody knows."""
        try:
            return read_whole(self.words_path())
        except (OSError, ValueError):
            return ""

    def begin_trial(self, slot: str) -> None:
        """Have a slot start first at the next start."""
        self.change(trial=slot, starts=0, result="", error="", rolledBackFrom="")

    def count_start(self) -> dict:
        """One more start of the trial is about to be made."""
        try:
            os.remove(self.words_path())
        except OSError:
            pass  # the start before it said nothing
        return self.change(starts=self.state()["starts"] + 1)

    def confirm(self) -> None:
        """The trial is healthy: it is the one that starts from now on."""
        state = self.state()
        if state["trial"] != SYSTEM:
            self.change(current=state["trial"], trial=SYSTEM, starts=0, result="DONE", error="", rolledBackFrom="")

    def give_up(self, version: str, why: str) -> dict:
        """The trial has failed: the slot before it starts again."""
        log(f"update: back from {version or 'an unknown version'}: {why}", ERROR)
        told = {"result": "ROLLED_BACK", "error": _ERROR.fit(why), "rolledBackFrom": version[:11]}
        return self.change(trial=SYSTEM, starts=0, **told)

    def leave_current(self, why: str) -> dict:
        """The confirmed slot cannot be started any more: the system's own firmware starts."""
        return self.change(current=SYSTEM, error=_ERROR.fit(why))


def files_below(folder: str, prefix: str = "") -> set[str]:
    """Paths of all that is no folder below a folder, relative to it, with /."""
    found = set()
    for name, kind in list_folder(folder):
        if kind == "folder":
            found |= files_below(folder + "/" + name, prefix + name + "/")
        else:
            found.add(prefix + name)
    return found
