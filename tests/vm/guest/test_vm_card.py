"""The SD card: a real slot with the kernel's MMC driver, a reader on USB, and vfat as the kernel has it."""

import os
import pathlib
import re
import time

import pytest

from hal.contracts import CardFailed, NoCard
from hal.linux.storage import card
from hal.linux.storage.card import LinuxCard
from hal.linux.storage.mounts import mounted_at

PARTITION_START = 1 << 20
CARD_SIZE = 64 << 20
MOUNT_POINT = "/mnt/card"
DRIVER = pathlib.Path("/sys/bus/mmc/drivers/mmcblk")
SLOT = pathlib.Path("/sys/bus/mmc/devices")


def make(device):
    return LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": MOUNT_POINT, "device": device}), "")


@pytest.fixture(autouse=True)
def events_alone(monkeypatch):
    """Nothing is noticed because time has passed."""
    monkeypatch.setattr(card, "LOOK_PAUSE", 600.0)


@pytest.fixture(scope="session")
def format_disk(run):
    """One vfat partition on a disk."""

    def format_disk(disk, partition):
        run("sfdisk", "--quiet", "--wipe=always", disk, text=f"{PARTITION_START // 512},,c\n")
        run("udevadm", "settle")
        run("mkfs.vfat", "-n", "CARD", partition)
        run("udevadm", "settle")

    return format_disk


@pytest.fixture(scope="session")
def formatted_card(format_disk):
    deadline = time.monotonic() + 20
    while not os.path.exists("/dev/mmcblk0") and time.monotonic() < deadline:
        time.sleep(0.1)
    format_disk("/dev/mmcblk0", "/dev/mmcblk0p1")


@pytest.fixture
async def part(formatted_card):
    made = make("/dev/mmcblk0p1")
    yield made
    await made.stop()


# A slot of the machine itself


async def test_a_card_in_the_slot_is_mounted_with_the_room_that_it_has(part):
    await part.start()
    status = part.status()
    assert (status["present"], status["mounted"]) == (True, True)
    assert 0.98 * (CARD_SIZE - PARTITION_START) < status["totalBytes"] <= CARD_SIZE - PARTITION_START
    path = pathlib.Path(part.root(), "megabyte")
    with open(path, "wb") as file:
        file.write(bytes(1 << 20))
        os.fsync(file.fileno())
    taken = status["freeBytes"] - part.status()["freeBytes"]
    assert 1 << 20 <= taken < (1 << 20) + 65536
    path.unlink()
    assert part.status()["freeBytes"] == status["freeBytes"]
    assert re.search(r"/mnt/card, \d+ of \d+ bytes free$", await part.probe())


async def test_long_names_and_other_scripts_are_kept(part):
    await part.start()
    names = ["Щоденник котельні за листопад - копія (2).csv", "n" * 250 + ".txt", "日本語.txt", "MiXeD.Txt", "🌡.log"]
    for name in names:
        pathlib.Path(part.root(), name).write_text(name)
    assert sorted(os.listdir(part.root())) == sorted(names)
    await part.stop()
    again = make("/dev/mmcblk0p1")
    await again.start()
    try:
        for name in names:
            assert pathlib.Path(again.root(), name).read_text() == name
            os.unlink(os.path.join(again.root(), name))
    finally:
        await again.stop()


async def test_names_that_differ_in_case_alone_are_one_file(part):
    await part.start()
    pathlib.Path(part.root(), "Config.json").write_text("1")
    pathlib.Path(part.root(), "CONFIG.JSON").write_text("2")
    assert pathlib.Path(part.root(), "config.json").read_text() == "2"
    assert os.listdir(part.root()) == ["Config.json"]
    os.unlink(os.path.join(part.root(), "config.JSON"))


async def test_files_are_the_firmwares_alone_and_no_programs(part):
    await part.start()
    path = pathlib.Path(part.root(), "script.sh")
    path.write_text("#!/bin/sh\n")
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(PermissionError):
        os.execv(path, [str(path)])
    path.unlink()


async def test_a_file_larger_than_the_card_ends_with_no_space(part):
    await part.start()
    path = pathlib.Path(part.root(), "large")
    with pytest.raises(OSError, match="No space left"), open(path, "wb") as file:
        for _ in range(CARD_SIZE >> 20):
            file.write(bytes(1 << 20))
    assert part.status()["freeBytes"] < 65536
    path.unlink()


async def test_eject_lets_go_of_the_card_until_it_is_put_in_again(part, rig, reached):
    await part.start()
    pathlib.Path(part.root(), "kept").write_text("kept")
    (name,) = os.listdir(SLOT)
    await part.eject()
    assert mounted_at(MOUNT_POINT) is None
    assert not os.path.exists("/dev/mmcblk0p1") and not os.path.exists("/dev/mmcblk0")
    assert not (SLOT / name / "driver").exists()
    assert part.status()["present"] is False
    with pytest.raises(NoCard):
        part.root()
    rig.order("take the card out")
    await reached(lambda: not os.listdir(SLOT))
    rig.order("put the card in")
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 2
    assert pathlib.Path(part.root(), "kept").read_text() == "kept"


