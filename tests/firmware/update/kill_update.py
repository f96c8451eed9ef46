"""Pulls the plug in the middle of an update, again and again: a whole firmware must come up, with its settings.

    python -m tests.firmware.update.kill_update [RUNS [SEED]]

Each run brings and installs a bundle, and kills the whole process tree at a random moment of the download, the
installation, the switch or the first start. What starts then is the old firmware or the new one, and nothing else; a
download goes on where it was; an update that is asked for again succeeds.
"""

import os
import pathlib
import random
import signal
import sys
import tempfile
import threading
import time

import httpx

from deploy.updates.bundle import collect
from firmware import VERSION
from tests.firmware.update.supervised import EVER_AFTER, NEXT, Supervised, make_bundle, number, publish
from tests.firmware.update.web import Web
from tests.hal.update.keys import Maker

MARK = 75  # a setting that is made before, and must be there after


class Slow(Web):
    """A web server that takes its time over a bundle, so that the plug is pulled in the middle of one, too."""

    def send(self, request, data, asked_range, fault):
        if len(data) > 100_000:
            time.sleep(0.3)
        super().send(request, data, asked_range, fault)


class Plug(Supervised):
    """A device whose whole process tree can be killed at once."""

    def pull(self):
        """Kill the supervisor, the firmware and the simulated world."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.communicate(timeout=20)


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


def update(device):
    """Bring and install, whatever of it is still to be done; errors are those of a plug that was pulled."""
    try:
        device.login()
        device.client.post("api/cmd/updates/download/", json={}, timeout=60)
        while device.get("state/get/?fwUpdate")["fwUpdate"]["status"] in ("CHECKING", "DOWNLOADING"):
            time.sleep(0.02)
        device.client.post("api/cmd/updates/program/", json={}, timeout=60)
    except (httpx.HTTPError, AssertionError, KeyError, ValueError):
        pass


def one_run(folder, maker, web, after):
    """An update that is broken off after so many seconds; the version that came up."""
    device = Plug(folder, maker, web.url, trialSec=60)
    device.read_announcement()
    device.login()
    device.post("settings/saved/set/", {"timeGmt": MARK})
    worker = threading.Thread(target=update, args=(device,))
    worker.start()
    time.sleep(after)
    device.pull()
    worker.join()
    device.client.close()
    with Plug(folder, maker, web.url, trialSec=60) as device:
        version = device.version()
        assert version in (number(VERSION), number(NEXT)), version
        device.login()
        assert device.get("settings/saved/get/?timeGmt") == {"timeGmt": MARK}
        if version == number(VERSION):
            finish(device, folder, web)
        state = device.await_result()
        assert state["lastResult"] == "DONE", state
        assert device.version() == number(NEXT)
    return version


def finish(device, folder, web):
    """Ask for the update again, whose download goes on where it was."""
    have = (folder / "slots" / "download").stat().st_size if (folder / "slots" / "download").exists() else 0
    web.asked = []
    update(device)
    asked = [asked_range for name, asked_range in web.asked if name.endswith(".bundle")]
    assert asked in ([], [f"bytes={have}-" if have else None]), (asked, have)
    device.await_announcement()


def run(runs, seed, longest=9.0):
    """Pull the plug so often; what came up, counted by version."""
    rng = random.Random(seed)
    came_up: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="mc252-kill-") as folder, Slow() as web:
        home = pathlib.Path(folder)
        (home / "tree").mkdir()
        collect(home / "tree")
        maker = Maker(home / "keys", 0, EVER_AFTER)
        (home / "made").mkdir()
        bundle = make_bundle(home / "tree", maker, home / "made", "well", NEXT)
        for number_of_run in range(runs):
            state = home / f"run{number_of_run}"
            state.mkdir()
            publish(web, maker, state, bundle)
            version = one_run(state, maker, web, rng.uniform(0, longest))
            came_up[version] = came_up.get(version, 0) + 1
    return came_up


if __name__ == "__main__":
    COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    SEED = int(sys.argv[2]) if len(sys.argv) > 2 else int(time.time())
    print(f"{COUNT} runs, seed {SEED}; came up: {run(COUNT, SEED)}")
