"""What every updater does, run against each backend that this machine can host."""

import json
import pathlib

import pytest

from firmware.maker.signing import public_text
from hal import contracts
from hal.contracts import PartError, UpdateRefused
from hal.linux.update.folders import FoldersUpdater, architecture
from hal.update.choice import choose
from hal.update.keys import read_keyring
from hal.update.signed import Moment
from hal.update.slots import Slots
from tests.hal.update.keys import DAY, NOW, Maker
from tests.machine.remote import Interpreter, RemotePart
from tests.micropython import NEEDS_MICROPYTHON

MOMENT = Moment(NOW, NOW)


class Rig:
    """Two slots, and bundles for them."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = Maker(folder / "keys")
        self.options = {"keys": str(self.maker.keyring_path), "compatible": "simulated"}

    def next_slot(self):
        """The slot that the next start of the device begins with."""
        keyring = read_keyring(str(self.maker.keyring_path))
        return choose(Slots(str(self.folder / "slots")), keyring, self.architecture, "0.1.0").slot

    def bundle(self, maker=None, **header):
        header.setdefault("architecture", self.architecture)
        return str((maker or self.maker).bundle(self.folder / "bundle", **header))

    def state(self):
        slots = self.folder / "slots"
        return {path.relative_to(slots): path.read_bytes() for path in slots.rglob("*") if path.is_file()}


class Folders(Rig):
    """On Linux."""

    def __init__(self, folder, request):
        super().__init__(folder)
        self.architecture = architecture()
        self.part = FoldersUpdater(FoldersUpdater.OPTIONS.check(self.options), str(folder))

    def leave_room(self, monkeypatch, count):
        monkeypatch.setattr(self.part, "room", lambda: count)

    def start_next(self):
        self.part._slot = self.next_slot()

    def come_with(self, monkeypatch, version):
        monkeypatch.setenv("MC252_SYSTEM_VERSION", version)


class OnBoard(Rig):
    """On MicroPython."""

    architecture = "micropython-mpy6"

    def __init__(self, folder, request):
        super().__init__(folder)
        self._interpreter = request.getfixturevalue("interpreter")
        self.part = RemoteUpdater(self._interpreter, contracts.Updater, "updater", "slots", self.options, str(folder))

    def leave_room(self, monkeypatch, count):
        self._interpreter.ask(f"here.put('room', {count})")

    def start_next(self):
        self._interpreter.ask(f"setattr(part, '_slot', {self.next_slot()!r})")

    def come_with(self, monkeypatch, version):
        self._interpreter.ask(f"here.part._slots.change(systemVersion={version!r})")


class RemoteUpdater(RemotePart):
    """An updater on MicroPython, which calls back here."""

    async def install(self, path, moment, allow_older, progress):
        self._interpreter.ask("here.told.clear()")
        call = f"part.install({path!r}, Moment({moment.now}, {moment.least}), {allow_older}, here.told.append)"
        await self._interpreter.wait(call)
        for percent in self._interpreter.ask("here.told"):
            progress(percent)


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    running = Interpreter(tmp_path_factory.mktemp("board"))
    yield running
    running.end()


@pytest.fixture(params=[Folders, pytest.param(OnBoard, marks=NEEDS_MICROPYTHON)])
async def rig(request, tmp_path):
    made = request.param(tmp_path, request)
    await made.part.start()
    yield made
    await made.part.stop()


def silent(percent):
    pass


async def refusal(rig, path, moment=MOMENT, allow_older=False):
    before = rig.state()
    for take in (rig.part.inspect(path, moment, allow_older), rig.part.install(path, moment, allow_older, silent)):
        with pytest.raises(UpdateRefused) as caught:
            await take
    assert rig.state() == before
    return caught.value.code


async def test_a_bundle_is_inspected_and_installed_on_trial(rig):
    path, told = rig.bundle(), []
    assert (await rig.part.inspect(path, MOMENT, False))["version"] == "9.9.9"
    await rig.part.install(path, MOMENT, False, told.append)
    assert told[-1] == 100
    assert rig.part.last() == {"result": "", "error": "", "rolledBackFrom": ""}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"compatible": ["another"]}, "UPDATE_WRONG_BOARD"),
        ({"architecture": "linux-vax-cp311"}, "UPDATE_WRONG_ARCH"),
        ({"version": "0.0.1"}, "UPDATE_TOO_OLD"),
        ({"minVersion": "9.0.0"}, "UPDATE_NEEDS_STEP"),
        ({"version": "new"}, "UPDATE_BAD_BUNDLE"),
    ],
)
async def test_a_bundle_that_is_not_for_this_device_changes_nothing(rig, header, code):
    assert await refusal(rig, rig.bundle(**header)) == code


async def test_a_bundle_out_of_its_time_changes_nothing(rig):
    path = rig.bundle()
    assert await refusal(rig, path, Moment(NOW + 2 * DAY, 0)) == "UPDATE_EXPIRED"
    assert await refusal(rig, path, Moment(NOW - 2 * DAY, 0)) == "UPDATE_NOT_YET_VALID"


async def test_another_makers_bundle_changes_nothing(rig, tmp_path):
    assert await refusal(rig, rig.bundle(Maker(tmp_path / "other"))) == "UPDATE_WRONG_KEY"


async def test_a_bundle_without_a_signature_changes_nothing(rig):
    path = pathlib.Path(rig.bundle())
    path.write_bytes(path.read_bytes().replace(b'"signature"', b'"signatory"'))
    assert await refusal(rig, str(path)) == "UPDATE_UNSIGNED"


async def test_a_bundle_of_a_key_that_was_revoked_changes_nothing(rig):
    revoked = dict(rig.maker.content, revoked=[public_text(rig.maker.key)])
    rig.maker.keyring_path.write_text(json.dumps(revoked))
    assert await refusal(rig, rig.bundle()) == "UPDATE_REVOKED"


async def test_a_bundle_that_writes_outside_its_folder_changes_nothing(rig):
    assert await refusal(rig, rig.bundle(files={"../x": b"x"})) == "UPDATE_BAD_PATH"


async def test_a_bundle_larger_than_the_room_changes_nothing(rig, monkeypatch):
    rig.leave_room(monkeypatch, 3)
    assert await refusal(rig, rig.bundle()) == "UPDATE_TOO_LARGE"


async def test_a_bundle_that_was_cut_or_changed_changes_nothing(rig, tmp_path):
    whole = pathlib.Path(rig.bundle()).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1])
    (tmp_path / "changed").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert await refusal(rig, str(tmp_path / "cut")) == "UPDATE_CUT_SHORT"
    assert await refusal(rig, str(tmp_path / "changed")) == "UPDATE_CHANGED"


async def test_an_older_one_is_taken_only_where_that_is_allowed_and_not_below_the_systems_own(rig, monkeypatch):
    rig.come_with(monkeypatch, "0.1.0")
    path = rig.bundle(version="0.1.5")
    assert await refusal(rig, path) == "UPDATE_TOO_OLD"
    assert (await rig.part.inspect(path, MOMENT, True))["version"] == "0.1.5"
    assert await refusal(rig, rig.bundle(version="0.0.9"), allow_older=True) == "UPDATE_TOO_OLD"


async def test_nothing_is_installed_while_what_runs_is_on_trial(rig):
    path = rig.bundle()
    await rig.part.install(path, MOMENT, False, silent)
    rig.start_next()
    assert rig.part.running()["trial"]
    before = rig.state()
    with pytest.raises(UpdateRefused) as caught:
        await rig.part.install(path, MOMENT, False, silent)
    assert caught.value.code == "UPDATE_ON_TRIAL"
    assert rig.state() == before and rig.part.running()["trial"]
    assert (await rig.part.inspect(path, MOMENT, False))["version"] == "9.9.9"  # it may be brought meanwhile
    await rig.part.confirm()
    await rig.part.install(path, MOMENT, False, silent)
    assert rig.state() != before


async def test_signed_documents_are_believed_by_the_same_keys(rig):
    assert rig.part.open_document(rig.maker.document("licence", {"a": 1}), "licence", MOMENT) == {"a": 1}
    with pytest.raises(UpdateRefused):
        rig.part.open_document(rig.maker.document("licence", {"a": 1}), "index", MOMENT)


async def test_what_was_given_up_is_told(rig):
    await rig.part.install(rig.bundle(), MOMENT, False, silent)
    await rig.part.give_up("it had no bus")
    assert rig.part.last()["result"] == "ROLLED_BACK"
    assert rig.part.last()["error"] == "it had no bus"


async def test_a_reason_that_has_lines_does_not_cost_the_firmware_to_go_back_to(rig):
    for version in ("1.0.0", "1.1.0"):
        await rig.part.install(rig.bundle(version=version), MOMENT, False, silent)
        rig.start_next()
        if version == "1.0.0":
            await rig.part.confirm()
    confirmed = Slots(str(rig.folder / "slots")).state()["current"]
    await rig.part.give_up("its health cannot be judged:\n a fault\x00 of\tmany lines")
    assert rig.part.last()["error"] == "its health cannot be judged:  a fault  of many lines"
    assert rig.next_slot() == confirmed != ""


async def test_a_board_says_what_bundles_must_be_for(rig):
    assert rig.part.device() == {"compatible": "simulated", "architecture": rig.architecture}


def test_32_bit_programs_on_a_64_bit_kernel_take_32_bit_bundles(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "-aarch64-" in architecture()
    monkeypatch.setattr("sys.maxsize", (1 << 31) - 1)
    assert "-armv7l-" in architecture()


async def test_keys_that_cannot_be_read_are_said_so(rig):
    rig.maker.keyring_path.unlink()
    with pytest.raises(PartError, match=r"no updates: .*keyring\.json: is missing.* make run .*docs/updates\.md"):
        await rig.part.probe()
    with pytest.raises(UpdateRefused, match=r"keyring\.json: is missing") as caught:
        rig.part.open_document(rig.maker.document("licence", {"a": 1}), "licence", MOMENT)
    assert caught.value.code == "UPDATE_WRONG_KEY"


def test_an_updater_is_a_part():
    assert issubclass(FoldersUpdater, contracts.Updater)
