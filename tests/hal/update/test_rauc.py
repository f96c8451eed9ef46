"""The real RAUC over a D-Bus of its own. What every updater does is in test_updater_contract.py, this is its own."""

import asyncio
import os
import pathlib
import platform
from importlib.machinery import SourceFileLoader
from types import ModuleType, SimpleNamespace

import pytest

from firmware import VERSION
from hal.contracts import PartError, UpdateRefused
from hal.update.signed import Moment
from tests.hal.update.keys import NOW, Maker
from tests.hal.update.rauc_rig import MISSING, RaucRig

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
if not MISSING:
    from hal.linux.update.rauc import RaucUpdater, refusal

MOMENT = Moment(NOW, NOW)
MACHINE = platform.machine()
GUARD = pathlib.Path(__file__).resolve().parents[3] / "deploy/image/root/usr/libexec/mc252/guard-trial"


class PowerCut(Exception):
    """Here the old process ends."""


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """RAUC and a maker's authority; made once, for keys take time."""
    rig = RaucRig(tmp_path_factory.mktemp("rauc"), f"simulated-{MACHINE}")
    yield rig
    rig.stop()


@pytest.fixture
async def board(system, tmp_path):
    """The updater of a board that has just started its first system."""
    (system.folder / "primary").write_text("system0\n")
    for number in (0, 1):
        (system.folder / f"state-system{number}").write_text("good\n")
        (system.folder / f"rootfs{number}").write_bytes(bytes(65536))
    system.boot(0)
    return await start(system, tmp_path)


async def start(system, state_dir):
    keys = state_dir / "keys"
    maker = Maker(keys) if not keys.exists() else None
    options = {"bus": system.address, "keys": str(keys / "keyring.json"), "compatible": "simulated"}
    options["config"] = str(system.folder / "system.conf")
    updater = RaucUpdater(RaucUpdater.OPTIONS.check(options), str(state_dir))
    updater.maker = maker
    for _ in range(400):
        try:
            await updater.start()
            return updater
        except PartError:
            await asyncio.sleep(0.05)  # RAUC is still starting
    raise AssertionError("RAUC does not start")


def silent(percent):
    pass


async def refused(updater, system, path, allow_older=False):
    with pytest.raises(UpdateRefused) as caught:
        await updater.install(str(path), MOMENT, allow_older, silent)
    assert (system.folder / "rootfs1").read_bytes() == bytes(65536)
    assert (system.folder / "primary").read_text() == "system0\n"
    return caught.value.code


async def test_a_bundle_goes_into_the_other_slot_which_starts_next(board, system):
    told = []
    assert board.running() == {"version": VERSION, "slot": "system0", "trial": False}
    await board.install(str(system.bundle(content=b"a new system")), MOMENT, False, told.append)
    assert told[-1] == 100
    assert (system.folder / "rootfs1").read_bytes().startswith(b"a new system")
    assert (system.folder / "primary").read_text() == "system1\n"
    assert board.last()["result"] == ""


async def test_a_new_system_that_is_healthy_is_confirmed(board, system, tmp_path):
    await board.install(str(system.bundle()), MOMENT, False, silent)
    system.boot(1)
    board = await start(system, tmp_path)
    assert board.running()["trial"]
    await board.confirm()
    assert not board.running()["trial"] and board.last()["result"] == "DONE"
    assert (system.folder / "state-system1").read_text() == "good\n"


async def test_a_fall_back_of_the_boot_loader_is_told(board, system, tmp_path):
    await board.install(str(system.bundle(version="9.9.8")), MOMENT, False, silent)
    system.boot(0)  # it did not come up, and the boot loader went back
    board = await start(system, tmp_path)
    assert board.last()["result"] == "ROLLED_BACK" and board.last()["rolledBackFrom"] == "9.9.8"
    assert "boot loader" in board.last()["error"]


async def test_a_power_cut_in_the_middle_of_an_installation_is_no_fall_back(board, system, tmp_path):
    def cut(percent):
        raise PowerCut

    with pytest.raises(PowerCut):
        await board.install(str(system.bundle(version="9.9.8")), MOMENT, False, cut)
    system.boot(0)
    board = await start(system, tmp_path)
    assert board.last() == {"result": "", "error": "", "rolledBackFrom": ""}
    assert not board.running()["trial"]


