"""The automatic restart, on an injected clock."""

import asyncio

from firmware.services.system import auto_restart
from firmware.services.system.auto_restart import AutoRestart


class Rig:
    def __init__(self, **settings):
        self.now = 1000.0
        self.transfer = None
        self.restarts = 0
        settings = dict({"enabled": True, "periodMin": 5, "onlyIdle": True}, **settings)
        self.service = AutoRestart(settings, lambda: self.transfer, self.restart, lambda: round(self.now * 1000))

    def restart(self):
        self.restarts += 1


def test_without_a_transfer_it_is_due_after_the_period():
    rig = Rig()
    rig.now += 299
    assert not rig.service.is_due()
    rig.now += 1
    assert rig.service.is_due()


def test_a_transfer_puts_it_off():
    rig = Rig()
    rig.now += 250
    rig.transfer = round(rig.now * 1000)
    rig.now += 299
    assert not rig.service.is_due()
    rig.now += 1
    assert rig.service.is_due()


def test_counted_from_start_transfers_do_not_matter():
    rig = Rig(onlyIdle=False)
    rig.now += 299
    rig.transfer = round(rig.now * 1000)
    rig.now += 1
    assert rig.service.is_due()


async def test_it_restarts_once_when_it_is_time(monkeypatch):
    monkeypatch.setattr(auto_restart, "CHECK_SEC", 0.001)
    rig = Rig()
    await rig.service.start()
    await asyncio.sleep(0.02)
    assert rig.restarts == 0
    rig.now += 300
    while not rig.restarts:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    assert rig.restarts == 1
    await rig.service.stop()


async def test_switched_off_it_never_does(monkeypatch):
    monkeypatch.setattr(auto_restart, "CHECK_SEC", 0.001)
    rig = Rig(enabled=False)
    await rig.service.start()
    rig.now += 10**6
    await asyncio.sleep(0.02)
    assert rig.restarts == 0
