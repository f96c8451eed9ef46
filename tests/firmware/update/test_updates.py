"""What the service decides: when it looks by itself, when it restarts, and what each refusal is called."""

import asyncio

import pytest

from firmware.services.update import updates as updates_module
from tests.firmware.update.rig import Rig


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
