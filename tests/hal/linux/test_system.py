"""The Linux board itself, on folders that stand for /sys and /proc. Nothing here can restart the machine."""

import os
import shutil
import stat
import subprocess
from subprocess import run

import pytest

from hal.contracts import NotPermitted
from hal.fields import BadField
from hal.linux import libc
from hal.linux.host import system, systemd
from hal.linux.host.system import LinuxSystem

PI_MAC = "dc:a6:32:01:02:03"


class Machine:
    """Folders with what a kernel tells, and a record of what was done to restart it."""

    def __init__(self, root, monkeypatch):
        self.root = root
        self.state = root / "state"
        self.state.mkdir()
        self.reboots: list[str] = []
        self.error: Exception | None = None
        for name, path in (("_NET", "net"), ("_THERMAL", "thermal"), ("_MEMORY", "meminfo")):
            monkeypatch.setattr(system, name, str(root / path))
        monkeypatch.setattr(systemd, "RUNNING", str(root / "systemd"))
        (root / "net").mkdir()
        monkeypatch.setattr(system, "_SERIAL_FILES", (str(root / "serial-number"), str(root / "machine-id")))
        monkeypatch.setattr(libc, "reboot", self._reboot)
        monkeypatch.setattr(os, "sync", lambda: self.reboots.append("sync"))
        monkeypatch.setattr(subprocess, "run", self._run)
        monkeypatch.setattr(systemd.shutil, "which", lambda name: "/usr/bin/" + name)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def interface(self, name, mac, kind="0", hardware=True):
        self.write(f"net/{name}/address", mac + "\n")
        self.write(f"net/{name}/addr_assign_type", kind + "\n")
        if hardware:
            (self.root / "net" / name / "device").mkdir()

    def system(self, **options):
        return LinuxSystem(LinuxSystem.OPTIONS.check(options), str(self.state))

    def _reboot(self):
        self.reboots.append("reboot(2)")
        if self.error:
            raise self.error

    def _run(self, command, **options):
        self.reboots.append(" ".join(command))
        if isinstance(self.error, subprocess.TimeoutExpired):
            raise self.error
        return subprocess.CompletedProcess(command, 1 if self.error else 0, "", str(self.error or ""))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    return Machine(tmp_path, monkeypatch)


def test_the_identity_is_the_wired_interfaces(machine):
    machine.interface("lo", "00:00:00:00:00:00", hardware=False)
    machine.interface("br0", "aa:bb:cc:dd:ee:ff", "3", hardware=False)
    machine.interface("awlan0", "dc:a6:32:01:02:04")
    (machine.root / "net" / "awlan0" / "wireless").mkdir()
    machine.interface("eth0", PI_MAC)
    identity = machine.system().identity()
    assert (identity["mac"], identity["uniqueMac"]) == (PI_MAC, True)
    assert (identity["device"], identity["deviceId"], identity["firmwareType"]) == ("MC252", 252, 1)
    assert machine.system(interface="awlan0").identity()["mac"] == "dc:a6:32:01:02:04"


@pytest.mark.parametrize(("mac", "kind"), [("02:00:00:01:02:03", "0"), (PI_MAC, "1")])
def test_a_made_up_mac_is_not_unique(machine, mac, kind):
    machine.interface("eth0", mac, kind)
    identity = machine.system().identity()
    assert (identity["mac"], identity["uniqueMac"]) == (mac, False)


async def test_a_board_without_interfaces_has_a_mac_of_its_serial_number(machine):
    machine.write("serial-number", "10000000abcdef01\0")
    machine.write("machine-id", "other\n")
    mac = machine.system().identity()["mac"]
    assert mac.startswith("02:")
    assert len(mac) == 17
    assert machine.system().identity() == machine.system().identity()
    assert await machine.system().probe() == f"MAC {mac} (not unique), serial number 10000000abcdef01"
    machine.write("serial-number", "10000000abcdef02\0")
    assert machine.system().identity()["mac"] != mac


def test_an_interface_that_is_not_there_is_a_bad_board(machine):
    with pytest.raises(BadField, match=r"system\.interface: this machine has no interface eth7"):
        machine.system(interface="eth7")


def test_the_key_pair_is_made_once_and_kept_private(machine):
    key = machine.system().identity()["pubKey"]
    assert machine.system().identity()["pubKey"] == key
    assert stat.S_IMODE(os.stat(machine.state / "device-key").st_mode) == 0o600


