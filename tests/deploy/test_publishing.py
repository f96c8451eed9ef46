"""The folder of updates as docs/updates.md has it made, read as a device reads it."""

import hashlib
import json
import subprocess
import sys

import pytest

from hal.update.keys import read_keyring
from hal.update.signed import Moment, open_signed
from tests.firmware.running import ROOT
from tests.hal.update.keys import NOW, Maker


@pytest.fixture
def made(tmp_path):
    """A maker's keys, two bundles and an empty folder."""
    keys = tmp_path / "keys"
    command("keys", keys)
    maker = Maker(tmp_path / "other")
    for version in ("1.0.0", "1.1.0"):
        maker.bundle(tmp_path / f"mc252-{version}.bundle", version=version, compatible=["raspberry-pi"])
    return tmp_path


def command(name, *words):
    done = subprocess.run(
        [sys.executable, "-m", f"deploy.updates.{name}", *map(str, words)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def publish(made, *words):
    """Call it; the index that a device reads then."""
    command("publish", made / "folder", *words, "--keys", made / "keys")
    document = json.loads((made / "folder" / "index.json").read_text())
    return open_signed(document, "index", read_keyring(str(made / "keys" / "keyring.json")), Moment(None, NOW))


def test_all_bundles_that_are_named_are_in_the_folder_and_in_its_index(made):
    bundles = sorted(made.glob("mc252-*.bundle"))
    index = publish(made, *bundles, "--rollout", 5, "--channel", "beta")
    assert [(entry["version"], entry["rollout"], entry["channel"]) for entry in index["bundles"]] == [
        ("1.0.0", 5, "beta"),
        ("1.1.0", 5, "beta"),
    ]
    for entry, bundle in zip(index["bundles"], bundles, strict=True):
        data = (made / "folder" / entry["file"]).read_bytes()
        assert data == bundle.read_bytes() and entry["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_bundle_that_is_published_again_only_gets_another_share(made):
    first = publish(made, *sorted(made.glob("mc252-*.bundle")), "--rollout", 5)
    index = publish(made, made / "folder" / "mc252-1.1.0.bundle", "--rollout", 50)
    shares = {entry["version"]: entry["rollout"] for entry in index["bundles"]}
    assert shares == {"1.0.0": 5, "1.1.0": 50} and index["serial"] == first["serial"] + 1


def test_an_index_is_signed_anew_without_any_change(made):
    first = publish(made, made / "mc252-1.0.0.bundle")
    again = publish(made, "--days", 60)
    assert again["bundles"] == first["bundles"] and again["serial"] == first["serial"] + 1
    assert again["expires"] > first["expires"]
