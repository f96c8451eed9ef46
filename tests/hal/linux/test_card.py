"""The Linux board's SD card: real mounts, loop devices and kernel events where the machine has them, faults by hand."""

import asyncio
import errno
import os
import pathlib
import subprocess
import threading

import pytest

from hal.contracts import CardFailed, CardReadOnly, NoCard, NotPermitted
from hal.fields import BadField
from hal.linux import libc
from hal.linux.host import systemd
from hal.linux.storage import card
from hal.linux.storage.card import CardBusy, LinuxCard
from hal.linux.storage.mounts import mounted_at
from tests.hal.rigs import NEEDS_ROOT, Slot, reason_to_skip, run


async def reached(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture(params=["vfat", "ext4"])
def slot(request, tmp_path):
    reason = reason_to_skip(request.param)
    if reason:
        pytest.skip(reason)
    made = Slot(tmp_path, request.param)
    yield made
    made.clean()


@pytest.fixture(autouse=True)
def events_alone(monkeypatch):
    """Nothing is noticed because time has passed."""
    monkeypatch.setattr(card, "LOOK_PAUSE", 600.0)


@pytest.fixture
async def part(slot):
    made = slot.make()
    yield made
    await made.stop()


# A block device, with the kernel's own events


async def test_a_card_that_is_in_at_start_is_mounted(slot, part):
    slot.insert()
    await part.start()
    assert part.root() == slot.mount_point
    status = part.status()
    assert (status["present"], status["mounted"]) == (True, True)
    assert 0 < status["freeBytes"] <= status["totalBytes"] <= 16 << 20
    part.before_write(100)
    pathlib.Path(part.root(), "file").write_text("x")
    assert "bytes free" in await part.probe()
    await part.stop()
    await part.stop()
    assert mounted_at(slot.mount_point) is None
    assert os.listdir(slot.mount_point) == []


async def test_a_card_that_is_put_in_is_noticed_by_the_kernels_event(slot, part):
    await part.start()
    assert part.status() == {"present": False, "mounted": False, "totalBytes": None, "freeBytes": None}
    with pytest.raises(NoCard):
        part.root()
    slot.insert()
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 1


async def test_an_ejected_card_is_gone_until_it_is_taken_out_and_put_in(slot, part):
    slot.insert()
    await part.start()
    pathlib.Path(part.root(), "file").write_text("kept")
    await part.eject()
    with pytest.raises(NoCard, match="ejected"):
        part.root()
    with pytest.raises(NoCard):
        await part.eject()
    await part._look()
    assert part.status()["present"] is False
    assert mounted_at(slot.mount_point) is None
    slot.remove()
    await reached(lambda: not part._ejected)
    slot.insert()
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 2
    assert pathlib.Path(part.root(), "file").read_text() == "kept"


async def test_a_card_in_use_is_not_ejected(slot, part):
    slot.insert()
    await part.start()
    with open(os.path.join(part.root(), "file"), "w") as file:
        file.write("x")
        with pytest.raises(CardBusy, match="in use"):
            await part.eject()
        assert part.root() == slot.mount_point
    await part.eject()


async def test_a_write_protected_card_is_mounted_for_reading(slot, part):
    slot.insert("-r")
    await part.start()
    with pytest.raises(CardReadOnly):
        part.before_write(1)
    assert "write-protected" in await part.probe()


async def test_a_card_pulled_out_while_mounted_is_let_go(slot, part, monkeypatch):
    slot.insert()
    await part.start()
    monkeypatch.setattr(card, "medium_in", lambda device: None)
    part._changed.set()
    await reached(lambda: mounted_at(slot.mount_point) is None)
    assert part.status()["present"] is False
    with pytest.raises(NoCard):
        part.root()
    monkeypatch.undo()
    part._changed.set()
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 2


async def test_a_card_that_somebody_unmounts_is_mounted_again(slot, part):
    slot.insert()
    await part.start()
    run("umount", slot.mount_point)
    await reached(lambda: part.insertions == 2)
    assert part.root() == slot.mount_point


async def test_a_mount_that_a_crash_has_left_is_taken_over(slot, part):
    slot.insert()
    await part.start()
    second = slot.make()
    await second.start()
    assert second.root() == slot.mount_point
    assert pathlib.Path("/proc/self/mountinfo").read_text().count(slot.mount_point.replace(" ", "\\040")) == 1
    await second.stop()


@pytest.mark.parametrize("turns", range(0, 40, 4))
async def test_stopping_in_the_middle_of_a_mount_leaves_nothing_mounted(slot, turns):
    part = slot.make()
    await part.start()
    slot.insert()
    for _ in range(turns):
        await asyncio.sleep(0)
    looking = asyncio.create_task(part._look())
    for _ in range(turns):
        await asyncio.sleep(0)
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)  # as the service does with what it runs itself
    await part.stop()
    assert mounted_at(slot.mount_point) is None


