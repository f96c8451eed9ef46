"""Pulls the plug in the middle of an update, again and again: a whole firmware must come up, with its settings.

    python -m tests.firmware.update.kill_update [RUNS [SEED [BESIDE]]]

Each run brings and installs a bundle, and kills the whole process tree at a random moment of the download, the
installation, the switch or the first start. What starts then is the old firmware or the new one, and nothing else; a
download goes on where it was; an update that is asked for again succeeds. BESIDE runs are made at a time.
"""

import json
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from deploy.updates.bundle import collect
from firmware import VERSION
from tests.firmware.update.supervised import EVER_AFTER, NEXT, Supervised, make_bundle, number, publish
from tests.firmware.update.web import Web
from tests.hal.update.keys import Maker

MARK = 75  # a setting that is made before, and must be there after
PHASES = ("download", "installation", "first start")
LONGEST_SEC = 2.0  # from the begin of a phase until the plug is pulled


class Slow(Web):
    """A web server that takes its time over a bundle, so that the plug is pulled in the middle of one, too."""

    def send(self, request, data, asked_range, fault):
        if len(data) > 100_000:
            time.sleep(0.3)
        super().send(request, data, asked_range, fault)


class Plug(Supervised):
    """A device whose whole process tree can be killed at once."""

    def pull(self):
        """Kill the supervisor, the firmware and the simulated world: stopped first, so that none starts another."""
        tree: set[int] = set()
        while not (found := {self.process.pid, *descendants(self.process.pid)}) <= tree:
            tree = found
            send(tree, signal.SIGSTOP)
        send(tree, signal.SIGKILL)
        self.process.communicate(timeout=20)


def send(pids, number):
    """A signal to those of the processes that are there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def descendants(pid):
    """Process ids of all children, and theirs."""
    found = []
    for task in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((task / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found += [int(task.name), *descendants(int(task.name))]
    return found


def update(device, begun):
    """Bring and install, whatever of it is still to be done; errors are those of a plug that was pulled. `begun` holds
    an event for each phase."""
    try:
        device.login()
        begun["download"].set()
        device.client.post("api/cmd/updates/download/", json={}, timeout=60)
        while device.get("state/get/?fwUpdate")["fwUpdate"]["status"] in ("CHECKING", "DOWNLOADING"):
            time.sleep(0.02)
        begun["installation"].set()
        device.client.post("api/cmd/updates/program/", json={}, timeout=60)
        wait_for_trial(device.state / "slots" / "state.json")  # on a slow medium the answer comes before
    except (httpx.HTTPError, AssertionError, KeyError, ValueError):
        pass
    begun["first start"].set()


def wait_for_trial(path):
    """Until the new firmware is the one that starts next, or it is known that it will not."""
    end = time.monotonic() + 120
    while time.monotonic() < end and not (path.exists() and json.loads(path.read_text())["trial"]):
        time.sleep(0.02)


def events():
    return {phase: threading.Event() for phase in PHASES}


def one_run(folder, maker, web, phase, after):
    """An update that is broken off so many seconds after the begin of a phase; the version that came up."""
    device = Plug(folder, maker, web.url, trialSec=60)
    device.read_announcement()
    device.login()
    device.post("settings/saved/set/", {"timeGmt": MARK})
    begun = events()
    worker = threading.Thread(target=update, args=(device, begun))
    worker.start()
    begun[phase].wait(120)
    time.sleep(after)
    device.pull()
    worker.join()
    device.client.close()
    with Plug(folder, maker, web.url, trialSec=60) as device:
        version = device.version()
        assert version in (number(VERSION), number(NEXT)), version
        assert phase != "first start" or version == number(NEXT), "what was installed does not start"
        device.login()
        assert device.get("settings/saved/get/?timeGmt") == {"timeGmt": MARK}
        if version == number(VERSION):
            finish(device, folder, web)
        state = device.await_result(120)
        assert state["lastResult"] == "DONE", state
        assert device.version() == number(NEXT)
    return version


def finish(device, folder, web):
    """Ask for the update again, whose download goes on where it was."""
    have = (folder / "slots" / "download").stat().st_size if (folder / "slots" / "download").exists() else 0
    web.asked = []
    update(device, events())
    asked = [asked_range for name, asked_range in web.asked if name.endswith(".bundle")]
    assert asked in ([], [f"bytes={have}-" if have else None]), (asked, have)
    device.await_announcement()


def run(runs, seed, beside=1, told=lambda line: None):
    """Pull the plug so often; how often which version came up after a plug that was pulled in which phase."""
    rng = random.Random(seed)
    moments = [(rng.choice(PHASES), rng.uniform(0, LONGEST_SEC)) for _ in range(runs)]
    came_up: dict[tuple[str, int], int] = {}
    with tempfile.TemporaryDirectory(prefix="mc252-kill-") as folder:
        home = pathlib.Path(folder)
        (home / "tree").mkdir()
        collect(home / "tree")
        maker = Maker(home / "keys", 0, EVER_AFTER)
        (home / "made").mkdir()
        bundle = make_bundle(home / "tree", maker, home / "made", "well", NEXT)

        def one(number_of_run):
            state = home / f"run{number_of_run}"
            state.mkdir()
            with Slow() as web:
                publish(web, maker, state, bundle)
                version = one_run(state, maker, web, *moments[number_of_run])
            shutil.rmtree(state)
            told(f"run {number_of_run}: {moments[number_of_run]}: {version}")
            return moments[number_of_run][0], version

        with ThreadPoolExecutor(beside) as pool:
            for found in pool.map(one, range(runs)):
                came_up[found] = came_up.get(found, 0) + 1
    return came_up


if __name__ == "__main__":
    COUNT, SEED, BESIDE = [*map(int, sys.argv[1:]), *(200, int(time.time()), 4)[len(sys.argv) - 1 :]]
    print(f"{COUNT} runs, seed {SEED}; came up: {run(COUNT, SEED, BESIDE, lambda line: print(line, flush=True))}")
