"""What every updater does, run against each backend that this machine can host."""

import pathlib

import pytest

from hal import contracts
from hal.contracts import PartError, UpdateRefused
from hal.linux.update.folders import FoldersUpdater, architecture
from hal.linux.update.supervisor import choose
from hal.update.keys import read_keyring
from hal.update.signed import Moment
from hal.update.slots import Slots
from tests.hal.update.keys import DAY, NOW, Maker

MOMENT = Moment(NOW, NOW)


class Folders:
    """Two folders, and bundles for them."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = Maker(folder / "keys")
        options = {"keys": str(self.maker.keyring_path), "compatible": "simulated"}
        self.part = FoldersUpdater(FoldersUpdater.OPTIONS.check(options), str(folder))

    async def start_next(self):
        """As the next start of the device, which is that of what was installed last."""
        self.part._slot = choose(Slots(str(self.folder / "slots")), read_keyring(str(self.maker.keyring_path))).slot

    def bundle(self, **header):
        return str(self.maker.bundle(self.folder / "bundle", **header))

    def state(self):
        slots = self.folder / "slots"
        return {path.relative_to(slots): path.read_bytes() for path in slots.rglob("*") if path.is_file()}


@pytest.fixture(params=[Folders])
async def rig(request, tmp_path):
    made = request.param(tmp_path)
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
    path = Maker(tmp_path / "other").bundle(tmp_path / "foreign")
    assert await refusal(rig, str(path)) == "UPDATE_WRONG_KEY"


async def test_a_bundle_larger_than_the_room_changes_nothing(rig, monkeypatch):
    monkeypatch.setattr(rig.part, "room", lambda: 3)
    assert await refusal(rig, rig.bundle()) == "UPDATE_TOO_LARGE"


async def test_a_bundle_that_was_cut_or_changed_changes_nothing(rig, tmp_path):
    whole = pathlib.Path(rig.bundle()).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-1])
    (tmp_path / "changed").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert await refusal(rig, str(tmp_path / "cut")) == "UPDATE_CUT_SHORT"
    assert await refusal(rig, str(tmp_path / "changed")) == "UPDATE_CHANGED"


async def test_an_older_one_is_taken_only_where_that_is_allowed_and_not_below_the_systems_own(rig, monkeypatch):
    monkeypatch.setenv("MC252_SYSTEM_VERSION", "0.1.0")
    path = rig.bundle(version="0.1.5")
    assert await refusal(rig, path) == "UPDATE_TOO_OLD"
    assert (await rig.part.inspect(path, MOMENT, True))["version"] == "0.1.5"
    assert await refusal(rig, rig.bundle(version="0.0.9"), allow_older=True) == "UPDATE_TOO_OLD"


async def test_nothing_is_installed_while_what_runs_is_on_trial(rig):
    path = rig.bundle()
    await rig.part.install(path, MOMENT, False, silent)
    await rig.start_next()
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


async def test_a_board_says_what_bundles_must_be_for(rig):
    assert rig.part.device() == {"compatible": "simulated", "architecture": architecture()}


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
