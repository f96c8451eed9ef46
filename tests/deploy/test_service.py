"""What the system is told about the service, read by the programs it is for: units, udev and polkit rules, scripts."""

import json
import os
import pathlib
import shutil
import subprocess

import pytest

DEPLOY = pathlib.Path(__file__).parents[2] / "deploy"
UNITS = ["mc252.service", "mc252-provision.service", r"media-mc252\x2dcard.mount"]


def needs(*programs, root=False):
    missing = [name for name in programs if shutil.which(name) is None]
    reason = f"needs {', '.join(missing)}" if missing else "needs root"
    return pytest.mark.skipif(bool(missing) or (root and os.geteuid() != 0), reason=reason)


# Units


@pytest.fixture
def system(tmp_path):
    """A root with systemd's own targets, the units of the package, and the commands that they start."""
    folder = tmp_path / "usr" / "lib" / "systemd" / "system"
    folder.mkdir(parents=True)
    for target in pathlib.Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(target, folder)
    for unit in UNITS:
        shutil.copy(DEPLOY / unit, folder)
    for command in ("usr/bin/mc252", "usr/libexec/mc252/supervisor"):
        (tmp_path / command).parent.mkdir(parents=True)
        shutil.copy("/bin/true", tmp_path / command)
    return tmp_path


def analyze(system, *words):
    return subprocess.run(
        ["systemd-analyze", f"--root={system}", "--no-pager", *words], capture_output=True, text=True, timeout=60
    )


@needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS[:2])
def test_the_service_is_shut_in_well_enough(system, unit):
    done = analyze(system, "security", "--offline=true", "--threshold=25", unit)
    assert done.returncode == 0, done.stdout


@needs("systemd-analyze")
def test_systemd_has_nothing_to_say_against_the_units(system):
    done = analyze(system, "verify", *UNITS)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_service_comes_before_what_else_the_machine_does():
    lines = (DEPLOY / "mc252.service").read_text().splitlines()
    assert {"CPUWeight=10000", "Nice=-15"} <= set(lines)


def test_the_service_leaves_no_secrets_in_core_dumps_and_is_started_again_whatever_happens():
    lines = (DEPLOY / "mc252.service").read_text().splitlines()
    assert {"LimitCORE=0", "MemoryMax=256M", "Restart=always", "StartLimitIntervalSec=0"} <= set(lines)
    assert not any(line.startswith("RestartPreventExitStatus") for line in lines)


@needs("systemd-analyze")
def test_the_drop_in_for_boards_that_mount_their_card_fits_the_unit(system):
    folder = system / "usr/lib/systemd/system/mc252.service.d"
    folder.mkdir()
    shutil.copy(DEPLOY / "mc252-card.conf", folder)
    assert analyze(system, "verify", *UNITS).stderr == ""
    security = analyze(system, "security", "--offline=true", "mc252.service", "--json=short").stdout
    sets = {row["name"]: row["set"] for row in json.loads(security)}
    assert sets["CapabilityBoundingSet=~CAP_SYS_ADMIN"] is False
    assert sets["CapabilityBoundingSet=~CAP_SYS_PTRACE"] is True  # it adds to the unit's list


# udev

