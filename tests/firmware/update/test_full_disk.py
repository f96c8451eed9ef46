"""A medium that fills up while an update comes or is unpacked: a real one, of a few kilobytes of memory."""

import os
import random
import subprocess

import pytest

from hal.contracts import UpdateRefused
from hal.linux.update.folders import FoldersUpdater
from hal.update.signed import Moment
from tests.firmware.update.test_download import entry, fetch, make
from tests.firmware.update.web import Web
from tests.hal.update.keys import NOW, Maker

NOISE = random.Random(3).randbytes(300_000)


@pytest.fixture
def small(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs root, to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


async def test_a_download_that_fills_the_medium_is_refused_and_gives_its_room_back(small):
    with Web() as web:
        web.files["bundle"] = NOISE
        with pytest.raises(UpdateRefused) as caught:
            await fetch(web, make(small), entry(NOISE))
    assert caught.value.code == "UPDATE_TOO_LARGE"
    assert list(small.iterdir()) == []


async def test_an_update_that_fills_the_medium_is_refused_and_gives_its_room_back(small, tmp_path):
    maker = Maker(tmp_path / "keys")
    bundle = maker.bundle(tmp_path / "bundle", {"firmware/__init__.py": NOISE})
    options = {"keys": str(maker.keyring_path), "compatible": "simulated"}
    updater = FoldersUpdater(FoldersUpdater.OPTIONS.check(options), str(small))
    updater.room = lambda: 10**9  # as it was before others filled the medium
    await updater.start()
    with pytest.raises(UpdateRefused) as caught:
        await updater.install(str(bundle), Moment(NOW, NOW), False, lambda percent: None)
    assert caught.value.code == "UPDATE_TOO_LARGE"
    assert [path for path in small.rglob("*") if path.is_file()] == []
