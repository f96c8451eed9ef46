"""What the service decides: when it looks by itself, when it restarts, and what each refusal is called."""

import asyncio

import pytest

from firmware.services.settings.document_store import DocumentStore
from firmware.services.update import updates as updates_module
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from hal.contracts import UpdateRefused
from hal.linux.update.folders import FoldersUpdater, architecture
from tests.firmware.update.rig import MAC, Rig
from tests.hal.update.keys import DAY, NOW, Maker


@pytest.fixture
async def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    await made.updates.stop()


async def turns(count=20):
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


# Restarting


async def test_a_restart_waits_for_an_installation_that_takes_longer_than_its_answer(rig, monkeypatch):
    rig.publish()
    updates = await rig.start()
    assert await updates.download() == ("DONE", None)
    goes_on, install = asyncio.Event(), rig.updater.install

    async def slow(*arguments):
        await goes_on.wait()
        await install(*arguments)

    rig.updater.install = slow
    monkeypatch.setattr(updates_module, "ANSWER_SEC", 0.01)
    assert await updates.program() == ("DONE", None)
    updates.restart_when_installed()  # as the endpoint does after its answer
    await turns()
    assert rig.restarts == [] and updates.state()["status"] == "PROGRAMMING"
    goes_on.set()
    await until(lambda: rig.restarts)
    assert rig.restarts == ["UPDATE"] and rig.updater._slots.state()["trial"] == "a"


async def test_nothing_is_installed_while_what_runs_is_on_trial_and_what_is_ready_is_kept(rig):
    rig.publish()
    updates = await rig.start()
    await updates.download()
    rig.updater.running = lambda: {"version": "0.2.0", "slot": "a", "trial": True}
    for work in (updates.program(), updates.install()):
        with pytest.raises(UpdateRefused) as caught:
            await work
        assert caught.value.code == "UPDATE_ON_TRIAL"
    assert updates.state()["status"] == "READY" and "download" in rig.left()
    assert not updates.is_installed and rig.updater._slots.state()["trial"] == ""
    del rig.updater.running
    assert await updates.program() == ("DONE", None)


async def test_what_was_installed_before_a_power_cut_is_not_offered_again(rig, monkeypatch):
    rig.publish()
    updates = await rig.start()
    await updates.download()
    monkeypatch.setattr(FoldersUpdater, "running", lambda self: {"version": "9.9.9", "slot": "a", "trial": True})
    updates = await rig.start()  # the plug was pulled between the installation and the end of its download
    assert (updates.state()["status"], updates.state()["availableVer"]) == ("IDLE", None)
    assert "download" not in rig.left()


async def test_an_installation_that_fails_after_its_answer_restarts_nothing(rig, monkeypatch):
    rig.publish()
    updates = await rig.start()
    await updates.download()
    rig.updater.room = lambda: 3  # the medium has filled up meanwhile
    monkeypatch.setattr(updates_module, "ANSWER_SEC", 0)
    await updates.program()
    updates.restart_when_installed()
    await until(lambda: updates.state()["status"] == "ERROR")
    await turns()
    assert (rig.restarts, updates.state()["errorCode"]) == ([], "UPDATE_TOO_LARGE")


# Refusals, as the endpoint and the state tell them


async def refused(rig):
    """The code that a download ends with; nothing of it is left, and what runs is as before."""
    updates = await rig.start()
    status, code = await updates.download()
    state = updates.state()
    assert (status, state["status"]) == ("ERROR", "ERROR")
    assert code == state["errorCode"] and state["message"]
    assert rig.left() == [] and not updates.is_installed
    return code


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"compatible": ["simulated", "another"], "minVersion": "9.0.0"}, "UPDATE_NEEDS_STEP"),
        ({"files": {"../outside": b"x"}}, "UPDATE_BAD_PATH"),
        ({"files": {"/etc/passwd": b"x"}}, "UPDATE_BAD_PATH"),
        ({"stream": b"not what was signed"}, None),
    ],
)
async def test_a_bundle_that_is_refused_leaves_its_room(rig, header, code):
    rig.publish(**header)
    if code is None:  # it is believed when it comes, for every byte is as it was signed, and not when it is unpacked
        updates = await rig.start()
        assert (await updates.download())[0] == "DONE"
        assert await updates.program() == ("ERROR", "UPDATE_CHANGED")
        assert "download" not in rig.left() and rig.updater._slots.state()["trial"] == ""
    else:
        assert await refused(rig) == code