FAKE_SYS = r"""
set -e
mount -t tmpfs tmpfs /sys
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /dev
mknod /dev/null c 1 3
mount --bind "$FOLDER/group" /etc/group
mkdir -p /etc/udev/rules.d
mount --bind "$FOLDER/rules.d" /etc/udev/rules.d
node() { # PATH SUBSYSTEM TYPE MAJOR:MINOR NAME
    mkdir -p "$1" "/sys/$2"
    ln -s "/sys/$2" "$1/subsystem"
    echo "$4" >"$1/dev"
    printf 'MAJOR=%s\nMINOR=%s\nDEVNAME=%s\n' "${4%:*}" "${4#*:}" "$5" >"$1/uevent"
    mknod "/dev/$5" "$3" "${4%:*}" "${4#*:}"
}
usb_tty() { # NAME MINOR VENDOR PRODUCT INTERFACE DRIVER PROTOCOL
    device=/sys/devices/usb1/$1
    port=$device/1-1:1.$5/$1
    mkdir -p "$port" /sys/bus/usb "/sys/bus/usb-serial/drivers/$6"
    for path in "$device" "$device/1-1:1.$5"; do
        ln -s /sys/bus/usb "$path/subsystem"
        : >"$path/uevent"
    done
    echo "$3" >"$device/idVendor"
    echo "$4" >"$device/idProduct"
    echo "$5" >"$device/1-1:1.$5/bInterfaceNumber"
    echo ff >"$device/1-1:1.$5/bInterfaceClass"
    echo 02 >"$device/1-1:1.$5/bInterfaceSubClass"
    echo "${7:-ff}" >"$device/1-1:1.$5/bInterfaceProtocol"
    ln -s /sys/bus/usb-serial "$port/subsystem"
    ln -s "/sys/bus/usb-serial/drivers/$6" "$port/driver"
    : >"$port/uevent"
    echo 16 >"$port/latency_timer"
    node "$port/tty/$1" class/tty c "188:$2" "$1"
    ln -s "$port" "$port/tty/$1/device"
    test_device "$port/tty/$1"
}
disk() { # NAME REMOVABLE PARTITIONS
    node "/sys/devices/$1" class/block b "8:$3" "$1"
    echo DEVTYPE=disk >>"/sys/devices/$1/uevent"
    echo "$2" >"/sys/devices/$1/removable"
    for number in $(seq "$3"); do
        case $1 in mmcblk*) part=$1p$number ;; *) part=$1$number ;; esac
        node "/sys/devices/$1/$part" class/block b "9:$number$3" "$part"
        echo DEVTYPE=partition >>"/sys/devices/$1/$part/uevent"
    done
    case $1 in mmcblk*) part=$1p1 ;; *) part=${1}1 ;; esac
    test_device "/sys/devices/$1/$part"
}
test_device() {
    SYSTEMD_DEVICE_VERIFY_SYSFS=0 udevadm test --action=add "$1" >"$FOLDER/out/${1##*/}" 2>&1
    stat -c 'STAT=%G %a' "/dev/${1##*/}" >>"$FOLDER/out/${1##*/}"
}
usb_tty ttyUSB0 0 0403 6001 00 ftdi_sio
usb_tty ttyUSB1 1 1a86 7523 00 ch341
usb_tty ttyUSB2 2 2c7c 0125 02 option
usb_tty ttyUSB3 3 2c7c 0125 03 option
usb_tty ttyUSB4 4 1e0e 9001 02 option
usb_tty ttyUSB5 5 1bc7 1201 04 option
usb_tty ttyUSB6 6 12d1 1506 02 option 12
usb_tty ttyUSB7 7 12d1 1506 00 option 10
usb_tty ttyACM0 8 1546 1102 00 cdc_acm
usb_tty ttyACM1 9 1546 01a8 00 cdc_acm
usb_tty ttyACM2 10 1a86 55d4 00 cdc_acm
node /sys/devices/ttyS1 class/tty c 4:65 ttyS1
test_device /sys/devices/ttyS1
node /sys/devices/tty1 class/tty c 4:1 tty1
test_device /sys/devices/tty1
node /sys/devices/gpiochip0 bus/gpio c 254:0 gpiochip0
test_device /sys/devices/gpiochip0
node /sys/devices/rtc0 class/rtc c 253:0 rtc0
test_device /sys/devices/rtc0
disk sda 1 1
disk sdb 1 2
disk sdc 0 1
disk mmcblk0 0 1
disk mmcblk1 0 1
disk mmcblk2 0 2
"""


@pytest.fixture(scope="module")
def devices(tmp_path_factory):
    """{device: what udev makes of it}, by udevadm on a /sys made by hand, in a mount namespace."""
    folder = tmp_path_factory.mktemp("udev")
    (folder / "out").mkdir()
    (folder / "rules.d").mkdir()
    shutil.copy(DEPLOY / "70-mc252.rules", folder / "rules.d")
    # What udev's own rules read from a real disk; and what Raspberry Pi OS says about GPIO.
    (folder / "rules.d" / "69-disks.rules").write_text(
        'SUBSYSTEM=="block", ENV{ID_FS_TYPE}="vfat"\nSUBSYSTEM=="block", KERNEL=="sd*", ENV{ID_BUS}="usb"\n'
    )
    (folder / "rules.d" / "99-com.rules").write_text('SUBSYSTEM=="gpio", GROUP="dialout", MODE="0600"\n')
    (folder / "group").write_text(pathlib.Path("/etc/group").read_text() + "mc252:x:4252:\n")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FAKE_SYS],
        env=dict(os.environ, FOLDER=str(folder)),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {path.name: path.read_text() for path in (folder / "out").iterdir()}


def links(text):
    line = next((line for line in text.splitlines() if line.startswith("DEVLINKS=")), "")
    return [name for name in line.partition("=")[2].split() if name.startswith("/dev/mc252-")]


NEEDS_UDEV = needs("udevadm", "unshare", root=True)


