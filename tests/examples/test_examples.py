"""The programs in examples/, run as their first lines say, against a device in a process of its own."""

import subprocess
import sys

import pytest

from tests.firmware.running import ROOT, Running

LOGIN = ("admin", "mc252-sim")


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("state")) as running:
        yield running


def run_example(name, *arguments):
    command = [sys.executable, str(ROOT / "examples" / name), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def url(device):
    return device.line.split(",")[0]


def modbus_port(device):
    return device.line.split(", ")[1].rsplit(":", 1)[1]


def test_registers_are_read_over_http(device):
    assert run_example("read_registers_http.py", url(device), *LOGIN).stdout == "0: 252\n1: 104\n2: 2300\n3: 5000\n"


def test_registers_are_read_over_modbus_tcp(device):
    done = run_example("read_registers_modbus_tcp.py", "127.0.0.1", modbus_port(device))
    assert done.stdout == "0: 252\n1: 104\n2: 2300\n3: 5000\n"


def test_a_search_is_waited_for(device):
    done = run_example("search_devices.py", url(device), *LOGIN, 1, 2)
    assert done.stdout == "unit 1 at 9600 bit/s: answer\nunit 2 at 9600 bit/s: answer\n"


def test_a_wrong_password_is_told_in_words(device):
    done = run_example("read_registers_http.py", url(device), "admin", "wrong")
    assert done.returncode == 1
    assert "BAD_CREDENTIALS" in done.stderr


def test_a_unit_that_gives_no_registers_is_told_in_words(device):
    done = run_example("read_registers_modbus_tcp.py", "127.0.0.1", modbus_port(device), 33, 1001)
    assert done.returncode == 1
    assert "unit 33" in done.stderr
