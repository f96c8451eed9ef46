"""What starts: the system's own firmware, a slot, a slot on trial; and what comes back when that does not do.

The firmware in these slots is a few lines that behave well or badly; the supervisor is the real one, in a process.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from hal.update.bundle import open_bundle
from hal.update.signed import Moment
from hal.update.slots import Slots
from tests.firmware.running import ROOT
from tests.hal.update.keys import NOW, Maker

READY = """
import os, socket
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.connect(os.environ["NOTIFY_SOCKET"])
sock.send(b"READY=1")
"""
WELL = READY + 'print("runs", VERSION, flush=True)\n'
CRASHES = 'print("crashes", VERSION, flush=True); raise SystemExit(3)'
HANGS = 'import time; print("hangs", VERSION, flush=True); time.sleep(60)'
RESTARTS = READY + 'print("restarts", VERSION, flush=True); raise SystemExit(75)'


@pytest.fixture
def rig(tmp_path):
    return Rig(tmp_path)


class Rig:
    """Slots, a maker's keys and a board config in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = Maker(folder / "keys")
        self.slots = Slots(str(folder / "slots"))
        part = {"driver": "folders", "keys": str(self.maker.keyring_path), "compatible": "simulated"}
        part["readySec"] = 1
        (folder / "board.json").write_text(json.dumps({"board": "x", "updater": part}))

    def fill(self, slot, version, code, **header):
        files = {
            "firmware/__init__.py": f'VERSION = "{version}"\n'.encode(),
            "firmware/__main__.py": program(code),
        }
        path = self.maker.bundle(self.folder / "bundle", files, version=version, **header)
        list(self.slots.filling(slot, open_bundle(str(path), self.maker.keyring, Moment(NOW, NOW))))

    def run(self, system=WELL, seconds=20):
        """Lines that the firmwares print until one ends well, `system` being the one that came with the system."""
        # The system's own firmware is this checkout with another __main__, so that it is quick.
        home = self.folder / "system"
        if not home.exists():
            (home / "firmware").mkdir(parents=True)
            (home / "hal").symlink_to(ROOT / "hal")
            (home / "firmware" / "__init__.py").write_text('VERSION = "0.2.0"\n')
            (home / "firmware" / "__main__.py").write_bytes(program(system))
        done = subprocess.run(
            [sys.executable, "-m", "hal.linux.update.supervisor", *self.arguments()],
            cwd=home,
            env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        self.said = done.stderr
        self.code = done.returncode
        return done.stdout.splitlines()

    def arguments(self):
        return ["--board", str(self.folder / "board.json"), "--state-dir", str(self.folder)]


def program(code):
    body = textwrap.indent(textwrap.dedent(code), "    ")
    return f"from firmware import VERSION\n\n\ndef main():\n{body}\n".encode()


def test_without_an_update_the_systems_own_firmware_starts(rig):
    assert rig.run() == ["runs 0.2.0"]


def test_the_current_slot_starts(rig):
    rig.fill("a", "1.0.0", WELL)
    rig.slots.change(current="a")
    assert rig.run() == ["runs 1.0.0"]


def test_a_trial_starts_before_the_current_one_until_it_has_had_its_starts(rig):
    rig.fill("a", "1.0.0", WELL)
    rig.fill("b", "1.1.0", WELL)
    rig.slots.change(current="a")
    rig.slots.begin_trial("b")
    assert rig.run() == ["runs 1.1.0"] * 3 + ["runs 1.0.0"]


def test_a_trial_that_was_confirmed_is_the_current_one(rig):
    rig.fill("b", "1.1.0", WELL)
    rig.slots.begin_trial("b")
    rig.slots.confirm()
    assert rig.run() == ["runs 1.1.0"]
    assert rig.slots.state()["result"] == "DONE"


def test_a_trial_that_crashes_is_given_up_after_three_starts(rig):
    rig.fill("a", "1.0.0", WELL)
    rig.fill("b", "1.1.0", CRASHES)
    rig.slots.change(current="a")
    rig.slots.begin_trial("b")
    assert rig.run() == ["crashes 1.1.0"] * 3 + ["runs 1.0.0"]
    state = rig.slots.state()
    assert (state["result"], state["rolledBackFrom"]) == ("ROLLED_BACK", "1.1.0")
    assert state["error"] == "it did not become healthy in 3 starts, the last of which ended with SystemExit: 3"


def test_a_trial_that_hangs_is_ended_and_given_up(rig):
    rig.fill("b", "1.1.0", HANGS)
    rig.slots.begin_trial("b")
    assert rig.run() == ["hangs 1.1.0"] * 3 + ["runs 0.2.0"]
    assert "the last of which ended with a hang" in rig.slots.state()["error"]


def test_why_a_trial_crashed_is_told_however_it_is_written(rig):
    rig.fill("a", "1.0.0", WELL)
    rig.fill("b", "1.1.0", 'raise ValueError("two\\nlines" + "!" * 1000)')
    rig.slots.change(current="a")
    rig.slots.begin_trial("b")
    assert rig.run() == ["runs 1.0.0"]
    assert "ended with ValueError: two lines!!!" in rig.slots.state()["error"]


def test_what_a_start_before_the_last_one_said_is_not_told(rig):
    dies = 'import os; n = os.environ.get("HOME"); path = "starts"\n'
    dies += 'with open(path, "a") as file: file.write("x")\n'
    dies += 'if os.stat(path).st_size < 3: raise ValueError("the first")\nos.kill(os.getpid(), 9)'
    rig.fill("b", "1.1.0", dies)
    rig.slots.begin_trial("b")
    assert rig.run() == ["runs 0.2.0"]
    assert rig.slots.state()["error"] == "it did not become healthy in 3 starts"


def test_a_firmware_that_asks_for_it_is_started_anew(rig):
    rig.fill("b", "1.1.0", RESTARTS)
    rig.slots.begin_trial("b")
    assert rig.run() == ["restarts 1.1.0"] * 3 + ["runs 0.2.0"]


def test_a_firmware_that_is_not_on_trial_ends_with_its_own_code(rig):
    rig.fill("a", "1.0.0", CRASHES)
    rig.slots.change(current="a")
    assert rig.run() == ["crashes 1.0.0"]
    assert rig.code == 3


@pytest.mark.parametrize("change", ["edit", "add", "compiled", "remove", "link", "header"])
def test_a_slot_that_was_changed_never_starts(rig, change):
    rig.fill("a", "1.0.0", WELL)
    rig.slots.change(current="a")
    firmware = rig.folder / "slots" / "a" / "firmware"
    if change == "edit":
        (firmware / "__main__.py").write_bytes((firmware / "__main__.py").read_bytes().replace(b"runs", b"owns"))
    elif change == "add":
        (firmware / "json.py").write_text("print('owned')")
    elif change == "compiled":
        (firmware / "__pycache__").mkdir()
        (firmware / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"owned")
    elif change == "remove":
        (firmware / "__main__.py").unlink()
    elif change == "link":
        (firmware / "__main__.py").rename(rig.folder / "elsewhere.py")
        (firmware / "__main__.py").symlink_to(rig.folder / "elsewhere.py")
    else:
        header = rig.folder / "slots" / "a" / "bundle.json"
        header.write_text(header.read_text().replace("1.0.0", "1.0.1"))
    assert rig.run() == ["runs 0.2.0"]
    assert "slot a" in rig.said


def test_a_slot_signed_by_another_maker_never_starts(rig, tmp_path):
    rig.fill("a", "1.0.0", WELL)
    rig.slots.change(current="a")
    rig.maker.keyring_path.write_text(json.dumps(Maker(tmp_path / "other").content))
    assert rig.run() == ["runs 0.2.0"]


def test_a_revoked_key_starts_nothing(rig):
    rig.fill("a", "1.0.0", WELL)
    rig.slots.change(current="a")
    content = dict(rig.maker.content, revoked=[json.loads(rig.maker.certificate["payload"])["key"]])
    rig.maker.keyring_path.write_text(json.dumps(content))
    assert rig.run() == ["runs 0.2.0"]


def test_a_firmware_that_the_system_brings_newer_wins(rig):
    rig.fill("a", "0.1.9", WELL)
    rig.slots.change(current="a")
    assert rig.run() == ["runs 0.2.0"]


def test_a_slot_is_not_read_through_the_paths_of_the_outside(rig, tmp_path, monkeypatch):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "sitecustomize.py").write_text("print('owned', flush=True)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "evil"))
    rig.fill("a", "1.0.0", WELL)
    rig.slots.change(current="a")
    assert rig.run()[-1] == "runs 1.0.0"
    assert not [line for line in rig.run() if line == "owned"][
        1:
    ]  # the supervisor's own Python obeys it, the slot's not


def test_the_state_may_be_damaged(rig):
    rig.slots.change(current="a")
    (rig.folder / "slots" / "state.json").write_bytes(b"\xff\x00{")
    assert rig.run() == ["runs 0.2.0"]


def test_signals_reach_the_firmware(rig):
    waits = (
        READY + 'import signal; print("waits", flush=True); signal.sigwait([signal.SIGTERM]); print("told", flush=True)'
    )
    waits = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n" + textwrap.dedent(waits)
    rig.fill("a", "1.0.0", waits)
    rig.slots.change(current="a")
    process = subprocess.Popen(
        [sys.executable, "-m", "hal.linux.update.supervisor", *rig.arguments()],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waits\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=10)[0] == "told\n"
    assert process.returncode == 0
