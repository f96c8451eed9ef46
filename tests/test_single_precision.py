"""Boards have floats of 24 bits: a device that has run for 400 days on them does what a new one does on better ones."""

import json
import subprocess
import sys

import pytest

from tests.micropython import ROOT
from tests.single_precision import UPTIME_SEC, single


def told(*arguments):
    done = subprocess.run([sys.executable, "-m", "tests.a_day", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_float_is_rounded_as_on_a_board():
    assert single(34560001.7) == 34560000.0
    assert single(0.1) == 0.10000000149011612
    assert single(1e300) == float("inf")
    assert single(34560001) == 34560001


@pytest.fixture(scope="module")
def days():
    return told("0"), told(str(UPTIME_SEC), "single")


@pytest.mark.parametrize("part", ["reads_in_10_s", "gateway", "search", "sessions", "clock_is_set"])
def test_after_400_days_with_coarse_floats_it_does_the_same(days, part):
    new, old = days
    assert old[part] == new[part]


def test_what_is_compared_works(days):
    new, _ = days
    assert new["reads_in_10_s"]["reads"] > 300
    assert new["reads_in_10_s"]["errors"] == []
    assert new["search"][0] == [1, 2, 17, 33]
    assert new["sessions"][0] == [True, True, True, False]
    assert new["clock_is_set"][0] == 1796038496700  # 2026-11-30T12:34:56.7 in Warsaw
    assert abs(new["clock_is_set"][-1] - new["clock_is_set"][-2]) == 20  # half of the way there and back


def test_the_tests_of_every_day_hold_with_coarse_floats(tmp_path):
    files = ["time/test_clock.py", "access/test_sessions.py", "search/test_classes.py", "gateway/test_gateway.py"]
    some = "sync_steps or forged or by_hand or token or with_its_parameters or split_at_every_byte or in_flight"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.single_precision",
        "-k",
        some,
        f"--basetemp={tmp_path}/tests",
    ]
    command += ["tests/firmware/" + file for file in files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