@pytest.mark.parametrize("change", [{"compatible": ["another"]}, {"architecture": "linux-vax-cp311"}])
async def test_what_the_index_says_wrongly_of_a_bundle_is_found_in_the_bundle(rig, change):
    code = "UPDATE_WRONG_BOARD" if "compatible" in change else "UPDATE_WRONG_ARCH"
    rig.publish(**change)
    entry = rig.entry()
    rig.sign_index(rig.payload(dict(entry, compatible=["simulated"], architecture=architecture())))
    assert await refused(rig) == code


async def test_an_older_bundle_under_a_newer_name_is_refused(rig):
    rig.publish(version="0.0.1")
    rig.sign_index(rig.payload(dict(rig.entry(), version="9.9.9")))
    assert await refused(rig) == "UPDATE_TOO_OLD"


async def test_another_makers_folder_is_refused(rig, tmp_path):
    rig.publish(maker=Maker(tmp_path / "other"))
    assert await refused(rig) == "UPDATE_WRONG_KEY"


async def test_an_index_without_a_signature_is_refused(rig):
    rig.publish()
    rig.card.files["/updates/index.json"] = b'{"bundles": []}'
    assert await refused(rig) == "UPDATE_UNSIGNED"


@pytest.mark.parametrize("at", ["header", "stream"])
async def test_a_bundle_that_was_changed_on_its_way_is_refused(rig, at):
    rig.publish()
    whole = bytearray(rig.card.files["/updates/made.bundle"])
    whole[200 if at == "header" else -1] ^= 1
    rig.card.files["/updates/made.bundle"] = bytes(whole)
    assert await refused(rig) == "UPDATE_CHANGED"


async def test_a_bundle_that_is_larger_than_the_room_is_refused(rig):
    rig.publish()
    updates = await rig.start()
    rig.updater.room = lambda: 3
    assert await updates.download() == ("ERROR", "UPDATE_TOO_LARGE")
    assert rig.left() == []


async def test_a_certificate_that_is_over_is_refused(rig):
    rig.publish()
    rig.clock.seconds += 301 * DAY
    assert await refused(rig) == "UPDATE_EXPIRED"


async def test_a_certificate_that_is_not_valid_yet_is_refused_by_a_clock_that_was_set(rig):
    rig.released = NOW - 1000 * DAY
    rig.publish()
    rig.clock.seconds = NOW - 400 * DAY
    assert await refused(rig) == "UPDATE_NOT_YET_VALID"


async def test_a_clock_that_was_never_set_takes_the_same_bundle(rig):
    rig.publish()
    rig.clock.seconds = 0
    updates = await rig.start()
    assert (await updates.download())[0] == "DONE" and updates.state()["status"] == "READY"


# An attacker on the network


async def test_an_index_that_has_expired_is_no_index_even_when_the_clock_is_set_back(rig):
    rig.publish()
    rig.clock.seconds = NOW + 31 * DAY
    assert await refused(rig) == "UPDATE_EXPIRED"
    await rig.updates.stop()
    await rig.times.keep()
    rig.clock.seconds = NOW
    assert await refused(rig) == "UPDATE_EXPIRED"


async def test_an_index_from_before_the_last_one_is_refused_after_a_restart_too(rig):
    rig.publish()
    old = dict(rig.card.files)
    rig.publish()
    updates = await rig.start()
    assert (await updates.download())[0] == "DONE"
    await updates.stop()
    rig.card.files.update(old)
    updates = await rig.start()
    assert await updates.download() == ("ERROR", "UPDATE_REPLAYED")


# By itself, in the quiet hours


@pytest.fixture
def naps(monkeypatch):
    """Sleeps of minutes and more: how long, and what wakes the sleeper."""
    made = []
    sleep = asyncio.sleep

    async def nap(seconds):
        if seconds < 60:
            return await sleep(seconds)
        made.append((seconds, asyncio.Event()))
        return await made[-1][1].wait()

    monkeypatch.setattr(updates_module.asyncio, "sleep", nap)
    return made


