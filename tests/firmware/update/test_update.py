"""An update as a user has it: published in a folder, brought, installed, started; a bad one comes back by itself.

The device is the simulated board under its real start command; the bundles are of this checkout, changed a little.
"""

import os
import shutil
import time

import pytest

from deploy.updates.bundle import collect, write_bundle
from deploy.updates.publish import entry_of, write_index
from firmware import VERSION
from hal.linux.update.folders import architecture
from tests.firmware.running import BOARD, Running
from tests.firmware.update.web import Web
from tests.hal.update.keys import DAY, Maker

NEXT, BROKEN = "0.9.0", "0.9.1"
EVER_AFTER = int(time.time()) + 1000 * DAY

DEAF = """

async def _never(self, line):
    raise PortFailed("this version has no port")


SimulatedPort._open = _never
"""

CHANGES = {  # what a bundle does wrong: file, and what is put at its end
    "well": ("firmware/__init__.py", ""),
    "crashes": ("firmware/__init__.py", "raise RuntimeError('this version crashes')\n"),
    "hangs": ("firmware/__init__.py", "import time; time.sleep(3600)\n"),
    "deaf": ("hal/simulated/rs485.py", DEAF),
}


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """The firmware and what it needs, as a bundle holds it; collected once, for it takes seconds."""
    folder = tmp_path_factory.mktemp("tree")
    collect(folder)
    return folder


@pytest.fixture(scope="session")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("maker") / "keys", 0, EVER_AFTER)


@pytest.fixture(scope="session")
def bundles(tree, maker, tmp_path_factory):
    """name of a change -> the bundle, made when first asked for."""
    made = {}

    def bundle(change, version=NEXT):
        if (change, version) not in made:
            made[change, version] = make_bundle(tree, maker, tmp_path_factory.mktemp("bundle"), change, version)
        return made[change, version]

    return bundle


def make_bundle(tree, maker, folder, change, version):
    work = folder / "tree"
    shutil.copytree(tree, work, copy_function=os.link)
    name, more = CHANGES[change]
    edit(work, "firmware/__init__.py", lambda text: text.replace(f'"{VERSION}"', f'"{version}"'))
    edit(work, name, lambda text: text + more)
    out = folder / f"{version}-{change}.bundle"
    header = {"version": version, "minVersion": "0.0.0", "compatible": ["simulated"], "architecture": architecture()}
    write_bundle(work, out, maker.folder, header, level=1)
    return out


def edit(tree, name, change):
    """Change a file that is linked elsewhere too; what was compiled of it goes."""
    path = tree / name
    text = change(path.read_text())
    path.unlink()
    path.write_text(text)
    for compiled in (path.parent / "__pycache__").glob(path.stem + ".*"):
        compiled.unlink()


