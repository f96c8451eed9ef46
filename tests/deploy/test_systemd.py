"""The service run by systemd itself, with its whole sandbox, and the rights that polkit gives it."""

import json
import time

import pytest

from tests.deploy.machines import NEEDS_MACHINE

pytestmark = NEEDS_MACHINE

BOARD = {
    "board": "test",
    "system": {"driver": "linux"},
    "network": {"driver": "linux", "interface": "lo"},
    "rs485": {"driver": "simulated"},
    "card": {"driver": "linux", "mountPoint": "/media/mc252-card"},
    "clock": {"driver": "linux", "setBy": "firmware"},
    "modem": None,
    "button": {"driver": "simulated"},
}
CARD = r"media-mc252\x2dcard.mount"


def state(machine, name, unit="mc252.service"):
    return machine.run("systemctl", "show", "-P", name, unit).stdout.strip()


def reached(condition):
    deadline = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def installed(booted):
    (booted.shared / "board.json").write_text(json.dumps(BOARD))
    done = booted.install("--board", "/opt/test/board.json")
    assert done.returncode == 0, done.stderr + booted.run("journalctl", "-u", "mc252").stdout
    assert "login admin / " in done.stdout
    return booted


@pytest.fixture
def machine(installed):
    """The service runs at the start of a test."""
    yield installed
    installed.run("systemctl", "reset-failed", "mc252.service")
    installed.sh("systemctl start mc252.service")


def test_it_runs_and_may_do_what_it_needs_and_no_more(machine):
    assert state(machine, "ActiveState") == "active"
    pid = state(machine, "MainPID")
    get = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1/api/version/').status)"
    assert machine.run("python3", "-c", get).stdout == "200\n"
    lines = machine.sh(f"cat /proc/{pid}/status").splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    needed = 1 << 10 | 1 << 12 | 1 << 25  # CAP_NET_BIND_SERVICE, CAP_NET_ADMIN, CAP_SYS_TIME
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {needed}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    inside = f"nsenter -t {pid} -m setpriv --reuid=mc252 --regid=mc252 --clear-groups sh -c"
    assert machine.sh(f"{inside} 'echo x >/var/lib/mc252-network/x; cat /var/lib/mc252-network/x'") == "x\n"
    assert machine.run("nsenter", "-t", pid, "-m", "touch", "/usr/x").returncode != 0
    assert machine.run("nsenter", "-t", pid, "-m", "ls", "/root").stdout == ""


def test_a_firmware_that_hangs_is_started_anew(machine):
    folder = "/run/systemd/system/mc252.service.d"
    machine.sh(f"mkdir -p {folder}; printf '[Service]\nWatchdogSec=1\nRestartSec=0\n' >{folder}/soon.conf")
    machine.sh("systemctl daemon-reload; systemctl restart mc252.service")
    pid = state(machine, "MainPID")
    machine.sh(f"kill -STOP {pid}")
    reached(lambda: state(machine, "MainPID") not in ("0", pid))
    assert state(machine, "NRestarts") == "1"
    machine.sh(f"rm -r {folder}; systemctl daemon-reload; systemctl restart mc252.service")


def test_a_wrong_board_config_is_tried_again_until_somebody_mends_it(machine):
    machine.sh("cp /etc/mc252/board.json /opt/kept; echo '{}' >/etc/mc252/board.json")
    assert machine.run("systemctl", "restart", "mc252.service").returncode != 0
    reached(lambda: int(state(machine, "NRestarts")) > 0)
    machine.sh("cp /opt/kept /etc/mc252/board.json")
    reached(lambda: state(machine, "ActiveState") == "active")
    machine.sh("systemctl stop mc252.service")


