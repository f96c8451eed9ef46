"""The clock on a real RTC, and on the system clock of a machine where it may be moved."""

import pathlib
import re
import time

import pytest

from hal.linux.clock import LinuxClock

RTC = pathlib.Path("/sys/class/rtc/rtc0/since_epoch")
DAY = 86400


@pytest.fixture(autouse=True)
def own_time(run):
    began, since = time.time(), time.monotonic()
    yield
    time.clock_settime(time.CLOCK_REALTIME, began + time.monotonic() - since)
    run("hwclock", "--systohc", "--utc")


def make(**options):
    return LinuxClock(LinuxClock.OPTIONS.check({"rtc": "/dev/rtc0", **options}), "")


def rtc_seconds():
    return int(RTC.read_text())


def test_setting_the_time_moves_the_system_clock_and_the_rtc(run):
    moment = time.time() + 400 * DAY
    make().set(int(moment * 1000))
    assert 0 <= time.time() - moment < 5
    assert abs(rtc_seconds() - time.time()) <= 1
    assert run("hwclock", "--show", "--utc").startswith(time.strftime("%Y-%m-%d", time.gmtime(moment)))


def test_times_around_a_leap_day_and_new_year_come_back_from_the_rtc():
    for moment in (1835395199, 1861919999, 1735689599, 4102444700):  # 2028-02-28, 2028-12-31, 2024-12-31, 2099-12-31
        make().set(moment * 1000)
        assert 0 <= rtc_seconds() - moment <= 2


async def test_a_system_clock_behind_the_rtc_catches_up_at_start():
    moment = time.time()
    time.clock_settime(time.CLOCK_REALTIME, moment - 1000 * DAY)
    clock = make()
    await clock.start()
    assert abs(clock.now() / 1000 - moment) < 5
    assert re.search("RTC [+-][01] s", await clock.probe())


async def test_a_system_clock_ahead_of_the_rtc_is_left_alone():
    moment = time.time() + 10 * DAY
    time.clock_settime(time.CLOCK_REALTIME, moment)
    await make().start()
    assert abs(time.time() - moment) < 5


async def test_an_rtc_that_has_lost_the_time_keeps_nobody_from_starting(run, capsys):
    run("hwclock", "--set", "--utc", "--date=2000-01-01 00:00:10")
    now = time.time()
    await make().start()
    assert abs(time.time() - now) < 5
    assert "has lost the time: it says year 2000" in capsys.readouterr().err


CODE = """
import asyncio
from hal.contracts import NotPermitted
from hal.linux.clock import LinuxClock
clock = LinuxClock(LinuxClock.OPTIONS.check({"rtc": "/dev/rtc0"}), "")
for work in (lambda: asyncio.run(clock.start()), lambda: clock.set(1900000000000)):
    try:
        work()
        print("done")
    except NotPermitted as exc:
        print(exc)
"""


def test_a_process_without_the_capability_is_told_so_and_moves_nothing(as_nobody):
    at_start, at_set = as_nobody(CODE).splitlines()
    assert "CAP_SYS_TIME" in at_start and "setBy" in at_start
    assert "CAP_SYS_TIME" in at_set
    assert time.time() < 1900000000


def test_the_capability_is_enough_for_the_system_clock_but_the_rtc_needs_its_device_file(as_nobody):
    able = ["--inh-caps=+sys_time", "--ambient-caps=+sys_time"]
    at_start, at_set = as_nobody(CODE, *able).splitlines()
    assert "may not use the RTC /dev/rtc0" in at_start
    assert "may not use the RTC /dev/rtc0" in at_set
    assert abs(time.time() - 1900000000) < 30
