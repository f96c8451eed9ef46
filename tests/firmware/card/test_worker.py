"""Turns on a card that is slow, or does not answer."""

import asyncio
import threading

import pytest

from firmware.services.card import files as card_files
from firmware.services.card.files import CardFiles
from firmware.services.card.worker import CardWorker
from firmware.services.errors import Refused
from hal.simulated.card import SimulatedCard
from tests.virtual_time import run


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> int:
        return round(self.now * 1000)


class Gate:
    """What hangs until it is opened."""

    def __init__(self):
        self.entered = threading.Event()
        self.open = threading.Event()
        self.passed = 0

    def __call__(self):
        self.entered.set()
        assert self.open.wait(10)
        self.passed += 1
        return "through"


async def code(call) -> str:
    with pytest.raises(Refused) as caught:
        await call
    assert caught.value.retry_after == 5
    return caught.value.code


async def entered(gate):
    await asyncio.to_thread(gate.entered.wait, 10)


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


async def test_a_card_that_does_not_answer_is_not_waited_for(gate):
    worker = CardWorker()
    assert await code(worker.do(0.01, gate)) == "CARD_FAILED"
    gate.open.set()
    assert await worker.do(10, lambda: "again") == "again"


async def test_who_comes_while_something_takes_long_is_told_at_once(gate):
    clock = Clock()
    worker = CardWorker(clock=clock)
    hanging = asyncio.ensure_future(worker.do(10, gate))
    await entered(gate)
    clock.now += 5
    waiting = asyncio.ensure_future(worker.do(10, lambda: "waited"))
    await asyncio.sleep(0)
    clock.now += 0.001
    assert await code(worker.do(10, gate)) == "CARD_BUSY"
    gate.open.set()
    assert (await hanging, await waiting) == ("through", "waited")
    clock.now += 100
    assert await worker.do(10, lambda: "again") == "again"


async def test_only_so_many_wait(gate):
    worker = CardWorker()
    waiting = [asyncio.ensure_future(worker.do(10, gate)) for _ in range(16)]
    await entered(gate)
    assert await code(worker.do(10, gate)) == "CARD_BUSY"
    gate.open.set()
    assert await asyncio.gather(*waiting) == ["through"] * 16
    again = await asyncio.gather(*[worker.do(10, gate) for _ in range(17)], return_exceptions=True)
    assert [one for one in again if one != "through"] == again[16:]
    assert isinstance(again[16], Refused)


async def test_what_was_given_up_before_its_turn_is_never_done(gate):
    worker = CardWorker()
    hanging = asyncio.ensure_future(worker.do(10, gate))
    await entered(gate)
    removed = []
    assert await code(worker.do(0.01, removed.append, "a file")) == "CARD_FAILED"
    given_up = asyncio.ensure_future(worker.do(10, removed.append, "a file"))
    await asyncio.sleep(0)
    given_up.cancel()
    gate.open.set()
    await hanging
    assert await worker.do(10, lambda: "again") == "again"
    assert removed == []


class Rig:
    def __init__(self, tmp_path, gate):
        self.card = SimulatedCard(SimulatedCard.OPTIONS.check({}), str(tmp_path))
        self.files = CardFiles(self.card, str)
        self.gate = gate

    def hang(self):
        """From now on the card does not answer to what changes it."""
        self.card.before_write = lambda count: self.gate()


@pytest.fixture
async def rig(tmp_path, gate, monkeypatch):
    for name in ("READ_SEC", "WRITE_SEC", "STATUS_SEC", "START_SEC", "STOP_SEC"):
        monkeypatch.setattr(card_files, name, 0.05)
    rig = Rig(tmp_path, gate)
    await rig.card.start()
    return rig


async def test_the_state_of_a_card_that_hangs_is_what_was_last_known(rig):
    status = await rig.files.status()
    assert status["mounted"] is True
    rig.hang()
    assert await code(rig.files.remove("/a.txt")) == "CARD_FAILED"
    assert await rig.files.status() == status
    assert await code(rig.files.dir("/")) == "CARD_FAILED"
    await rig.files.stop()


async def test_a_card_that_hangs_from_the_start_keeps_nothing_waiting(rig, capsys):
    rig.hang()
    await rig.files.start()
    assert "SD card: the SD card does not answer" in capsys.readouterr().err
    assert await rig.files.status() is None
    await rig.files.stop()


def test_each_question_to_a_card_that_hangs_has_its_own_patience(tmp_path, gate):
    async def main(clock):
        card = SimulatedCard(SimulatedCard.OPTIONS.check({}), str(tmp_path))
        await card.start()
        card.before_write = lambda count: gate()
        files = CardFiles(card, str, clock=lambda: 0)
        calls = {
            "start": files.start,
            "status": files.status,
            "dir": lambda: files.dir("/"),
            "remove": lambda: files.remove("/a.txt"),
            "eject": files.eject,
            "stop": files.stop,
        }
        seconds = {}
        for name, call in calls.items():
            began = clock()
            await asyncio.gather(call(), return_exceptions=True)
            seconds[name] = round(clock() - began, 3)
        gate.open.set()
        return seconds

    assert run(main) == {"start": 2, "status": 1, "dir": 10, "remove": 30, "eject": 30, "stop": 3}


def test_a_card_that_cannot_be_let_go_is_waited_for_30_seconds(tmp_path):
    class Stuck(SimulatedCard):
        async def eject(self):
            await asyncio.sleep(100)

    async def main(clock):
        files = CardFiles(Stuck(Stuck.OPTIONS.check({}), str(tmp_path)), str)
        files._worker = Immediate()
        began = clock()
        with pytest.raises(Refused, match="do not take it out yet"):
            await files.eject()
        return round(clock() - began, 3)

    class Immediate:
        async def do(self, seconds, function, *args):
            return function(*args)

    assert run(main) == 30
