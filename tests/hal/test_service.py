"""The life cycle of whatever runs in the background, on both runtimes: the same script, the same answers."""

import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from hal.service import RETRY_PAUSES, Pauses, Trouble

ROOT = pathlib.Path(__file__).parents[2]

SCRIPT = """
import asyncio, json
from hal.service import Service

said = {}

class Ticker(Service):
    def __init__(self, ends=False):
        self.ends = ends
        self.trail = []

    async def start(self):
        self.keep_running(self.tick())
        self.spawn(self.pass_by())

    async def stop(self):
        await super().stop()
        self.trail.append("stopped")

    async def tick(self):
        try:
            while not self.ends:
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0.01)
            self.trail.append("ended")

    async def pass_by(self):
        await asyncio.sleep(0)
        self.trail.append("passed")

class Faulty(Service):
    async def start(self):
        self.keep_running(self.fail())

    async def fail(self):
        raise ValueError("as the test wants it")

class Ending(Service):
    async def start(self):
        self.keep_running(self.end())

    async def end(self):
        await asyncio.sleep(0)
        await self.stop()
        said["stopped by itself"] = True
        await asyncio.sleep(0)

async def main():
    idle = Service()
    said["one with nothing to do is alive"] = idle.is_alive()
    await idle.stop()

    ticker = Ticker()
    await ticker.start()
    await asyncio.sleep(0.02)
    said["alive"] = ticker.is_alive()
    await ticker.stop()
    await ticker.stop()
    said["trail"] = list(ticker.trail)
    said["alive after stop"] = ticker.is_alive()
    await ticker.start()
    await asyncio.sleep(0.02)
    said["alive again"] = ticker.is_alive()
    await ticker.stop()

    for name, service in (("ends", Ticker(ends=True)), ("fails", Faulty())):
        await service.start()
        await asyncio.sleep(0.05)
        said["alive where it " + name] = service.is_alive()
        await service.stop()

    ending = Ending()
    await ending.start()
    await asyncio.sleep(0.05)

    ticker = Ticker()
    await ticker.start()
    await asyncio.sleep(0)
    stopping = asyncio.create_task(ticker.stop())
    await asyncio.sleep(0)
    stopping.cancel()
    try:
        await stopping
        said["a stop that is cancelled ends"] = False
    except asyncio.CancelledError:
        said["a stop that is cancelled ends"] = True
    print(json.dumps(said))

asyncio.run(main())
"""


def pythons():
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return [sys.executable, str(beside) if beside.exists() else shutil.which("micropython")]


@pytest.mark.parametrize("python", pythons())
def test_a_service_runs_from_start_to_stop_and_knows_whether_it_lives(python):
    if python is None:
        pytest.skip("no MicroPython here")
    environment = {"PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}
    done = subprocess.run([python, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=30)
    assert "ValueError: as the test wants it" in done.stderr
    assert json.loads(done.stdout) == {
        "one with nothing to do is alive": True,
        "alive": True,
        "trail": ["passed", "ended", "stopped", "stopped"],
        "alive after stop": True,
        "alive again": True,
        "alive where it ends": False,
        "alive where it fails": False,
        "stopped by itself": True,
        "a stop that is cancelled ends": True,
    }


def test_pauses_grow_to_the_last_one_and_begin_anew_when_it_works():
    pauses = Pauses()
    assert [pauses.next() for _ in range(len(RETRY_PAUSES) + 2)] == [*RETRY_PAUSES, RETRY_PAUSES[-1], RETRY_PAUSES[-1]]
    pauses.reset()
    assert pauses.next() == RETRY_PAUSES[0]


def test_a_reason_is_logged_once_until_it_is_another_one(capsys):
    trouble = Trouble("card")
    for reason in ("it is full", "it is full", "it is locked", "it is full"):
        trouble.tell(reason)
    trouble.end("works again")
    trouble.end("works again")
    trouble.tell("it is full")
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "card: it is full",
        "card: it is locked",
        "card: it is full",
        "card: works again",
        "card: it is full",
    ]
