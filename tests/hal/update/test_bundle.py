"""Bundles: what is unpacked, and what each refusal is called."""

import zlib

import pytest

from hal.contracts import UpdateRefused
from hal.update.bundle import check_stream, open_bundle, unpacking
from hal.update.signed import Moment
from tests.hal.update import mutations
from tests.hal.update.keys import NOW, Maker

MOMENT = Moment(NOW, NOW)
FILES = {"firmware/__init__.py": b"VERSION = '9.9.9'\n", "hal/a/b.py": b"x" * 200_000, "empty": b""}


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "keys")


def refusal(maker, path, folder):
    with pytest.raises(UpdateRefused) as caught:
        take(maker, path, folder)
    return caught.value.code


def take(maker, path, folder):
    bundle = open_bundle(str(path), maker.keyring, MOMENT)
    check_stream(bundle)
    folder.mkdir(exist_ok=True)
    list(unpacking(bundle, str(folder)))


def test_every_file_is_unpacked_as_it_was_packed(maker, tmp_path):
    take(maker, maker.bundle(tmp_path / "bundle", FILES), tmp_path / "slot")
    assert {name: (tmp_path / "slot" / name).read_bytes() for name in FILES} == FILES


def test_unpacking_tells_how_far_it_is(maker, tmp_path):
    bundle = open_bundle(str(maker.bundle(tmp_path / "bundle", FILES)), maker.keyring, MOMENT)
    (tmp_path / "slot").mkdir()
    told = list(unpacking(bundle, str(tmp_path / "slot")))
    assert told == sorted(told) and len(told) >= 4 and told[-1] == 100


def test_what_is_no_bundle_is_told_so(maker, tmp_path):
    (tmp_path / "bundle").write_bytes(b"#!/bin/sh\n")
    assert refusal(maker, tmp_path / "bundle", tmp_path / "slot") == "UPDATE_BAD_BUNDLE"


def test_a_bundle_that_was_cut_short_is_refused_wherever_it_ends(maker, tmp_path):
    whole = maker.bundle(tmp_path / "bundle", FILES).read_bytes()
    for size in [*range(40), *range(40, len(whole), 97), len(whole) - 1]:
        (tmp_path / "cut").write_bytes(whole[:size])
        expected = "UPDATE_BAD_BUNDLE" if size < whole.index(b"\n") + 1 else "UPDATE_CUT_SHORT"
        assert refusal(maker, tmp_path / "cut", tmp_path / "slot") == expected, size


def test_a_byte_more_is_a_change(maker, tmp_path):
    path = maker.bundle(tmp_path / "bundle", FILES)
    path.write_bytes(path.read_bytes() + b"\0")
    assert refusal(maker, path, tmp_path / "slot") == "UPDATE_CHANGED"


def test_a_change_of_any_byte_is_refused(maker, tmp_path):
    whole = maker.bundle(tmp_path / "bundle", {"a": b"content of a file\n"}).read_bytes()
    for index in range(len(whole)):
        changed = bytearray(whole)
        changed[index] ^= 1
        (tmp_path / "changed").write_bytes(changed)
        assert refusal(maker, tmp_path / "changed", tmp_path / "slot").startswith("UPDATE_"), index
    assert not (tmp_path / "slot").exists() or not any((tmp_path / "slot").iterdir())


@pytest.mark.parametrize(
    "path",
    ["../x", "/etc/passwd", "a/../../x", "a//b", "./a", "a/.", "a\\..\\..\\x", "C:x", "a/", "..", "a\0b"],
)
def test_a_file_outside_the_folder_is_refused(maker, tmp_path, path):
    bundle = maker.bundle(tmp_path / "bundle", {path: b"x"})
    assert refusal(maker, bundle, tmp_path / "slot") in ("UPDATE_BAD_PATH", "UPDATE_BAD_BUNDLE")
    assert not (tmp_path / "x").exists()


def test_a_path_twice_is_refused(maker, tmp_path):
    entry = {"path": "a", "size": 0, "sha256": "0" * 64}
    bundle = maker.bundle(tmp_path / "bundle", {"a": b""}, entries=[entry, entry])
    assert refusal(maker, bundle, tmp_path / "slot") == "UPDATE_BAD_PATH"


def test_a_stream_that_unpacks_to_other_files_is_refused(maker, tmp_path):
    bundle = maker.bundle(tmp_path / "bundle", {"a": b"right"}, stream=zlib.compress(b"wrong"))
    assert refusal(maker, bundle, tmp_path / "slot") == "UPDATE_CHANGED"


def test_a_stream_that_holds_less_than_its_header_says_is_refused(maker, tmp_path):
    bundle = maker.bundle(tmp_path / "bundle", {"a": b"right"}, stream=zlib.compress(b"rig"))
    assert refusal(maker, bundle, tmp_path / "slot") == "UPDATE_CHANGED"


@pytest.mark.parametrize("kind", mutations.KINDS)
def test_mutated_bundles_indexes_and_licences_are_refused_with_a_code_and_nothing_else(maker, tmp_path, kind):
    codes = mutations.KINDS[kind](maker, tmp_path, 1000, 1)
    assert sum(codes.values()) > 900 and "INTERNAL" not in codes
    assert {code for code in codes if code.startswith("UPDATE_") or code == "BAD_LICENCE"} == set(codes)