async def test_a_power_cut_right_after_an_installation_leaves_the_new_system_on_trial(board, system, tmp_path):
    def cut(percent):
        if (system.folder / "primary").read_text() == "system1\n":
            raise PowerCut

    with pytest.raises(PowerCut):
        await board.install(str(system.bundle()), MOMENT, False, cut)
    system.boot(1)
    board = await start(system, tmp_path)
    assert board.running()["trial"]


async def test_a_confirmed_system_that_does_not_start_any_more_is_told_of(board, system, tmp_path):
    await board.install(str(system.bundle(version="9.9.8")), MOMENT, False, silent)
    system.boot(1)
    await (await start(system, tmp_path)).confirm()
    system.boot(0)  # months later
    board = await start(system, tmp_path)
    assert (board.last()["result"], board.last()["rolledBackFrom"]) == ("ROLLED_BACK", "9.9.8")
    board = await start(system, tmp_path)  # told once, and kept
    assert board.last()["result"] == "ROLLED_BACK" and not board.running()["trial"]


async def test_nothing_is_installed_over_the_system_to_fall_back_to_while_another_is_on_trial(board, system, tmp_path):
    path = str(system.bundle())
    await board.install(path, MOMENT, False, silent)
    system.boot(1)
    board = await start(system, tmp_path)
    before = (system.folder / "rootfs0").read_bytes()
    with pytest.raises(UpdateRefused) as caught:
        await board.install(path, MOMENT, False, silent)
    assert caught.value.code == "UPDATE_ON_TRIAL"
    assert (system.folder / "rootfs0").read_bytes() == before
    assert (system.folder / "primary").read_text() == "system1\n" and board.running()["trial"]
    await board.confirm()
    await board.install(path, MOMENT, False, silent)
    assert (system.folder / "primary").read_text() == "system0\n"


async def test_each_start_of_a_system_that_is_not_on_trial_is_told_to_the_boot_loader(board, system, tmp_path):
    (system.folder / "state-system0").write_text("bad\n")  # as the count of starts makes it
    await start(system, tmp_path)
    assert (system.folder / "state-system0").read_text() == "good\n"


async def test_a_new_system_that_gives_itself_up_goes_back_and_says_why(board, system, tmp_path):
    await board.install(str(system.bundle()), MOMENT, False, silent)
    system.boot(1)
    board = await start(system, tmp_path)
    await board.give_up("it has no bus")
    assert (system.folder / "primary").read_text() == "system0\n"
    assert (system.folder / "state-system1").read_text() == "bad\n"
    system.boot(0)
    board = await start(system, tmp_path)
    assert (board.last()["result"], board.last()["error"]) == ("ROLLED_BACK", "it has no bus")


async def test_a_system_that_came_up_after_a_power_cut_right_after_its_installation_goes_back_and_says_why(
    board, system, tmp_path
):
    def cut(percent):
        if (system.folder / "primary").read_text() == "system1\n":
            raise PowerCut

    with pytest.raises(PowerCut):
        await board.install(str(system.bundle(version="9.9.8")), MOMENT, False, cut)
    system.boot(1)
    await (await start(system, tmp_path)).give_up("it has\nno bus")
    system.boot(0)
    last = (await start(system, tmp_path)).last()
    assert last == {"result": "ROLLED_BACK", "error": "it has no bus", "rolledBackFrom": "9.9.8"}