class Supervised(Running):
    """The simulated board under the start command, with a folder of updates on a web server."""

    def __init__(self, state, maker, url, **options):
        part = {"driver": "folders", "keys": str(maker.keyring_path), "compatible": "simulated"}
        settings = dict(BOARD["settings"], download={"url": url, "enabled": True})
        updater = dict(part, healthySec=1, trialSec=4, readySec=5, **options)
        super().__init__(state, dict(BOARD, settings=settings, updater=updater))

    module = "hal.linux.update.supervisor"

    def version(self):
        return self.client.get("api/version/").json()["firmwareVer"]

    def update_state(self):
        self.login()
        return self.get("state/get/?fwUpdate")["fwUpdate"]

    def await_announcement(self, seconds=60):
        """Read the next line that says where the device is; it has started anew."""
        self.client.close()
        self.read_announcement()
        assert self.line, self.process.stderr.read()

    def stop_and_read(self):
        """What it has said on its standard error."""
        self.process.terminate()
        return self.process.communicate(timeout=20)[1]

    def await_result(self, seconds=30):
        """State fwUpdate once the last update has a result."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.update_state()
            if state["lastResult"]:
                return state
            time.sleep(0.2)
        raise AssertionError(state)


@pytest.fixture
def web():
    with Web() as running:
        yield running


@pytest.fixture
def device(tmp_path, maker, web):
    with Supervised(tmp_path, maker, web.url) as running:
        yield running


def publish(web, maker, tmp_path, *bundles, **changes):
    """Serve bundles and an index of them."""
    folder = tmp_path / "published"
    folder.mkdir(exist_ok=True)
    entries = [dict(entry_of(path), channel="stable", rollout=100, notBefore=0, **changes) for path in bundles]
    write_index(folder, maker.folder, entries, 30)
    web.files = {path.name: path.read_bytes() for path in bundles}
    web.files["index.json"] = (folder / "index.json").read_bytes()


def number(version):
    major, minor, patch = version.split(".")
    return int(major) * 10000 + int(minor) * 100 + int(patch)


def test_an_update_is_brought_installed_and_stays(device, bundles, web, maker, tmp_path):
    publish(web, maker, tmp_path, bundles("well"))
    device.login()
    device.post("settings/saved/set/", {"timeGmt": 75})
    assert device.post("cmd/updates/download/") == {"status": "DONE", "errorCode": None}
    state = device.get("state/get/?fwUpdate")["fwUpdate"]
    assert (state["status"], state["availableVer"], state["progress"]) == ("READY", NEXT, 100)
    assert device.post("cmd/updates/program/")["status"] == "DONE"
    device.await_announcement()
    assert device.version() == number(NEXT), device.stop_and_read()
    state = device.await_result()
    assert (state["lastResult"], state["trial"], state["rolledBackFrom"]) == ("DONE", False, None)
    assert device.get("settings/active/get/?timeGmt") == {"timeGmt": 75}
    device.post("cmd/reboot/")
    device.await_announcement()
    assert device.version() == number(NEXT)


@pytest.mark.parametrize("change", ["crashes", "hangs", "deaf"])
def test_a_bad_update_comes_back_by_itself_and_says_why(device, bundles, web, maker, tmp_path, change):
    publish(web, maker, tmp_path, bundles(change, BROKEN))
    device.login()
    device.post("cmd/updates/download/")
    assert device.post("cmd/updates/program/")["status"] == "DONE"
    device.await_announcement()
    if device.version() == number(BROKEN):  # it can speak; it gives itself up
        device.await_announcement()
    assert device.version() == number(VERSION)
    state = device.update_state()
    assert (state["lastResult"], state["rolledBackFrom"]) == ("ROLLED_BACK", BROKEN)
    assert {"deaf": "RS-485 port"}.get(change, "3 starts") in state["lastError"]


def test_an_update_comes_from_the_card(tmp_path, maker, bundles, web):
    publish(web, maker, tmp_path, bundles("well"))
    with Supervised(tmp_path, maker, "card:/updates") as device:
        folder = tmp_path / "card" / "updates"
        folder.mkdir(parents=True)
        for name, data in web.files.items():
            (folder / name).write_bytes(data)
        device.login()
        assert device.post("cmd/updates/download/")["status"] == "DONE"
        end = time.monotonic() + 60
        while device.update_state()["status"] != "READY":
            assert time.monotonic() < end, device.update_state()
            time.sleep(0.2)
        assert device.post("cmd/updates/program/")["status"] == "DONE"
        device.await_announcement()
        assert device.version() == number(NEXT)


def test_without_a_newer_version_there_is_nothing_to_do(device, web, maker, tmp_path):
    publish(web, maker, tmp_path)
    device.login()
    assert device.post("cmd/updates/download/") == {"status": "DONE", "errorCode": None}
    answer = device.client.post("api/cmd/updates/program/", json={})
    assert (answer.status_code, answer.json()["error"]) == (409, "UPDATE_NONE")


def test_a_refused_bundle_says_why_and_leaves_nothing(device, bundles, web, maker, tmp_path):
    publish(web, maker, tmp_path, bundles("well"))
    bundle = bundles("well").name
    web.files[bundle] = web.files[bundle][:-1] + b"?"
    device.login()
    assert device.post("cmd/updates/download/") == {"status": "ERROR", "errorCode": "UPDATE_CHANGED"}
    state = device.get("state/get/?fwUpdate")["fwUpdate"]
    assert (state["status"], state["errorCode"]) == ("ERROR", "UPDATE_CHANGED")
    assert not list((tmp_path / "slots").glob("download*"))


def test_an_old_index_is_not_taken_again(device, web, maker, tmp_path):
    publish(web, maker, tmp_path)
    old = web.files["index.json"]
    publish(web, maker, tmp_path)
    device.login()
    assert device.post("cmd/updates/download/")["status"] == "DONE"
    web.files["index.json"] = old
    assert device.post("cmd/updates/download/") == {"status": "ERROR", "errorCode": "UPDATE_REPLAYED"}


def test_updates_that_are_not_allowed_are_refused(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        answer = device.client.post("api/cmd/updates/download/", json={})
        assert (answer.status_code, answer.json()["error"]) == (400, "UPDATE_DISABLED")
        answer = device.client.post("api/cmd/updates/download/", json={"allowOlder": True})
        assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
