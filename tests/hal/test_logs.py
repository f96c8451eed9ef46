"""The log when there is too much of it."""

import pytest

from hal.runtime import log_exception
from hal.runtime.cpython.event_loop import new_event_loop
from hal.runtime.logs import EQUAL_LINES, LINES, MINUTE, Log


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def lines(capsys):
    return lambda: capsys.readouterr().err.splitlines()


def test_what_repeats_without_end_is_written_a_few_times_a_minute_and_counted(clock, lines):
    log = Log(lambda: round(clock[0]))
    for _ in range(1000):
        log.write("the port is gone")
        if clock[0] == 0:
            log.write("something else")
        clock[0] += 1
    assert lines() == ["the port is gone", "something else"] + ["the port is gone"] * (EQUAL_LINES - 1)
    clock[0] = MINUTE
    log.write("the port is gone")
    assert lines() == [f"the port is gone ({1000 - EQUAL_LINES} more of these were left out)"]
    log.write("the port is gone")
    assert lines() == ["the port is gone"]


def test_a_flood_of_different_lines_is_left_out_and_counted(clock, lines):
    log = Log(lambda: round(clock[0]))
    for number in range(100_000):
        log.write(f"no place for {number}")
    assert lines() == [f"no place for {number}" for number in range(LINES)]
    clock[0] += MINUTE / LINES
    log.write("at last")
    assert lines() == [f"{100_000 - LINES} lines were left out here", "at last"]


def test_a_clock_that_begins_anew_silences_nothing_for_long(clock, lines):
    clock[0] = 1e6
    log = Log(lambda: round(clock[0]))
    for _ in range(EQUAL_LINES + 1):
        log.write("x")
    clock[0] = 0.0
    log.write("x")
    assert lines() == ["x"] * EQUAL_LINES + ["x (1 more of these were left out)"]


def test_tracebacks_that_repeat_are_left_out_too(lines):
    for _ in range(100):
        try:
            raise ValueError("a broken part")
        except ValueError as exc:
            log_exception(exc)
    assert lines().count("ValueError: a broken part") == EQUAL_LINES


def test_what_asyncio_has_to_tell_goes_the_same_way(lines):
    loop = new_event_loop()
    for _ in range(100):
        loop.call_exception_handler({"message": "accept failed", "exception": OSError(24, "Too many open files")})
        loop.call_exception_handler({"message": "a task failed", "exception": ValueError("x")})
        loop.call_exception_handler({"message": "slow"})
    loop.close()
    told = lines()
    assert told.count("accept failed: [Errno 24] Too many open files") == EQUAL_LINES
    assert told.count("a task failed") == told.count("ValueError: x") == told.count("slow") == EQUAL_LINES
