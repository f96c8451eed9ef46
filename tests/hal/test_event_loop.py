"""The loop on which the device runs on CPython: its selector."""

import os
import time

import pytest

from hal.runtime.cpython.event_loop import FineEpollSelector

READ = 1


@pytest.fixture
def selector():
    selector = FineEpollSelector()
    yield selector
    selector.close()


@pytest.fixture
def pipes(selector):
    """Two pipes, (read end, write end), whose read ends the selector watches."""
    pipes = [os.pipe(), os.pipe()]
    for read, _ in pipes:
        selector.register(read, READ)
    yield pipes
    for descriptor in sum(pipes, ()):
        os.close(descriptor)


def ready(selector, timeout):
    return [key.fd for key, events in selector.select(timeout) if events == READ]


def test_a_wait_is_as_long_as_it_was_asked_for(selector, pipes):
    for seconds in (0.0003, 0.0021, 0.009):
        started = time.monotonic()
        assert ready(selector, seconds) == []
        assert time.monotonic() - started >= seconds


def test_what_comes_to_a_muted_descriptor_wakes_nobody_before_its_time(selector, pipes):
    (read, write), _ = pipes
    started = time.monotonic()
    selector.mute(read, 0.02)
    os.write(write, b"1")
    woken = []
    while not woken:
        woken = ready(selector, None)
    assert woken == [read]
    assert time.monotonic() - started >= 0.02
    assert ready(selector, None) == [read]


def test_other_descriptors_are_served_while_one_is_muted(selector, pipes):
    (muted, to_muted), (other, to_other) = pipes
    selector.mute(muted, 3600)
    os.write(to_muted, b"1")
    os.write(to_other, b"1")
    assert ready(selector, None) == [other]


def test_a_muted_descriptor_whose_other_end_is_gone_is_told_at_once(selector):
    read, write = os.pipe()
    selector.register(read, READ)
    selector.mute(read, 3600)
    os.close(write)
    assert ready(selector, None) == [read]
    os.close(read)


def test_a_descriptor_that_is_closed_while_it_is_muted_is_forgotten(selector, pipes):
    (muted, to_muted), (other, to_other) = pipes
    selector.mute(muted, 0.001)
    selector.unregister(muted)
    time.sleep(0.002)
    os.write(to_muted, b"1")
    os.write(to_other, b"1")
    assert ready(selector, None) == [other]


def test_in_short_turns_a_few_are_served_at_a_time_and_nobody_is_left_out(selector):
    pipes = [os.pipe() for _ in range(7)]
    for read, write in pipes:
        selector.register(read, READ)
        os.write(write, b"1")
    reads = {read for read, _ in pipes}
    selector.shorten_turns(True)
    turns = [ready(selector, 0) for _ in range(4)]
    assert max(len(turn) for turn in turns) == 2
    assert {read for turn in turns for read in turn} == reads
    selector.shorten_turns(False)
    assert set(ready(selector, 0)) == reads
    for descriptor in sum(pipes, ()):
        os.close(descriptor)


def test_what_is_asked_for_of_a_descriptor_can_be_changed(selector, pipes):
    (_, write), _ = pipes
    selector.register(write, 2, "before")
    selector.modify(write, 2, "after")
    assert [key.data for key, events in selector.select(None) if events == 2] == ["after"]
