"""The process as a user starts it: arguments, exit codes, signals, restart, the simulated board's controls."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.firmware.running import BOARD, ROOT, Running


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_one_line_says_all_that_is_needed_to_begin(tmp_path):
    with Running(tmp_path) as device:
        assert "login admin / mc252-sim" in device.line
        assert f"serial port {tmp_path}/rs485" in device.line
        assert "Modbus TCP 127.0.0.1:" in device.line
        assert device.get("version/")["device"] == "MC252"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(tmp_path, number):
    with Running(tmp_path) as device:
        with socket.create_connection(("127.0.0.1", device.client.base_url.port)) as half_sent:
            half_sent.sendall(b"GET /api/version/ HTT")
            started = time.monotonic()
            device.process.send_signal(number)
            assert device.process.wait(timeout=10) == 0
            assert time.monotonic() - started < 5  # two seconds on a quiet machine
        assert device.process.stderr.read() == ""
        assert not (tmp_path / "rs485").exists()


def run(tmp_path, board):
    path = tmp_path / "board.json"
    path.write_text(board if isinstance(board, str) else json.dumps(board))
    return subprocess.run(
        [sys.executable, "-m", "firmware", "--board", str(path), "--state-dir", str(tmp_path), "--http", "127.0.0.1:0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )


@pytest.mark.parametrize(
    ("board", "named"),
    [
        ("{", "is not JSON"),
        ("[]", "must be a JSON object"),
        (dict(BOARD, system=None), "system: is missing"),
        (dict(BOARD, board=7), "board: must be"),
        (dict(BOARD, radar={}), "radar: is no part"),
        (dict(BOARD, rs485={"driver": "none-such"}), "rs485.driver: must be one of"),
        (dict(BOARD, rs485=[]), "rs485: must be null or an object"),
        (dict(BOARD, button={"driver": "simulated", "colour": "red"}), "button.colour: is unknown"),
        (dict(BOARD, settings={"serial": {"baudRate": 1}}), "settings: serial.baudRate: must be an integer 75..230400"),
    ],
)
def test_a_wrong_board_config_is_one_line_and_exit_code_2(tmp_path, board, named):
    outcome = run(tmp_path, board)
    assert outcome.returncode == 2
    assert outcome.stdout == ""
    lines = outcome.stderr.splitlines()
    assert len(lines) == 1
    assert str(tmp_path / "board.json") in lines[0]
    assert named in lines[0]


@pytest.mark.parametrize("http", ["8080", "127.0.0.1:x", "127.0.0.1:70000", ":80"])
def test_a_wrong_address_is_exit_code_2(http):
    outcome = subprocess.run(
        [sys.executable, "-m", "firmware", "--http", http], cwd=ROOT, capture_output=True, text=True, timeout=20
    )
    assert outcome.returncode == 2
    assert "must be HOST:PORT" in outcome.stderr


def test_a_taken_http_port_is_one_line_and_exit_code_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        path = tmp_path / "board.json"
        path.write_text(json.dumps(BOARD))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        outcome = subprocess.run(
            [sys.executable, "-m", "firmware", "--board", str(path), "--state-dir", str(tmp_path), "--http", address]
            + ["--modbus-tcp", "127.0.0.1:0"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=20,
        )
    assert outcome.returncode == 1
    assert "address already in use" in outcome.stderr.splitlines()[-1]


def test_a_taken_modbus_port_costs_the_gateway_alone(tmp_path):
    taken = socket.create_server(("127.0.0.1", 0))
    with taken, Running(tmp_path, modbus_tcp=f"127.0.0.1:{taken.getsockname()[1]}") as device:
        device.login()
        (problem,) = device.get("state/get/?system")["system"]["errors"]
        assert "Modbus TCP cannot listen" in problem


def test_a_reboot_makes_saved_settings_active(tmp_path):
    with Running(tmp_path, http=f"127.0.0.1:{free_port()}") as device:
        device.login()
        assert device.get("state/get/?system")["system"]["startReason"] == "POWER_ON"
        device.post("settings/saved/set/", {"serial": {"baudRate": 19200}, "protect": {"username": "boss"}})
        assert device.get("settings/active/get/?serial")["serial"]["baudRate"] == 9600
        pid = device.process.pid
        assert device.post("cmd/reboot/") == {}
        device.client.close()
        device.read_announcement()
        assert device.process.pid == pid
        assert device.client.get("api/state/get/").status_code == 401
        salt = device.client.get("api/login/salt/").json()["salt"]
        digest = hashlib.sha1(f"bossmc252-sim{salt}".encode()).hexdigest()
        answer = device.client.post("api/login/", json={"username": "boss", "password": digest})
        device.client.headers["Authorization"] = "Bearer " + answer.json()["token"]
        state = device.get("state/get/?system&bus")
        assert state["system"]["startReason"] == "REBOOT"
        assert state["bus"]["baudRate"] == 19200


def test_the_button_is_pressed_by_signal_and_by_the_control_socket(tmp_path):
    with Running(tmp_path) as device:
        assert device.client.get("api/state/get/?access").status_code == 401
        os.kill(device.process.pid, signal.SIGUSR1)
        while device.client.get("api/state/get/?access").status_code == 401:
            time.sleep(0.01)
        assert device.get("state/get/?access")["access"]["buttonSecLeft"] > 590
        assert device.control("button press") == "ok pressed"
        assert device.control("button push").startswith("error: ")
        assert device.control("").startswith("error: ")
        assert device.control("x" * 5000) == ""


def test_the_adapter_and_the_card_are_pulled_and_put_back(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        assert device.control("rs485 unplug").startswith("ok")
        while device.get("state/get/?bus")["bus"]["portOpen"]:
            time.sleep(0.01)
        refused = device.client.post("api/modbus/req/", json={"uid": 1, "func": 3, "addr": 0, "count": 1})
        assert (refused.status_code, refused.json()["error"], "retry-after" in refused.headers) == (
            503,
            "NO_PORT",
            True,
        )
        assert device.control("rs485 plug").startswith("ok")
        while not device.get("state/get/?bus")["bus"]["portOpen"]:
            time.sleep(0.01)
        tid = device.post("modbus/req/", {"uid": 1, "func": 3, "addr": 0, "count": 4})["tid"]
        assert device.get(f"modbus/resp/?tid={tid}&wait=5000")["values"] == [252, 104, 2300, 5000]
        assert device.control("card pull") == "ok pulled"
        assert device.get("state/get/?card")["card"]["present"] is False
        assert device.client.post("api/card/dir/", json={"path": "/"}).json()["error"] == "NO_CARD"
        device.control("card insert")
        assert device.post("card/dir/", {"path": "/"})["total"] == 0


def test_every_state_key_has_a_source(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        tid = device.post("modbus/req/", {"uid": 1, "func": 3, "addr": 0, "count": 1})["tid"]
        device.get(f"modbus/resp/?tid={tid}&wait=5000")
        state = device.get("state/get/")
        assert set(state["ethernet"]) == {"ip", "mac", "linkUp"}
        assert state["card"]["present"] is True
        assert state["time"]["utc"].endswith("Z")
        assert state["devices"]["1"]["ok"] == 1
        assert {name: state["access"][name] for name in ("level", "buttonSecLeft", "sessions")} == {
            "level": 1,
            "buttonSecLeft": 0,
            "sessions": 1,
        }
        assert (state["access"]["failedLogins"], state["access"]["lastFailedLogin"]) == (0, None)
        assert state["fwUpdate"]["status"] == "IDLE"
        assert state["vpn"] is None
        assert set(device.get("state/get/?bus&time")) == {"bus", "time"}


def test_settings_go_to_a_file_and_come_back_without_secrets(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        device.post("settings/saved/set/", {"gsm": {"apn": "internet", "password": "not-for-you"}, "language": "uk"})
        assert device.post("cmd/settings/export/", {"filePath": "/backup.json"}) == {"filePath": "/backup.json"}
        exported = json.loads((tmp_path / "card" / "backup.json").read_text())
        assert exported["gsm"]["apn"] == "internet"
        assert "not-for-you" not in json.dumps(exported)
        assert "mc252-sim" not in json.dumps(device.post("cmd/settings/export/"))
        device.post("cmd/settings/reset/")
        assert device.get("settings/saved/get/?language")["language"] == "en"
        device.post("cmd/settings/import/", {"filePath": "/BACKUP.JSON"})
        saved = device.get("settings/saved/get/?language&gsm")
        assert (saved["language"], saved["gsm"]["apn"]) == ("uk", "internet")
        (tmp_path / "card" / "half.json").write_text(json.dumps(exported)[:300])
        half = device.client.post("api/cmd/settings/import/", json={"filePath": "/half.json"})
        assert (half.status_code, half.json()["error"]) == (400, "BAD_JSON")
        exported["serial"]["baudRate"] = "fast"
        bad = device.client.post("api/cmd/settings/import/", json={"settings": exported})
        assert (bad.status_code, bad.json()["error"]) == (400, "BAD_FIELD")
        assert "serial.baudRate: must be an integer 75..230400" in bad.json()["message"]


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
@pytest.mark.parametrize("host", ["[::]", "0.0.0.0"])
def test_it_is_reached_over_ipv6_and_ipv4(tmp_path, host):
    port = free_port()
    with Running(tmp_path, http=f"{host}:{port}") as device:
        assert device.line.startswith(f"http://{host}:{port}/")
        for address in ("[::1]", "127.0.0.1"):
            url = f"http://{address}:{port}/api/"
            assert httpx.get(url + "version/", trust_env=False).json()["device"] == "MC252"
            assert httpx.get(url + "state/get/?access", trust_env=False).status_code == 401
        device.control("button press")
        for address in ("[::1]", "127.0.0.1"):
            answer = httpx.get(f"http://{address}:{port}/api/state/get/?access", trust_env=False)
            assert answer.json()["access"]["level"] == 1


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_it_listens_on_one_ipv6_address_alone_where_that_is_asked_for(tmp_path):
    with Running(tmp_path, http="[::1]:0", modbus_tcp="[::1]:0") as device:
        assert device.get("version/")["device"] == "MC252"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", device.client.base_url.port), timeout=5)