async def test_a_check_leaves_the_card_of_a_running_device_alone(slot, part):
    slot.insert()
    await part.start()
    mount = mounted_at(slot.mount_point)
    assert "bytes free" in await slot.make().try_out()
    assert mounted_at(slot.mount_point) == mount
    await part.eject()
    assert "bytes free" in await slot.make().try_out()  # an ejected one is looked at elsewhere
    await part._look()
    assert (mounted_at(slot.mount_point), part.status()["present"]) == (None, False)
    assert not any("mc252-card-" in line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines())
    slot.remove()
    with pytest.raises(NoCard):
        await slot.make().try_out()


async def test_a_card_that_hangs_is_told_as_that_and_keeps_nobody_waiting(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(card, "ANSWER_SEC", 0.02)
    monkeypatch.setattr(card, "STOP_SEC", 0.02)
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.01,))
    may_end = threading.Event()
    monkeypatch.setattr(libc, "mount", lambda *arguments: may_end.wait())
    monkeypatch.setattr(card, "medium_in", lambda device: (179, 1))
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(tmp_path), "device": "/dev/mmcblk0p1"}), "")
    async with asyncio.timeout(10):
        await part.start()
        with pytest.raises(CardFailed, match="does not answer within"):
            part.root()
        await asyncio.sleep(0.05)
        await part.stop()
    may_end.set()
    assert capsys.readouterr().err.count("does not answer within 0.02 s") <= 2


async def test_a_card_with_something_else_on_it_is_told_and_tried_again(slot, part, monkeypatch, capsys):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.02,))
    good = pathlib.Path(slot.image).read_bytes()
    with open(slot.image, "r+b") as file:
        file.write(bytes(4096))
    slot.insert()
    await part.start()
    with pytest.raises(CardFailed, match=f"not {slot.kind}, or is damaged"):
        part.root()
    assert part.status()["present"] is True
    assert part.status()["mounted"] is False
    await asyncio.sleep(0.1)
    assert capsys.readouterr().err.count("damaged") == 1
    with open(slot.device, "r+b") as device:
        device.write(good[:4096])
    await reached(lambda: part.status()["mounted"])


# A folder where the system mounts the card


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "card"
    place.mkdir()
    yield str(place)
    subprocess.run(["umount", "-l", str(place)], capture_output=True, check=False)


@NEEDS_ROOT
async def test_what_the_system_mounts_and_unmounts_is_noticed(folder):
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": folder}), "")
    await part.start()
    with pytest.raises(NoCard):
        part.root()
    run("mount", "-t", "tmpfs", "-o", "size=1M", "none", folder)
    await reached(lambda: part.status()["mounted"])
    assert part.status()["totalBytes"] == 1 << 20
    run("mount", "-o", "remount,ro", folder)
    with pytest.raises(CardReadOnly):
        part.before_write(1)
    run("umount", folder)
    await reached(lambda: not part.status()["present"])
    run("mount", "-t", "tmpfs", "none", folder)
    await reached(lambda: part.insertions == 2)
    await part.eject()
    assert mounted_at(folder) is None
    await part.stop()


@NEEDS_ROOT
async def test_stopping_leaves_the_systems_mount_alone(folder):
    run("mount", "-t", "tmpfs", "none", folder)
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": folder}), "")
    await part.start()
    assert part.root() == folder
    await part.stop()
    assert mounted_at(folder) is not None


async def test_a_card_can_be_probed_before_it_is_started(tmp_path):
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(tmp_path)}), "")
    with pytest.raises(NoCard):
        await part.probe()


# Faults by hand


