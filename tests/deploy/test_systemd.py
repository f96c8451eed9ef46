"""The service run by systemd itself, with its whole sandbox, and the rights that polkit gives it."""

import json
import re
import time

import pytest

from deploy.updates import bundle as bundles
from deploy.updates.publish import entry_of, write_index
from tests.deploy.machines import NEEDS_DEBIANS_PYTHON, NEEDS_MACHINE, ROOT

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


# Updates between packages

UPDATER = {"driver": "folders", "keys": "/usr/share/mc252/update-keys.json", "compatible": "raspberry-pi"}
KEYS = ROOT / "build" / "keys"  # whose keyring is in the package
NEXT = "0.9.0"


@pytest.fixture(scope="module")
def published(package, booted, tmp_path_factory):
    """A folder of updates in the machine, with the next version of what is in the package."""
    tree = bundles.unpack_package(package, tmp_path_factory.mktemp("unpacked"))
    version = tree / "firmware" / "__init__.py"
    version.write_text(re.sub('VERSION = "[^"]*"', f'VERSION = "{NEXT}"', version.read_text(), count=1))
    bundles.compile_tree(tree)
    folder = booted.shared / "updates"
    folder.mkdir()
    header = {"version": NEXT, "minVersion": "0.0.0", "compatible": ["raspberry-pi"]}
    header["architecture"] = bundles.architecture_of(package)
    bundles.write_bundle(tree, folder / "next.bundle", KEYS, header, level=1)
    write_index(folder, KEYS, [dict(entry_of(folder / "next.bundle"), channel="stable", rollout=100, notBefore=0)], 30)
    return folder


UPDATE = r"""
import hashlib, http.server, json, sys, threading, time, urllib.request

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

def call(path, body=None, token=""):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request("http://127.0.0.1" + path, data, {"Authorization": "Bearer " + token})
    return json.load(urllib.request.urlopen(request, timeout=60))

def login():
    digest = hashlib.sha1(("admin" + sys.argv[1] + call("/api/login/salt/")["salt"]).encode()).hexdigest()
    return call("/api/login/", {"username": "admin", "password": digest})["token"]

make = lambda *words: Quiet(*words, directory="/opt/test/updates")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), make)
threading.Thread(target=server.serve_forever, daemon=True).start()
token = login()
print(json.dumps(call("/api/cmd/updates/download/", {}, token)))
while call("/api/state/get/?fwUpdate", None, token)["fwUpdate"]["status"] == "DOWNLOADING":
    time.sleep(0.1)
print(json.dumps(call("/api/cmd/updates/program/", {}, token)))
end = time.monotonic() + 60
while time.monotonic() < end:
    try:
        if call("/api/version/")["firmwareVer"] == 900:
            break
    except OSError:
        pass
    time.sleep(0.2)
print(json.dumps(call("/api/state/get/?fwUpdate", None, login())["fwUpdate"]))
"""


def version(machine):
    get = (
        "import json, urllib.request as u; print(json.load(u.urlopen('http://127.0.0.1/api/version/'))['firmwareVer'])"
    )
    return machine.sh(f'python3 -c "{get}"').strip()


@NEEDS_DEBIANS_PYTHON
def test_an_update_starts_in_place_of_the_package_until_that_is_newer_or_somebody_has_changed_it(machine, published):
    settings = {"download": {"url": "http://127.0.0.1:8000/", "enabled": True}}
    board = dict(BOARD, updater=dict(UPDATER, healthySec=1), settings=settings)
    (machine.shared / "updates.json").write_text(json.dumps(board))
    machine.sh("cp /etc/mc252/board.json /opt/kept; cp /opt/test/updates.json /etc/mc252/board.json")
    machine.sh("systemctl restart mc252.service")
    of_the_package = version(machine)
    password = json.loads(machine.sh("cat /var/lib/mc252/factory-login"))["password"]
    said = machine.run("python3", "-c", UPDATE, password)
    assert said.returncode == 0, said.stderr + machine.run("journalctl", "-u", "mc252").stdout
    downloaded, programmed, state_after = [json.loads(line) for line in said.stdout.splitlines()]
    assert downloaded["status"] == programmed["status"] == "DONE"
    assert version(machine) == "900", machine.run("journalctl", "-u", "mc252").stdout
    assert state_after["rolledBackFrom"] is None
    # The keys and the start command are not the service's to change.
    for path in (UPDATER["keys"], "/usr/libexec/mc252/supervisor", "/etc/mc252/board.json"):
        assert machine.as_firmware("sh", "-c", f"echo >>{path}").returncode != 0
    # The machine starts anew: what was confirmed, or still is on trial, starts again.
    machine.sh("systemctl restart mc252.service")
    assert version(machine) == "900"
    # The package manager brings a newer one.
    of_ours = "/usr/lib/mc252/firmware/__init__.py"
    machine.sh(f"cp -p {of_ours} /opt/ours; sed -i 's/^VERSION = .*/VERSION = \"0.9.5\"/' {of_ours}")
    machine.sh("systemctl restart mc252.service")
    assert version(machine) == "905"
    machine.sh(f"cp -p /opt/ours {of_ours}; rm /var/lib/mc252/slots/state.json")
    take = '{"current": "a", "trial": "", "starts": 0, "result": "", "error": "", "rolledBackFrom": ""}'
    machine.sh(f"echo '{take}' >/var/lib/mc252/slots/state.json; systemctl restart mc252.service")
    assert version(machine) == "900"
    # Whoever has taken the service over changes what will start next.
    machine.sh("systemctl stop mc252.service")
    planted = "echo 'raise SystemExit' >>/var/lib/mc252/slots/a/firmware/__init__.py"
    assert machine.as_firmware("sh", "-c", planted).returncode == 0
    machine.sh("systemctl start mc252.service")
    assert version(machine) == of_the_package
    assert "slot a" in machine.run("journalctl", "-u", "mc252").stdout
    machine.sh("cp /opt/kept /etc/mc252/board.json; rm -r /var/lib/mc252/slots; systemctl restart mc252.service")
