"""The installed device after it has restarted the machine by systemd-logind, as a user without that right by itself."""

import json
import os
import pathlib
import time

import pytest

from tests.vm.guest.device_api import answers, login, state, wait_until
from tests.vm.guest.device_api import call as call_device
from tests.vm.guest.far_end import FAR_VPN, VPN, FarEnd
from tests.vm.guest.start import KEYS

GET = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=20).read().decode())"


@pytest.fixture(scope="module")
def token():
    wait_until(answers)
    return login()


def test_the_settings_are_in_use_and_the_reason_is_known(token):
    _, settings = call_device("/api/settings/active/get/?language&ethernet", token=token)
    assert (settings["language"], settings["ethernet"]["hostname"]) == ("uk", "pump-house")
    system = state(token, "system")
    assert system["startReason"] == "REBOOT"
    assert system["errors"] == []
    assert os.uname().nodename == "pump-house"


def test_the_machine_went_down_in_order(run):
    assert "shutdown" in run("last", "-x", "shutdown")  # which systemd writes down as the last thing


def test_the_time_has_survived(run):
    assert time.gmtime().tm_year >= time.gmtime(os.stat("/opt/checkout/pyproject.toml").st_mtime).tm_year + 1


def test_the_password_is_not_shown_a_second_time(run):
    shown = run("systemctl", "show", "--value", "-p", "ConditionResult", "mc252-provision").strip()
    assert shown == "no"


def test_the_tunnel_of_the_settings_is_up_and_lets_administrators_in(token, run):
    keys = json.loads(KEYS.read_text())
    far = FarEnd(run, keys["far"])
    try:
        far.expect(keys["near"][1])
        wait_until(lambda: state(token, "vpn")["peerHandshakeSec"] is not None)
        vpn = state(token, "vpn")
        assert (vpn["up"], vpn["interface"], vpn["ip"]) == (True, "wgmanual", VPN)
        run("ping", "-c", "1", "-W", "10", FAR_VPN)
        answer = json.loads(far.python(GET, f"http://{VPN}/api/state/get/?access"))
        assert answer["access"]["level"] == 2
    finally:
        far.clean()


def test_the_package_is_purged_without_a_trace(run):
    run("dpkg", "--purge", "mc252-firmware")
    for path in ("/etc/mc252", "/var/lib/mc252", "/var/lib/mc252-network", "/usr/lib/mc252", "/usr/bin/mc252"):
        assert not os.path.exists(path)
    assert not list(pathlib.Path("/etc/systemd/network").glob("10-mc252-*"))
    assert run("systemctl", "is-active", "mc252", check=False).strip() == "inactive"
