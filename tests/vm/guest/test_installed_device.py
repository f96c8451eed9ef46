"""The Debian package, installed on a machine whose hardware it is configured for, and driven by its API."""

import base64
import json
import os
import pathlib
import pwd
import signal
import time

import pytest

from tests.vm.guest.device_api import LOGIN, answers, call, login, state, wait_until
from tests.vm.guest.serial_peer import Peer, rtu

GUEST = pathlib.Path(__file__).parent
PACKAGE = GUEST.parents[2] / "mc252-firmware.deb"
CARD = "/media/mc252-card"
CONTENT = base64.b64encode(b"hello").decode()
READ, ANSWER = bytes([3, 0, 0, 0, 1]), bytes([3, 2, 0x12, 0x34])


@pytest.fixture(scope="module", autouse=True)
def installed(run):
    """As somebody does who has put a board config there before."""
    units = pathlib.Path("/etc/systemd/system")
    (units / "gpio.service").write_text((GUEST / "gpio.service").read_text())
    run("systemctl", "enable", "--now", "gpio.service")
    os.makedirs("/etc/mc252")
    pathlib.Path("/etc/mc252/board.json").write_text((GUEST / "board.json").read_text())
    said = run("dpkg", "--install", str(PACKAGE))
    assert "shown on its console" in said
    wait_until(answers)
    return said


@pytest.fixture
def token():
    wait_until(answers)
    return login()


@pytest.fixture
def show(run):
    return lambda name: run("systemctl", "show", "--value", "-p", name, "mc252").strip()


def test_it_runs_and_has_told_systemd_so(show):
    assert (show("Type"), show("ActiveState"), show("SubState")) == ("notify", "active", "running")
    assert show("NRestarts") == "0"
    assert show("UnitFileState") == "enabled"


def test_it_runs_as_a_user_of_its_own_with_three_capabilities(show):
    lines = pathlib.Path(f"/proc/{show('MainPID')}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert pwd.getpwuid(int(status["Uid"].split()[0])).pw_name == "mc252"
    assert int(status["CapEff"], 16) == 1 << 10 | 1 << 12 | 1 << 25  # NET_BIND_SERVICE, NET_ADMIN, SYS_TIME
    assert status["NoNewPrivs"] == "1"


def test_the_password_was_shown_on_the_console_and_stands_in_no_log(rig, run, installed):
    password = json.loads(LOGIN.read_text())["password"]
    wait_until(lambda: rig.ask(f"console shows {password}") == "ok", 10)
    assert password not in run("journalctl", "--no-pager", "--output=cat")
    assert password not in installed
    status = LOGIN.stat()
    assert (status.st_mode & 0o777, pwd.getpwuid(status.st_uid).pw_name) == (0o600, "mc252")


def test_nothing_is_wrong_with_any_part(token):
    assert state(token, "system")["errors"] == []


def test_the_check_of_the_board_finds_every_part(run):
    run("systemctl", "stop", "mc252")
    try:
        check = ["setpriv", "--reuid=mc252", "--regid=mc252", "--clear-groups"]
        check += ["--inh-caps=+sys_time,+net_admin", "--ambient-caps=+sys_time,+net_admin"]
        check += ["mc252", "check", "--board", "/etc/mc252/board.json"]
        said = run("sh", "-c", 'exec "$@" 2>&1', "sh", *check, check=False)
    finally:
        run("systemctl", "start", "mc252")
        wait_until(answers)
    for found in ("opens at 9600 bit/s", "RTC", "BUTTON, not pressed", "eth0 10.0.2.15", "MAC 52:54:00:12:34:56"):
        assert found in said, said


def test_the_wired_network_is_run_by_the_settings(token, run):
    assert os.path.realpath("/etc/systemd/network/10-mc252-ethernet.network").startswith("/var/lib/mc252-network/")
    wait_until(lambda: state(token, "ethernet")["ip"] == "10.0.2.15")
    assert state(token, "ethernet") == {"ip": "10.0.2.15", "mac": "52:54:00:12:34:56", "linkUp": True}
    assert "10-mc252-ethernet.network" in run("networkctl", "status", "eth0", "--no-pager")


def test_a_question_goes_over_the_uart_and_its_answer_comes_back(token):
    peer = Peer("/dev/ttyS2", {rtu(7, READ): rtu(7, ANSWER)}, baudrate=9600)
    try:
        body = {"uid": 7, "func": 3, "data": base64.b64encode(READ[1:]).decode()}
        status, made = call("/api/modbus/req/", body, token)
        assert status == 200, made
        status, answer = call(f"/api/modbus/resp/?tid={made['tid']}&wait=5000", token=token)
        assert status == 200 and base64.b64decode(answer["data"])[-2:] == ANSWER[-2:], answer
    finally:
        peer.stop()


def test_a_press_of_the_button_lets_in():
    assert call("/api/identify/")[0] == 401
    (pull,) = pathlib.Path("/sys/devices/platform").glob("gpio-sim.*/gpiochip*/sim_gpio4/pull")
    pull.write_text("pull-down")
    time.sleep(0.05)
    pull.write_text("pull-up")
    wait_until(lambda: call("/api/identify/")[0] == 200)


def plug_in(rig, run):
    rig.order("plug the reader in")
    wait_until(lambda: os.path.exists("/dev/sda"))
    run("udevadm", "settle")


def test_a_card_in_a_reader_is_mounted_by_the_system_written_and_ejected(rig, run, token):
    plug_in(rig, run)
    run("sfdisk", "--quiet", "--wipe=always", "/dev/sda", text="2048,,c\n")
    run("udevadm", "settle")
    run("mkfs.vfat", "-n", "CARD", "/dev/sda1")
    rig.order("pull the reader out")
    wait_until(lambda: not os.path.exists("/dev/sda"))

    plug_in(rig, run)
    wait_until(lambda: state(token, "card")["mounted"])
    body = {"path": "/logs/звіт.txt", "blockIdx": 0, "blockCount": 1, "data": CONTENT}
    status, answer = call("/api/card/file/write/", body, token)
    assert status == 200, answer
    assert pathlib.Path(CARD, "logs", "звіт.txt").read_text() == "hello"
    status, answer = call("/api/cmd/memory/card_eject", {}, token)
    assert status == 200, answer
    assert not os.path.ismount(CARD)
    assert call("/api/card/dir/", {"path": "/"}, token)[0] == 503
    assert state(token, "card")["present"] is False

    rig.order("pull the reader out")
    wait_until(lambda: not os.path.exists("/dev/sda"))
    plug_in(rig, run)
    wait_until(lambda: state(token, "card")["mounted"])
    rig.order("pull the reader out")
    wait_until(lambda: not state(token, "card")["present"])
    wait_until(lambda: not os.path.ismount(CARD))


def test_the_time_that_is_set_goes_to_the_system_clock_and_the_rtc(token):
    moment = time.time() + 400 * 86400
    text = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))
    status, answer = call("/api/cmd/time/set/", {"datetime": text}, token)
    assert status == 200, answer
    assert abs(time.time() - moment) < 30
    assert abs(int(pathlib.Path("/sys/class/rtc/rtc0/since_epoch").read_text()) - time.time()) <= 2


def test_a_process_that_hangs_is_started_anew_by_the_watchdog(show, run):
    process = int(show("MainPID"))
    os.kill(process, signal.SIGSTOP)
    wait_until(lambda: int(show("MainPID")) not in (0, process))
    wait_until(answers)
    assert show("NRestarts") == "1"
    assert "Watchdog timeout" in run("journalctl", "--no-pager", "--unit=mc252")