@pytest.fixture
def guard(tmp_path):
    """What guards a trial in the image, in the second system, under a systemd that says what a file says."""
    loader = SourceFileLoader("guard_trial", str(GUARD))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    module.STATE = str(tmp_path / "rauc-update.json")
    module.booted = lambda: "system1"
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "said").write_text("")
    for name, said in (("systemctl", "reboot"), ("journalctl", ""), ("rauc", "")):
        words = f'[ "$1" != {said} ] || exit 0\n' if said else ""
        show = f'cat "{tools}/$4"' if name == "systemctl" else f'cat "{tools}/said"' if name == "journalctl" else ""
        (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"{tools}/calls"\n{words}{show}\n')
        (tools / name).chmod(0o755)
    module.tools = tools
    module.path = f"{tools}:{os.environ['PATH']}"
    return module


@pytest.mark.parametrize(
    ("restarts", "result", "said", "told"),
    [
        (3, "exit-code", "no\tbus", "3 starts of it did not become healthy (exit-code), its last words: no bus"),
        (4, "watchdog", "", "4 starts of it did not become healthy (watchdog)"),
        (0, "success", "waits", "it did not become healthy in 600 s, its last words: waits"),
    ],
)  # fmt: skip
async def test_why_the_guard_gave_a_new_system_up_is_told(
    board, system, tmp_path, guard, monkeypatch, restarts, result, said, told
):
    await board.install(str(system.bundle(version="9.9.8")), MOMENT, False, silent)
    for name, text in (("NRestarts", restarts), ("Result", result), ("said", said)):
        (guard.tools / name).write_text(f"{text}\n")
    guard.time = SimpleNamespace(monotonic=lambda: 601 if not restarts else 100)
    monkeypatch.setenv("PATH", guard.path)
    guard.main()
    monkeypatch.undo()
    calls = (guard.tools / "calls").read_text()
    assert calls.endswith("rauc status mark-bad booted\nrauc status mark-active other\nsystemctl reboot\n")
    system.boot(0)
    last = (await start(system, tmp_path)).last()
    assert last == {
        "result": "ROLLED_BACK",
        "error": f"the guard of the trial gave it up: {told}",
        "rolledBackFrom": "9.9.8",
    }


async def test_the_guard_lets_a_system_be_that_is_not_on_trial(board, guard, monkeypatch):
    monkeypatch.setenv("PATH", guard.path)
    guard.main()
    assert not (guard.tools / "calls").exists()


async def test_a_bundle_of_another_authority_is_refused(board, system):
    if not (system.folder / "other.pem").exists():
        system.make_authority("other", "good")
    assert await refused(board, system, system.bundle(signer="other-signer")) == "UPDATE_WRONG_KEY"


@pytest.mark.parametrize(
    ("name", "begin", "end", "code"),
    [
        ("expired", "20200101000000Z", "20200201000000Z", "UPDATE_EXPIRED"),
        ("early", "20800101000000Z", "20900101000000Z", "UPDATE_NOT_YET_VALID"),
    ],
)
async def test_a_certificate_out_of_its_time_is_refused(board, system, monkeypatch, name, begin, end, code):
    if not (system.folder / f"ca-{name}.pem").exists():
        system.make_signer("ca", name, "-startdate", begin, "-enddate", end)
    assert await refused(board, system, system.unchecked_bundle(f"ca-{name}")) == code


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ({"compatible": f"another-{MACHINE}"}, "UPDATE_WRONG_BOARD"),
        ({"compatible": "simulated-vax"}, "UPDATE_WRONG_ARCH"),
        ({"version": "0.0.1"}, "UPDATE_TOO_OLD"),
        ({"version": "9.9.9+min.9.0.0"}, "UPDATE_NEEDS_STEP"),
        ({"version": "newest"}, "UPDATE_BAD_BUNDLE"),
    ],
)
async def test_a_bundle_that_is_not_for_this_device_is_refused(board, system, what, code):
    assert await refused(board, system, system.bundle(**what)) == code


async def test_a_bundle_that_was_cut_or_changed_is_refused(board, system, tmp_path):
    whole = system.bundle(content=bytes(range(256)) * 64).read_bytes()
    for name, data in (
        ("cut", whole[: len(whole) // 2]),
        ("short", whole[:-1]),
        ("changed", whole[:200] + bytes([whole[200] ^ 1]) + whole[201:]),
        ("empty", b""),
        ("other", b"#!/bin/sh\n" * 100),
    ):
        (tmp_path / name).write_bytes(data)
        assert (await refused(board, system, tmp_path / name)).startswith("UPDATE_"), name


async def test_indexes_and_licences_are_checked_by_our_own_keys(board):
    assert board.open_document(board.maker.document("index", {"a": 1}), "index", MOMENT) == {"a": 1}


async def test_keys_that_are_not_there_are_said_so(board):
    board.maker.keyring_path.unlink()
    with pytest.raises(PartError, match=r"keyring\.json: is missing"):
        await board.probe()


async def test_without_rauc_there_are_no_updates_and_that_is_said(tmp_path):
    options = {"bus": f"unix:path={tmp_path}/nothing", "keys": "/none", "compatible": "x"}
    with pytest.raises(PartError, match="RAUC does not answer"):
        await RaucUpdater(RaucUpdater.OPTIONS.check(options), str(tmp_path)).start()


def test_complaints_that_nobody_knows_are_a_bad_bundle():
    assert refusal("something is odd").code == "UPDATE_BAD_BUNDLE"