class FakeSystem:
    """mount(2) and umount2(2) that do as the test says."""

    def __init__(self, monkeypatch):
        self.calls = []
        self.errors = []
        monkeypatch.setattr(libc, "mount", lambda *arguments: self._call("mount", *arguments))
        monkeypatch.setattr(libc, "umount", lambda *arguments: self._call("umount", *arguments))
        monkeypatch.setattr(libc, "sync_file_system", lambda path: None)
        monkeypatch.setattr(card, "medium_in", lambda device: (179, 1))

    def _call(self, *call):
        self.calls.append(call)
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.EPERM, NotPermitted, "CAP_SYS_ADMIN"),
        (errno.ENODEV, CardFailed, "does not know the file system vfat"),
        (errno.EIO, CardFailed, "Input/output error"),
    ],
)
async def test_a_card_that_cannot_be_mounted_says_why(tmp_path, monkeypatch, number, error, message):
    system = FakeSystem(monkeypatch)
    system.errors = [number]
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(tmp_path), "device": "/dev/mmcblk0p1"}), "")
    await part.start()
    with pytest.raises(error, match=message):
        part.root()
    assert part.status() == {"present": True, "mounted": False, "totalBytes": None, "freeBytes": None}
    await part.stop()


async def test_vfat_is_mounted_as_ours_without_programs_and_devices(tmp_path, monkeypatch):
    system = FakeSystem(monkeypatch)
    system.errors = [errno.EROFS]
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(tmp_path), "device": "/dev/mmcblk0p1"}), "")
    await part.start()
    await part.stop()
    options = f"uid={os.geteuid()},gid={os.getegid()},umask=0077,errors=remount-ro,utf8=1,shortname=mixed"
    flags = libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC | libc.MS_NOATIME
    assert system.calls == [
        ("mount", "/dev/mmcblk0p1", str(tmp_path), "vfat", flags, options),
        ("mount", "/dev/mmcblk0p1", str(tmp_path), "vfat", flags | libc.MS_RDONLY, options),
    ]


def test_a_device_counts_only_with_a_medium_in_it(tmp_path, monkeypatch):
    assert card.medium_in(str(tmp_path / "none")) is None
    assert card.medium_in("/dev/null") is None


def test_the_slot_of_the_machine_is_switched_off(tmp_path, monkeypatch):
    real = tmp_path / "devices" / "mmc0" / "mmc0:aaaa" / "block" / "mmcblk0" / "mmcblk0p1"
    real.mkdir(parents=True)
    driver = tmp_path / "devices" / "mmc0" / "mmc0:aaaa" / "driver"
    driver.mkdir()
    (driver / "unbind").write_text("")
    (tmp_path / "179:1").symlink_to(real)
    monkeypatch.setattr(card, "_SYS_DEVICES", str(tmp_path))
    monkeypatch.setattr(card, "medium_in", lambda device: (179, 1))
    card._let_go("/dev/mmcblk0p1")
    assert (driver / "unbind").read_text() == "mmc0:aaaa"


def test_a_slot_that_cannot_be_switched_off_is_no_failure(tmp_path, monkeypatch, capsys):
    (tmp_path / "mmc0:aaaa").mkdir()
    (tmp_path / "179:1").symlink_to(tmp_path / "mmc0:aaaa")
    monkeypatch.setattr(card, "_SYS_DEVICES", str(tmp_path))
    monkeypatch.setattr(card, "medium_in", lambda device: (179, 1))
    card._let_go("/dev/mmcblk0p1")
    assert "does not let go of it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"mountPoint": "card"}, "absolute"),
        ({"mountPoint": "/media/../card"}, "absolute"),
        ({"mountPoint": "/media/card", "device": "/nowhere/card"}, "card.device: /nowhere/card is not there"),
    ],
)
def test_a_card_that_cannot_be_is_a_bad_board(options, problem):
    with pytest.raises(BadField, match=problem):
        LinuxCard(LinuxCard.OPTIONS.check(options), "")


@NEEDS_ROOT
async def test_ejection_without_the_privilege_is_left_to_systemd(tmp_path, monkeypatch):
    folder = tmp_path / "sd-card"
    folder.mkdir()
    run("mount", "-t", "tmpfs", "tmpfs", str(folder))
    asked = []

    def ask(*command):
        asked.append(command)
        run("umount", str(folder))

    def refuse(*arguments):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(folder)}), "")
    await part.start()
    try:
        monkeypatch.setattr(libc, "umount", refuse)
        monkeypatch.setattr(systemd, "runs", lambda: False)
        with pytest.raises(NotPermitted, match="CAP_SYS_ADMIN"):
            await part.eject()
        assert part.status()["mounted"]
        monkeypatch.setattr(systemd, "runs", lambda: True)
        monkeypatch.setattr(systemd, "ask", ask)
        await part.eject()
        assert asked == [("systemctl", "stop", systemd.mount_unit(str(folder)))]
        assert part.status()["mounted"] is False
    finally:
        await part.stop()
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)