async def test_a_device_that_looks_by_itself_updates_in_the_quiet_hours_and_restarts(tmp_path, naps):
    rig = Rig(tmp_path, autoUpdate=True)
    rig.publish()
    updates = await rig.start()
    await until(lambda: naps)
    at = (rig.minute + naps[0][0] // 60) % 1440
    assert 2 * 60 <= at < 5 * 60 and rig.restarts == []
    naps[0][1].set()
    await until(lambda: rig.restarts)
    assert rig.restarts == ["UPDATE"] and rig.updater._slots.state()["trial"] == "a"
    await updates.stop()


async def test_a_look_that_fails_is_made_again_the_next_night(tmp_path, naps):
    rig = Rig(tmp_path, autoUpdate=True)
    rig.publish(compatible=["simulated"], minVersion="9.0.0")
    updates = await rig.start()
    await until(lambda: naps)
    rig.minute = (rig.minute + naps[0][0] // 60) % 1440
    naps[0][1].set()
    await until(lambda: len(naps) == 2)
    assert naps[1][0] == 1440 * 60
    assert updates.state()["errorCode"] == "UPDATE_NEEDS_STEP" and rig.restarts == []
    await updates.stop()


async def test_a_device_that_may_not_look_by_itself_does_not(rig, naps):
    await rig.start()
    await turns()
    assert naps == []


def test_devices_look_at_minutes_of_their_own_between_two_and_five():
    minutes = [QuietHours(f"02:00:00:00:00:{number:02x}", lambda: 0).seconds_until() // 60 for number in range(256)]
    assert all(120 <= minute < 300 for minute in minutes)
    assert len(set(minutes)) > 100


def test_without_a_clock_a_device_looks_once_a_day():
    assert QuietHours(MAC, lambda: None).seconds_until() == 86400


# What is free over GSM


async def test_a_download_over_gsm_waits_when_the_bytes_of_the_day_are_spent_and_goes_on_the_next_day(tmp_path, naps):
    day = [NOW]
    kept = Kept(DocumentStore(str(tmp_path), "update.json"))
    budget = Budget(1000, lambda: True, lambda: day[0], kept)
    await budget.spend(600)
    waiting = asyncio.create_task(budget.spend(600))
    await until(lambda: budget.waits)
    again = Budget(1000, lambda: True, lambda: day[0], Kept(DocumentStore(str(tmp_path), "update.json")))
    assert again.left() == 0  # a restart gives nothing back
    day[0] += DAY
    naps[0][1].set()
    await waiting
    assert (budget.waits, budget.left()) == (False, 1000)


async def test_a_cable_that_is_plugged_in_ends_the_waiting(tmp_path, naps):
    on_gsm = [True]
    budget = Budget(1000, lambda: on_gsm[0], lambda: NOW, Kept(DocumentStore(str(tmp_path), "update.json")))
    waiting = asyncio.create_task(budget.spend(1000))
    await until(lambda: budget.waits)
    on_gsm[0] = False
    naps[0][1].set()
    await waiting
    await budget.spend(10**9)  # which costs nothing
    assert not budget.waits


class Unset:
    """A device whose clock may never have been set, which has run for `hours`; `start` starts it anew."""

    def __init__(self, folder, monkeypatch):
        self.folder = folder
        self.hours = 1000.0
        self.now = None
        monkeypatch.setattr("firmware.services.update.budget.now_ms", lambda: int(self.hours * 3600000))

    def start(self):
        return Budget(1000, lambda: True, lambda: self.now, Kept(DocumentStore(str(self.folder), "update.json")))


@pytest.fixture
def unset(tmp_path, monkeypatch):
    return Unset(tmp_path, monkeypatch)


async def test_without_a_clock_a_day_over_gsm_is_over_when_the_device_has_run_for_24_hours(unset, naps):
    budget = unset.start()
    waiting = asyncio.create_task(budget.spend(1000))
    await until(lambda: naps)
    unset.hours += 23.9
    naps[0][1].set()
    await until(lambda: len(naps) == 2)
    unset.hours += 0.1
    naps[1][1].set()
    await waiting
    assert (budget.waits, budget.left()) == (False, 1000)


async def test_restarts_without_a_clock_give_no_bytes_back_and_take_no_hours_away(unset, naps):
    for _ in range(4):  # it runs for six hours each time, and its power fails
        waiting = asyncio.create_task(unset.start().spend(0 if naps else 1000))
        await until(lambda: naps and not naps[-1][1].is_set())
        unset.hours += 5.9
        naps[-1][1].set()
        before = len(naps)
        await until(lambda before=before: len(naps) > before)
        waiting.cancel()
        naps[-1][1].set()
        assert unset.start().left() == 0
        unset.hours += 100  # it lies on a shelf
    budget = unset.start()
    assert budget.left() == 0  # 23.6 hours
    unset.hours += 0.4
    assert budget.left() == 1000


async def test_a_clock_that_is_set_at_last_gives_no_second_budget_in_the_middle_of_a_day(unset, naps):
    budget = unset.start()
    waiting = asyncio.create_task(budget.spend(1000))
    await until(lambda: naps)
    unset.now = NOW
    assert budget.left() == 0
    unset.now += DAY
    naps[0][1].set()
    await waiting
    assert budget.left() == 1000
    await budget.spend(400)
    unset.now = None  # no battery: each start begins without a clock, until a server tells the time
    budget = unset.start()
    unset.now = NOW + 2 * DAY
    assert budget.left() == 1000
