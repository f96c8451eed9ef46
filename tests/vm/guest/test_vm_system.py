"""The board itself: a PC with a serial number, run by systemd."""

import re

from hal.linux.host import system
from hal.linux.host.system import LinuxSystem

SERIAL_NUMBER = "VM-252-0001"  # as run.py gives it to the machine


def make(folder):
    return LinuxSystem(LinuxSystem.OPTIONS.check({"interface": "eth0"}), str(folder))


async def test_the_board_is_known_by_its_interface_and_serial_number(tmp_path):
    part = make(tmp_path)
    identity = part.identity()
    assert identity["mac"] == "52:54:00:12:34:56"
    assert identity["uniqueMac"] is False  # administered locally
    assert system.serial_number() == SERIAL_NUMBER
    assert await part.probe() == f"MAC 52:54:00:12:34:56 (not unique), serial number {SERIAL_NUMBER}"


def test_the_free_memory_is_that_of_the_machine(tmp_path):
    assert 100 << 20 < make(tmp_path).memory_free() < 1 << 30


def test_the_first_interface_with_hardware_is_the_boards():
    assert system.board_interface() == "eth0"


RESTART = """
import sys, tempfile
from hal.contracts import NotPermitted
from hal.linux.host.system import LinuxSystem
with tempfile.TemporaryDirectory() as folder:
    part = LinuxSystem(LinuxSystem.OPTIONS.check({}), folder)
    try:
        part.restart("TEST")
    except NotPermitted as exc:
        print(exc)
"""


def test_a_user_whom_polkit_does_not_know_cannot_restart_the_machine_and_is_told_why(as_nobody):
    told = as_nobody(RESTART).strip()
    assert re.search("cannot be restarted: .*CAP_SYS_BOOT, or the right to org.freedesktop.login1.reboot", told), told
