"""The ring of the trace: what is read is what was kept, whatever the sizes."""

import random

import pytest

from firmware.services.trace.ring import Cursor, Ring


def read(cursor):
    records = []
    while (record := cursor.next()) is not None:
        records.append((cursor.after, record))
    return records


@pytest.mark.parametrize("seed", range(40))
def test_the_newest_records_are_kept_whole_and_in_order(seed):
    dice = random.Random(seed)
    ring = Ring(dice.choice([64, 100, 257, 1000]))
    kept = {}
    followers = [Cursor(ring) for _ in range(3)]
    read_by = [[] for _ in followers]
    for number in range(1, 400):
        record = bytes([number & 255]) * dice.randrange(0, 30)
        ring.add(record)
        kept[number] = record
        assert ring.last == number
        size = sum(len(kept[n]) + 2 for n in range(ring.first, number + 1))
        assert size <= len(ring._data)
        for follower, got in zip(followers, read_by, strict=True):
            if dice.random() < 0.2:
                got += read(follower)
        if dice.random() < 0.1:
            after = dice.randrange(ring.first - 1, number + 1)
            assert read(Cursor(ring, after)) == [(n, kept[n]) for n in range(after + 1, number + 1)]
    for follower, got in zip(followers, read_by, strict=True):
        got += read(follower)
        assert got == [(n, kept[n]) for n, _ in got]
        assert got[-1][0] == 399
        assert len(got) + follower.lost == 399
    assert ring.first > 1


def test_memory_is_used_to_its_end():
    ring = Ring(1000)
    for _ in range(1000):
        ring.add(bytes(18))
    assert ring.last - ring.first + 1 == 50


def test_a_number_of_an_earlier_start_is_as_the_newest():
    ring = Ring(100)
    ring.add(b"a")
    cursor = Cursor(ring, 5000)
    ring.add(b"b")
    assert read(cursor) == [(2, b"b")]