def test_its_user_may_ask_systemd_for_what_the_firmware_asks(machine):
    machine.sh("systemctl start systemd-networkd.service")
    assert machine.as_firmware("networkctl", "reload").returncode == 0
    assert machine.as_firmware("hostnamectl", "--no-ask-password", "hostname", "pump-house").returncode == 0
    can = ["busctl", "call", "org.freedesktop.login1", "/org/freedesktop/login1", "org.freedesktop.login1.Manager"]
    assert machine.as_firmware(*can, "CanReboot").stdout == 's "yes"\n'
    assert machine.as_firmware(*can, "CanPowerOff").stdout != 's "yes"\n'
    assert machine.as_firmware("systemctl", "--no-ask-password", "stop", "systemd-networkd").returncode != 0
    assert machine.as_firmware("systemctl", "--no-ask-password", "start", CARD).returncode != 0
    machine.sh("systemctl stop systemd-networkd.service")


APPLY = """
import sys
sys.path.insert(0, "/usr/lib/mc252")
from hal.linux.net.networkd import Networkd

ethernet = {"dhcp": False, "ip": "192.0.2.5", "mask": "255.255.255.0", "gateway": "", "dns1": "", "dns2": ""}
Networkd("/var/lib/mc252-network").apply("lo", dict(ethernet, hostname="well-house"), "wgmanual", None)
"""


def test_network_settings_of_the_firmware_reach_systemd_networkd(machine):
    machine.sh("cp /etc/mc252/board.json /opt/kept; systemctl start systemd-networkd.service")
    managed = dict(BOARD, network={"driver": "linux", "interface": "lo", "managed": True})
    (machine.shared / "managed.json").write_text(json.dumps(managed))
    machine.sh("cp /opt/test/managed.json /etc/mc252/board.json; /usr/libexec/mc252/link-network")
    done = machine.as_firmware("python3", "-c", APPLY)
    assert done.returncode == 0, done.stderr
    bind = "import socket; socket.socket().bind(('192.0.2.5', 0))"
    reached(lambda: machine.run("python3", "-c", bind).returncode == 0)
    assert machine.sh("hostname") == "well-house\n"
    machine.sh("cp /opt/kept /etc/mc252/board.json; /usr/libexec/mc252/link-network")
    machine.sh("systemctl stop systemd-networkd.service")


def test_a_card_that_the_system_mounts_is_seen_and_ejected_by_the_firmware(machine):
    folder = f"/run/systemd/system/{CARD}.d"
    machine.sh(f"mkdir -p '{folder}'; printf '[Mount]\nWhat=tmpfs\nType=tmpfs\nOptions=\n' >'{folder}/fake.conf'")
    machine.sh("systemctl daemon-reload")
    password = json.loads(machine.sh("cat /var/lib/mc252/factory-login"))["password"]

    def mounted():
        return machine.call(password, "/api/state/get/?card")[0]["card"]["mounted"]

    assert not mounted()
    machine.sh("systemctl start /media/mc252-card")
    reached(mounted)
    machine.call(password, "/api/cmd/memory/card_eject")
    assert not mounted()
    assert state(machine, "ActiveState", CARD) == "inactive"


FIRST_START = r"""
import json, os, subprocess
screen, console = os.openpty()
subprocess.run(["mount", "--bind", os.ttyname(console), "/dev/console"], check=True)
subprocess.run(["systemctl", "start", "mc252.service"], check=True)
print(os.read(screen, 65536).decode())
subprocess.run(["umount", "/dev/console"], check=True)
"""


def test_the_login_of_a_new_device_is_on_the_console_and_in_no_log(machine):
    machine.sh("systemctl stop mc252.service; rm /var/lib/mc252/factory-login")
    (machine.shared / "first.py").write_text(FIRST_START)
    shown = machine.sh("python3 /opt/test/first.py")
    password = json.loads(machine.sh("cat /var/lib/mc252/factory-login"))["password"]
    assert f"login admin / {password}" in shown
    assert password not in machine.sh("journalctl --no-pager --all")
    kept = machine.run("grep", "-rlF", password, "/var", "/run", "/etc", "/tmp").stdout.split()
    assert kept == ["/var/lib/mc252/factory-login"]
