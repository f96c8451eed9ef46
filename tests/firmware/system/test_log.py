"""The log as whoever looks for a fault reads it: over HTTP, by priorities, and only what he has not seen yet."""

import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

from firmware.api.endpoints.system import log as endpoint
from firmware.services.time.absent import NoClock
from hal.runtime.logs import ERROR, INFO, KEPT, WARNING, Log
from tests.firmware.running import BOARD, ROOT, Running


def texts(device, since=0):
    return [line["text"] for line in device.get(f"log/?since={since}")["lines"]]


def test_the_log_is_read_over_http_from_where_one_has_stopped(tmp_path):
    settings = dict(BOARD["settings"], logFlags=64)
    with Running(tmp_path, dict(BOARD, settings=settings)) as device:
        assert device.client.get("api/log/").status_code == 401
        device.login()
        first = device.get("log/")
        assert any(line["text"].startswith("started: firmware ") for line in first["lines"])
        assert first["last"] == first["lines"][-1]["number"]
        assert first["lost"] == 0
        assert all(line["utc"].endswith("Z") and line["secAgo"] < 60 for line in first["lines"])
        later = device.get(f"log/?since={first['last']}")
        assert [line["text"] for line in later["lines"]] == ["HTTP: 127.0.0.1 GET /api/log/ 200"]


async def test_lines_that_are_kept_no_more_are_counted(monkeypatch):
    log = Log()
    monkeypatch.setattr("firmware.api.endpoints.system.LOG", log)
    for number in range(KEPT + 30):
        log.put(f"line {number}", INFO)
    call = SimpleNamespace(
        query={"since": 10}, services=SimpleNamespace(clock=NoClock({"timeGmt": 0, "tsMode": 0, "tsManual": {}}))
    )
    answer = await endpoint(call)
    assert (answer["lost"], answer["last"], len(answer["lines"])) == (20, KEPT + 30, KEPT)
    assert answer["lines"][0]["number"] == 31
    call.query["since"] = KEPT + 30
    assert await endpoint(call) == {"lines": [], "lost": 0, "last": KEPT + 30}


def test_a_refused_modbus_client_and_a_restart_are_logged(tmp_path):
    settings = {"modbusTcp": {"port": 5020, "allow": ["192.0.2.0/24"]}}
    with Running(tmp_path, dict(BOARD, settings=settings)) as device:
        port = int(device.line.split("Modbus TCP 127.0.0.1:")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            assert client.recv(1) == b""
        device.login()
        assert "Modbus TCP: setting modbusTcp.allow does not let in 127.0.0.1" in texts(device)
        device.post("cmd/reboot/")
        device.read_announcement()
        device.login()
        assert any(text.endswith(", REBOOT") for text in texts(device))


def test_the_level_leaves_out_what_is_less_than_it(capsys):
    log = Log()
    log.level = WARNING
    log.write("all is well", INFO)
    log.put("an exchange", INFO)
    log.write("odd")
    log.write("broken", ERROR)
    assert capsys.readouterr().err.splitlines() == ["odd", "broken"]
    assert [line[2:] for line in log.since(0)] == [(WARNING, "odd"), (ERROR, "broken")]


def test_a_level_that_there_is_not_is_named(tmp_path):
    command = [sys.executable, "-m", "firmware", "--state-dir", str(tmp_path), "--log-level", "loud"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert outcome.returncode == 2
    assert "--log-level loud: must be one of error, warning, info" in outcome.stderr


@pytest.mark.parametrize(("level", "words"), [("error", []), ("info", ["restarting: REBOOT"])])
def test_the_level_of_the_command_line_is_in_force(tmp_path, level, words):
    with Running(tmp_path, arguments=["--log-level", level]) as device:
        device.login()
        device.post("cmd/reboot/")
        device.read_announcement()
        device.process.terminate()
        said = device.process.communicate(timeout=20)[1]
    assert said.splitlines() == words
