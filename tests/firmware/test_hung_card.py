"""A card whose file system hangs: the device goes on, stops in time, and starts anew beside it."""

import contextlib
import shutil
import signal
import subprocess
import time

import httpx
import pytest

from tests.firmware.running import BOARD, Running
from tests.hal.rigs import Slot, reason_to_skip

BLOCK = "QUFB" * 341 + "QQ=="  # 1024 bytes
STATUS = {"present", "mounted", "totalBytes", "freeBytes"}

REASON = reason_to_skip("ext4") or (None if shutil.which("fsfreeze") else "there is no fsfreeze")
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))


class HungCard:
    """A mounted card that can be frozen: whatever would change it waits in the kernel, where no signal reaches it."""

    def __init__(self, folder):
        self.slot = Slot(folder, "ext4")
        self.slot.insert()
        self.frozen = False
        self.handle = folder / "handle"  # where it is mounted too, whatever the device does
        self.handle.mkdir()
        subprocess.run(["mount", self.slot.device, str(self.handle)], check=True)

    def board(self):
        options = {"driver": "linux", "mountPoint": self.slot.mount_point, "fileSystem": "ext4"}
        return dict(BOARD, card=dict(options, device=self.slot.device))

    def freeze(self):
        subprocess.run(["fsfreeze", "-f", str(self.handle)], check=True)
        self.frozen = True

    def thaw(self):
        if self.frozen:
            subprocess.run(["fsfreeze", "-u", str(self.handle)], check=True)
            self.frozen = False

    def clean(self):
        self.thaw()
        subprocess.run(["umount", str(self.handle)], check=True)
        self.slot.clean()


@pytest.fixture
def card(tmp_path):
    card = HungCard(tmp_path)
    yield card
    card.clean()


def upload(device, index, **options):
    body = {"path": "/a.bin", "blockIdx": index, "blockCount": 9, "data": BLOCK}
    return device.client.post("api/card/file/write/", json=body, **options)


def give_up(device, call):
    with contextlib.suppress(httpx.TimeoutException):
        call(timeout=0.3)


def until(condition, seconds=15):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_card_that_hangs_costs_the_card_and_nothing_else(tmp_path, card):
    with Running(tmp_path, card.board()) as device:
        device.login()
        known = device.get("state/get/?card")["card"]
        assert known["mounted"] is True
        assert upload(device, 0).status_code == 200
        card.freeze()
        give_up(device, lambda timeout: upload(device, 1, timeout=timeout))
        for _ in range(40):
            give_up(device, lambda timeout: device.client.get("api/state/get/", timeout=timeout))
        assert set(device.get("state/get/?card")["card"]) == STATUS
        assert device.get("version/")["device"]
        until(lambda: upload(device, 0).json()["error"] == "CARD_BUSY")
        assert device.get("state/get/?card&time")["time"]["utc"]
        device.post("settings/saved/set/", {"language": "pl"})
        card.thaw()
        until(lambda: upload(device, 0).status_code == 200)
        assert upload(device, 1).status_code == 200


def test_a_device_whose_card_hangs_can_be_stopped_and_another_one_started(tmp_path, card):
    """The kernel keeps one of its threads, and so the process, until the card answers: the folder is let go all the
    same."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(Running(tmp_path, card.board()))
        first.login()
        assert upload(first, 0).status_code == 200
        card.freeze()
        give_up(first, lambda timeout: upload(first, 1, timeout=timeout))
        first.process.send_signal(signal.SIGTERM)
        second = started_as_by_a_service_manager(tmp_path, card.board())
        stack.push(second)
        second.login()
        assert second.get("version/")["device"]
        card.thaw()
        assert first.process.wait(20) == 0
        until(lambda: upload(second, 0).status_code == 200)


def started_as_by_a_service_manager(state, config):
    """A device, started again and again until it runs."""
    for _ in range(10):
        device = Running(state, config)
        if device.__enter__().line:
            return device
        device.client.close()
        _, said = device.process.communicate(timeout=10)
        assert device.process.returncode == 1, said
    raise AssertionError(said)
