"""Board configs of Linux boards: what is refused when the firmware starts, and what may come later."""

import json
import os
import pathlib
import subprocess
import sys
import types

import pytest

from hal import board
from hal.board import BadBoard, load_board
from hal.contracts import Part
from hal.fields import Field, Object, Text

ROOT = pathlib.Path(__file__).parents[3]
SHIPPED = ["raspberry-pi", "mc252"]


class FakeModem(Part):
    """A part with a tty."""

    OPTIONS = Object(Field("port", Text(255, 1)))

    def __init__(self, options, state_dir):
        pass


def write(tmp_path, **parts):
    path = tmp_path / "board.json"
    path.write_text(json.dumps({"board": "test", "system": {"driver": "linux"}, **parts}))
    return str(path)


@pytest.fixture
def tty():
    master, slave = os.openpty()
    yield os.ttyname(slave)
    os.close(master)
    os.close(slave)


def test_two_parts_on_one_tty_are_refused_by_whatever_name(tmp_path, monkeypatch, tty):
    module = types.ModuleType("fake_modem")
    vars(module)["FakeModem"] = FakeModem
    monkeypatch.setitem(sys.modules, "fake_modem", module)
    monkeypatch.setitem(board.DRIVERS, ("modem", "fake"), ("fake_modem", "FakeModem"))
    link = tmp_path / "by-id"
    link.symlink_to(tty)
    path = write(tmp_path, rs485={"driver": "tty", "port": tty}, modem={"driver": "fake", "port": str(link)})
    with pytest.raises(BadBoard, match=f"modem.port: {link} is the tty of rs485 already"):
        load_board(path, str(tmp_path))
    path = write(tmp_path, rs485={"driver": "tty", "port": tty}, modem={"driver": "fake", "port": tty + "9"})
    load_board(path, str(tmp_path))


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"rs485": {"driver": "tty", "port": "/dev/ttyAMA77"}}, r"rs485\.port: /dev/ttyAMA77 is not there"),
        ({"rs485": {"driver": "warp"}}, r"rs485\.driver: must be one of simulated, tty"),
        ({"clock": {"driver": "linux", "rtc": "/dev/rtc77"}}, r"clock\.rtc: /dev/rtc77 is not there"),
        ({"system": {"driver": "linux", "interface": "eth77"}}, r"system\.interface"),
        ({"card": {"driver": "linux"}}, r"card\.mountPoint: is missing"),
    ],
)
def test_what_cannot_be_there_ends_the_start_with_one_line(tmp_path, parts, problem):
    with pytest.raises(BadBoard, match=problem) as caught:
        load_board(write(tmp_path, **parts), str(tmp_path))
    assert "\n" not in str(caught.value)
    assert "board.json" in str(caught.value)


def test_the_process_ends_with_code_2_and_one_line(tmp_path):
    path = write(tmp_path, rs485={"driver": "tty", "port": "/dev/ttyS77"})
    command = [sys.executable, "-m", "firmware", "--board", path, "--state-dir", str(tmp_path / "state")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "/dev/ttyS77 is not there" in done.stderr


def test_an_adapter_and_a_card_may_come_later(tmp_path):
    parts = {
        "rs485": {"driver": "tty", "port": "/dev/serial/by-id/usb-none"},
        "card": {"driver": "linux", "mountPoint": "/media/none", "device": "/dev/sdz1"},
    }
    assert load_board(write(tmp_path, **parts), str(tmp_path)).rs485 is not None


@pytest.mark.parametrize("name", SHIPPED)
def test_the_options_of_the_shipped_configs_are_right(name):
    config = json.loads((ROOT / "board-configs" / f"{name}.json").read_text())
    assert config["board"] == name
    for part in board.PARTS:
        options = dict(config[part] or {})
        if options:
            module, backend = board.DRIVERS[(part, options.pop("driver"))]
            getattr(__import__(module, None, None, (backend,)), backend).OPTIONS.check(options, part)