def test_memory_is_what_the_kernel_says_is_available(machine):
    machine.write("meminfo", "MemTotal: 900 kB\nMemFree: 100 kB\nMemAvailable:  300 kB\n")
    assert machine.system().memory_free() == 300 * 1024


def test_the_temperature_is_the_processors(machine):
    assert machine.system().cpu_temperature() is None
    machine.write("thermal/thermal_zone0/type", "gpu-thermal\n")
    machine.write("thermal/thermal_zone0/temp", "99000\n")
    assert machine.system().cpu_temperature() == 99.0
    machine.write("thermal/thermal_zone1/type", "cpu-thermal\n")
    machine.write("thermal/thermal_zone1/temp", "48312\n")
    assert machine.system().cpu_temperature() == 48.312


async def started(machine):
    part = machine.system()
    await part.start()
    await part.stop()
    return part.start_reason()


async def test_the_reason_of_a_restart_is_known_after_it_and_only_then(machine):
    assert await started(machine) == "POWER_ON"
    machine.system().restart("AUTO_RESTART")
    assert await started(machine) == "AUTO_RESTART"
    assert await started(machine) == "POWER_ON"


async def test_a_start_after_no_stop_is_a_crash_unless_the_power_was_cut(machine, monkeypatch):
    await machine.system().start()
    killed = machine.system()
    await killed.start()
    assert killed.start_reason() == "CRASH"
    monkeypatch.setattr("hal.linux.host.restart_reason._boot_id", lambda: "another boot")
    assert await started(machine) == "POWER_ON"
    assert await started(machine) == "POWER_ON"


async def test_looking_at_a_board_does_not_eat_the_reason(machine):
    machine.system().restart("COMMAND")
    await machine.system().probe()
    assert await started(machine) == "COMMAND"


def test_systemd_restarts_the_machine_where_it_runs(machine):
    machine.write("systemd/x", "")
    machine.system().restart("COMMAND")
    assert machine.reboots == ["systemctl --no-ask-password --no-wall reboot"]


def test_without_systemd_the_kernel_restarts_after_everything_is_written_out(machine):
    machine.system().restart("COMMAND")
    assert machine.reboots == ["sync", "reboot(2)"]


@pytest.mark.parametrize(("name", "value", "code"), [("MC252_RESTART_EXIT", "75", 75), ("NOTIFY_SOCKET", "/x", 0)])
async def test_the_firmware_alone_starts_anew_where_somebody_waits_for_its_end(machine, monkeypatch, name, value, code):
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        machine.system().restart_firmware("UPDATE")
    assert (caught.value.code, machine.reboots) == (code, [])
    assert await started(machine) == "UPDATE"


async def test_where_nobody_waits_the_machine_restarts_for_another_firmware_too(machine):
    machine.system().restart_firmware("UPDATE")
    assert machine.reboots == ["sync", "reboot(2)"]
    assert await started(machine) == "UPDATE"


@pytest.mark.parametrize("with_systemd", [False, True])
async def test_a_restart_that_is_not_allowed_says_what_is_missing(machine, with_systemd):
    if with_systemd:
        machine.write("systemd/x", "")
    machine.error = PermissionError(1, "Access denied")
    with pytest.raises(NotPermitted, match=r"Access denied.*CAP_SYS_BOOT"):
        machine.system().restart("COMMAND")
    assert await started(machine) == "POWER_ON"


def test_a_systemd_that_does_not_answer_is_told(machine):
    machine.write("systemd/x", "")
    machine.error = subprocess.TimeoutExpired("systemctl", 10)
    with pytest.raises(NotPermitted, match="does not answer"):
        machine.system().restart("COMMAND")


def test_this_machine_tells_its_memory():
    free = LinuxSystem(LinuxSystem.OPTIONS.check({}), "").memory_free()
    assert free is not None
    assert free > 1_000_000


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/media/mc252-card", "media-mc252\\x2dcard.mount"),
        ("/mnt/a b/.c.d", "mnt-a\\x20b-.c.d.mount"),
        ("/.hidden", "\\x2ehidden.mount"),
        ("/", "-.mount"),
        ("/ü", "\\xc3\\xbc.mount"),
    ],
)
def test_mount_units_are_named_as_systemd_names_them(path, unit):
    assert systemd.mount_unit(path) == unit
    escape = shutil.which("systemd-escape")
    if escape is not None:
        assert run([escape, "--path", "--suffix=mount", path], capture_output=True, text=True).stdout.strip() == unit