async def test_an_ejected_card_whose_driver_is_bound_again_counts_as_put_in(part, reached):
    await part.start()
    (name,) = os.listdir(SLOT)
    await part.eject()
    (DRIVER / "bind").write_text(name)
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 2


async def test_an_ejected_card_is_clean(part, run):
    await part.start()
    pathlib.Path(part.root(), "written").write_text("x" * 100000)
    (name,) = os.listdir(SLOT)
    await part.eject()
    (DRIVER / "bind").write_text(name)
    run("udevadm", "settle")
    report = run("fsck.vfat", "-n", "/dev/mmcblk0p1")
    assert "dirty" not in report.lower(), report


async def test_a_card_pulled_out_without_eject_is_let_go_and_taken_again(part, rig, reached):
    await part.start()
    path = pathlib.Path(part.root(), "kept")
    with open(path, "w") as file:
        file.write("kept")
        file.flush()
        os.fsync(file.fileno())
    rig.order("take the card out")
    await reached(lambda: not part.status()["present"])
    with pytest.raises(NoCard, match="put one in"):
        part.root()
    await reached(lambda: mounted_at(MOUNT_POINT) is None)
    rig.order("put the card in")
    await reached(lambda: part.status()["mounted"])
    assert part.insertions == 2
    assert path.read_text() == "kept"


async def test_a_card_pulled_out_in_the_middle_of_writing_ends_in_an_error_and_is_taken_again(part, rig, reached):
    await part.start()
    path = pathlib.Path(part.root(), "torn")
    with pytest.raises(OSError), open(path, "wb", buffering=0) as file:
        file.write(bytes(4096))
        rig.order("take the card out")
        for _ in range(100):
            file.write(bytes(65536))
            os.fsync(file.fileno())
    await reached(lambda: mounted_at(MOUNT_POINT) is None)
    rig.order("put the card in")
    await reached(lambda: part.status()["mounted"])
    part.before_write(1)


async def test_a_card_without_a_file_system_says_so_and_is_mounted_once_it_has_one(part, run, reached, monkeypatch):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.2,))
    with open("/dev/mmcblk0p1", "r+b") as device:
        device.write(bytes(65536))
    await part.start()
    with pytest.raises(CardFailed, match="not vfat, or is damaged"):
        part.root()
    assert (part.status()["present"], part.status()["mounted"]) == (True, False)
    run("mkfs.vfat", "-n", "CARD", "/dev/mmcblk0p1")
    await reached(lambda: part.status()["mounted"])


# A reader on USB


@pytest.fixture(scope="session")
def formatted_stick(rig, format_disk):
    rig.order("plug the reader in")
    wait_for("/dev/sda", True)
    format_disk("/dev/sda", "/dev/sda1")
    rig.order("pull the reader out")
    wait_for("/dev/sda", False)


def wait_for(path, there):
    deadline = time.monotonic() + 30
    while os.path.exists(path) != there:
        assert time.monotonic() < deadline, f"{path} is {'not ' if there else ''}there"
        time.sleep(0.1)


async def test_a_card_in_a_reader_is_noticed_when_it_is_plugged_in_and_when_it_is_pulled_out(
    formatted_stick, rig, reached
):
    part = make("/dev/sda1")
    await part.start()
    try:
        assert part.status()["present"] is False
        for turn in (1, 2):
            rig.order("plug the reader in")
            await reached(lambda: part.status()["mounted"])
            assert part.insertions == turn
            path = pathlib.Path(part.root(), "count")
            assert (path.read_text() if turn == 2 else "1") == "1"
            with open(path, "w") as file:
                file.write(str(turn))
                file.flush()
                os.fsync(file.fileno())
            rig.order("pull the reader out")
            await reached(lambda: not part.status()["present"])
            await reached(lambda: mounted_at(MOUNT_POINT) is None)
    finally:
        await part.stop()


async def test_a_card_ejected_from_a_reader_is_gone_until_the_reader_is_plugged_in_again(formatted_stick, rig, reached):
    part = make("/dev/sda1")
    rig.order("plug the reader in")
    wait_for("/dev/sda1", True)
    await part.start()
    try:
        await part.eject()
        assert mounted_at(MOUNT_POINT) is None
        assert part.status()["present"] is False
        rig.order("pull the reader out")
        wait_for("/dev/sda", False)
        rig.order("plug the reader in")
        await reached(lambda: part.status()["mounted"])
        assert part.insertions == 2
    finally:
        await part.stop()
        rig.order("pull the reader out")
        wait_for("/dev/sda", False)
