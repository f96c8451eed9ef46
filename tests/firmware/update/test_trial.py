"""A new firmware on trial, on a board whose updater takes its time: it comes up after the services, as RAUC may."""

import asyncio

import pytest

from firmware.services.update import trial as trial_module
from firmware.services.update.trial import Trial
from hal.contracts import PartError
from tests.firmware.update.rig import Rig


class Health:
    """Nothing is wrong with this device."""

    def now(self) -> dict:
        return {}

    async def problems(self, before: dict) -> list[str]:
        return []


class Kept:
    """Nothing was noted."""

    def number(self, name: str) -> int:
        return 0


@pytest.fixture
async def rig(tmp_path):
    made = Rig(tmp_path)
    made.publish()
    updates = await made.start()
    await updates.download()
    await updates.program()
    await updates.stop()
    yield made
    await made.updates.stop()


def next_start(rig):
    """The updater of the device that has started with what was installed, not up yet."""
    updater = type(rig.updater)(rig.updater._options, str(rig.folder))
    updater._running_slot = lambda: "a"
    updater.healthy_sec = 0
    return updater


async def test_a_trial_is_judged_however_late_the_updater_comes_up(rig, monkeypatch):
    monkeypatch.setattr(trial_module, "LOOK_SEC", 0.001)
    updater = next_start(rig)
    trial = Trial(updater, Health(), Kept(), lambda reason: None)
    await trial.start()
    await asyncio.sleep(0.05)
    assert updater.last()["result"] == ""
    await updater.start()
    async with asyncio.timeout(20):
        while updater.last()["result"] != "DONE":
            await asyncio.sleep(0.005)
    await trial.stop()


@pytest.mark.parametrize("trouble", [PartError("RAUC does not answer"), OSError(28, "No space left on device")])
async def test_a_trial_that_cannot_be_confirmed_at_once_is_confirmed_later(rig, monkeypatch, trouble):
    monkeypatch.setattr(trial_module, "LOOK_SEC", 0.001)
    updater, restarts, troubles = next_start(rig), [], [trouble, trouble]
    confirm = updater.confirm

    async def fail_at_first():
        if troubles:
            raise troubles.pop()
        await confirm()

    updater.confirm = fail_at_first
    trial = Trial(updater, Health(), Kept(), restarts.append)
    await updater.start()
    await trial.start()
    async with asyncio.timeout(20):
        while updater.last()["result"] != "DONE":
            await asyncio.sleep(0.005)
    assert not restarts and not updater.running()["trial"]
    await trial.stop()


async def test_nothing_is_brought_or_installed_before_the_updater_has_come_up(rig, monkeypatch):
    monkeypatch.setattr(type(rig.updater), "start", lambda self: asyncio.sleep(0))
    updates = await rig.start()
    for work in (updates.download(), updates.program(), updates.install()):
        with pytest.raises(PartError, match="has not come up"):
            await work
    assert rig.updater._slots.state()["trial"] == "a"
