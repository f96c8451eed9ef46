"""The Linux board's clock: the real question for the privilege, and a fake of setting it and of the RTC's driver."""

import calendar
import os
import shutil
import struct
import subprocess
import sys
import time

import pytest

from hal.contracts import NotPermitted, PartError
from hal.fields import BadField
from hal.linux import libc
from hal.linux.clock import LinuxClock
from tests.hal.rigs import MOMENT, FakeTime


@pytest.fixture
def board(monkeypatch, tmp_path):
    return FakeTime(monkeypatch, tmp_path)


async def test_setting_the_time_sets_the_system_clock_and_the_rtc(board):
    part = board.clock()
    await part.start()
    part.set(calendar.timegm((2032, 12, 31, 7, 8, 9)) * 1000 + 250)
    assert part.now() == calendar.timegm((2032, 12, 31, 7, 8, 9)) * 1000 + 250
    assert board.registers == struct.pack("9i", 9, 8, 7, 31, 11, 132, 0, 0, 0)


async def test_a_system_clock_behind_the_rtc_is_set_by_it_at_start(board):
    board.now = 0.0
    await board.clock().start()
    assert board.now == MOMENT


async def test_a_system_clock_ahead_of_the_rtc_is_left_alone(board):
    board.now = MOMENT + 1000.0
    await board.clock().start()
    assert board.now == MOMENT + 1000.0


@pytest.mark.parametrize("year", [70, 100, 250])
async def test_an_rtc_that_has_lost_the_time_is_told_but_sets_nothing(board, year, capsys):
    board.now = 5.0
    board.registers = struct.pack("9i", 0, 0, 0, 1, 0, year, 0, 0, 0)
    part = board.clock()
    await part.start()
    assert board.now == 5.0
    assert "has lost the time" in capsys.readouterr().err
    with pytest.raises(PartError, match="has lost the time"):
        await part.probe()


async def test_an_rtc_that_fails_neither_keeps_the_device_down_nor_the_system_clock_from_being_set(board):
    board.error = OSError(5, "Input/output error")
    part = board.clock()
    await part.start()
    with pytest.raises(PartError, match=r"RTC .* fails: Input/output error"):
        part.set(MOMENT * 1000 + 60000)
    assert board.now == MOMENT + 60


async def test_missing_privilege_is_told_at_start(board):
    board.allowed = False
    part = board.clock()
    with pytest.raises(NotPermitted, match="CAP_SYS_TIME"):
        await part.start()
    with pytest.raises(NotPermitted, match="CAP_SYS_TIME"):
        await part.probe()
    with pytest.raises(NotPermitted, match="CAP_SYS_TIME"):
        part.set(MOMENT * 1000)


async def test_an_rtc_that_may_not_be_opened_is_told_at_start(board):
    board.error = PermissionError(13, "Permission denied")
    with pytest.raises(NotPermitted, match="may not use the RTC"):
        await board.clock().start()


async def test_a_clock_that_the_system_keeps_needs_no_privilege_and_is_not_set(board):
    board.allowed = False
    part = board.clock(setBy="system")
    await part.start()
    with pytest.raises(NotPermitted, match="time service"):
        part.set(0)
    assert "RTC +0 s" in await part.probe()
    assert "no RTC" in await board.clock(setBy="system", rtc=None).probe()


def test_an_rtc_that_is_not_there_is_a_bad_board():
    with pytest.raises(BadField, match=r"clock\.rtc: /dev/rtc77 is not there"):
        LinuxClock(LinuxClock.OPTIONS.check({"rtc": "/dev/rtc77"}), "")


def test_the_kernel_is_asked_for_the_privilege_without_touching_the_clock():
    before = time.time() - time.monotonic()
    assert libc.may_set_clock() == _has_privilege()
    assert abs(time.time() - time.monotonic() - before) < 0.01


def _has_privilege():
    with open("/proc/self/status") as file:
        return any(line.startswith("CapEff") and int(line.split()[1], 16) >> 25 & 1 for line in file)


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="drops a privilege: needs to be root")
def test_a_process_without_the_privilege_is_told_so_by_the_kernel():
    script = "from hal.linux import libc; print(libc.may_set_clock())"
    command = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == "False\n"