@NEEDS_UDEV
@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("ttyUSB0", ["/dev/mc252-rs485"]),
        ("ttyUSB1", ["/dev/mc252-rs485"]),
        ("ttyACM2", ["/dev/mc252-rs485"]),
        ("ttyUSB2", ["/dev/mc252-modem"]),
        ("ttyUSB3", []),  # the modem's port for data
        ("ttyUSB4", ["/dev/mc252-modem"]),
        ("ttyUSB5", ["/dev/mc252-modem"]),
        ("ttyUSB6", ["/dev/mc252-modem"]),
        ("ttyUSB7", []),
        ("ttyACM0", ["/dev/mc252-modem"]),
        ("ttyACM1", []),  # a receiver of satellites
        ("ttyS1", []),
        ("sda1", ["/dev/mc252-card"]),
        ("sdb1", []),  # a disk with a system on it
        ("sdc1", []),  # a disk that is no card
        ("mmcblk0p1", []),
        ("mmcblk1p1", ["/dev/mc252-card"]),
        ("mmcblk2p1", []),
    ],
)
def test_a_device_gets_its_name(devices, device, expected):
    assert links(devices[device]) == expected


@NEEDS_UDEV
@pytest.mark.parametrize("device", ["ttyUSB0", "ttyUSB2", "ttyUSB3", "ttyACM0", "ttyS1", "gpiochip0", "rtc0"])
def test_the_firmwares_user_and_no_other_may_use_a_device(devices, device):
    assert devices[device].splitlines()[-1] == "STAT=mc252 660"


@NEEDS_UDEV
def test_devices_that_are_not_the_firmwares_are_left_alone(devices):
    for device in ("tty1", "ttyACM1", "sdb1"):
        assert "STAT=mc252" not in devices[device], device


@NEEDS_UDEV
def test_an_ftdi_adapter_hands_bytes_over_at_once(devices):
    assert "/device/latency_timer' writing '1'" in devices["ttyUSB0"]
    assert "latency_timer" not in devices["ttyUSB1"]


@NEEDS_UDEV
def test_a_card_is_mounted_when_it_is_put_in(devices):
    assert r"SYSTEMD_WANTS=media-mc252\x2dcard.mount" in devices["sda1"]
    assert "SYSTEMD_WANTS=media" not in devices["sdb1"]


# polkit

ASK = r"""
const fs = require("fs");
let rule = null;
const polkit = {Result: {YES: "yes", NOT_HANDLED: "not handled"}, addRule: (made) => { rule = made; }};
new Function("polkit", fs.readFileSync(process.argv[1], "utf8"))(polkit);
const asked = JSON.parse(process.argv[2]);
const action = {id: asked.id, lookup: (name) => asked.details[name]};
console.log(rule(action, {user: asked.user}));
"""


def may(user, action, **details):
    asked = json.dumps({"user": user, "id": action, "details": details})
    done = subprocess.run(
        ["node", "-e", ASK, str(DEPLOY / "mc252.rules"), asked], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip() == "yes"


MANAGE = "org.freedesktop.systemd1.manage-units"
CARD = r"media-mc252\x2dcard.mount"


@needs("node")
def test_the_firmware_may_restart_the_machine_and_no_other_user_by_this_rule():
    assert may("mc252", "org.freedesktop.login1.reboot")
    assert may("mc252", "org.freedesktop.network1.reload")
    assert may("mc252", "org.freedesktop.hostname1.set-static-hostname")
    assert not may("somebody", "org.freedesktop.login1.reboot")
    assert not may("mc252", "org.freedesktop.login1.power-off")


@needs("node")
def test_the_firmware_may_unmount_the_card_and_touch_no_other_unit():
    assert may("mc252", MANAGE, unit=CARD, verb="stop")
    assert not may("mc252", MANAGE, unit=CARD, verb="start")
    assert not may("mc252", MANAGE, unit="ssh.service", verb="stop")
    assert not may("somebody", MANAGE, unit=CARD, verb="stop")


# Scripts


def is_shell(path):
    return path.read_text().startswith("#!/bin/sh")


@needs("shellcheck")
def test_the_scripts_are_sound():
    scripts = [DEPLOY / name for name in ("install.sh", "make-deb", "link-network")]
    for folder in ("debian", "image"):
        scripts += [path for path in (DEPLOY / folder).rglob("*") if path.is_file() and is_shell(path)]
    # What initramfs-tools brings is not there to be read.
    command = ["shellcheck", "--exclude=SC1091,SC2154", *scripts]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
