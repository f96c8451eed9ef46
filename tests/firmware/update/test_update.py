"""An update as a user has it: published in a folder, brought, installed, started; a bad one comes back by itself.

The device is the simulated board under its real start command; the bundles are of this checkout, changed a little.
"""

import time

import pytest

from deploy.updates.bundle import collect
from firmware import VERSION
from tests.firmware.running import Running
from tests.firmware.update import kill_update
from tests.firmware.update.supervised import BROKEN, EVER_AFTER, NEXT, Supervised, make_bundle, number, publish
from tests.firmware.update.web import Web
from tests.hal.update.keys import Maker


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


@pytest.fixture
def web():
    with Web() as running:
        yield running


@pytest.fixture
def device(tmp_path, maker, web):
    with Supervised(tmp_path, maker, web.url) as running:
        yield running


def test_an_update_is_brought_installed_and_stays(device, bundles, web, maker, tmp_path):
    publish(web, maker, tmp_path, bundles("well"))
    device.login()
    device.post("settings/saved/set/", {"timeGmt": 75})
    assert device.post("cmd/updates/download/") == {"status": "DONE", "errorCode": None}
    state = device.get("state/get/?fwUpdate")["fwUpdate"]
    assert (state["status"], state["availableVer"], state["progress"]) == ("READY", NEXT, 100)
    assert device.post("cmd/updates/program/")["status"] == "DONE"
    session = device.client.headers["Authorization"]
    device.await_announcement()
    assert device.version() == number(NEXT), device.stop_and_read()
    ended = device.client.get("api/identify/", headers={"Authorization": session})
    assert (ended.status_code, "a restart of the device" in ended.json()["message"]) == (401, True)
    state = device.await_result()
    assert (state["lastResult"], state["trial"], state["rolledBackFrom"]) == ("DONE", False, None)
    assert device.get("settings/active/get/?timeGmt") == {"timeGmt": 75}
    device.post("cmd/reboot/")
    device.await_announcement()
    assert device.version() == number(NEXT)


@pytest.mark.parametrize("change", ["crashes", "hangs", "deaf"])
def test_a_bad_update_comes_back_by_itself_and_says_why(bundles, web, maker, tmp_path, change):
    publish(web, maker, tmp_path, bundles(change, BROKEN))
    options = {"readySec": 6} if change == "hangs" else {}
    with Supervised(tmp_path, maker, web.url, **options) as device:
        update_and_come_back(device, change)


def update_and_come_back(device, change):
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
    *others, last = web.files[bundle]
    web.files[bundle] = bytes([*others, last ^ 1])
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


def test_a_plug_that_is_pulled_in_the_middle_leaves_a_whole_firmware_and_its_settings():
    came_up = kill_update.run(1, seed=11)
    assert sum(came_up.values()) == 1
