"""Files in the state folder that are damaged in any way cost what they held, never the device."""

import json
import os
import re
import socket

import pytest

from firmware.services.settings.document_store import DocumentStore
from tests.firmware.running import BOARD, Running

FILES = (
    *("settings.json", "settings.json.old", "settings.json.new", "settings.json.kept", "restart-reason", "running"),
    *("factory-login", "device-key", "device-key.pub", "clock-offset", "control", "modem-pin"),
)
LINUX = {"board": "plain", "system": {"driver": "linux"}, "settings": {"modbusTcp": {"port": 5020}}}


def folder(path):
    path.mkdir()
    (path / "inside").write_text("something")


def left_socket(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path.name)  # a socket's path must be short: from the folder itself


DAMAGES = {
    "rubbish": lambda path: path.write_bytes(b"\xff\xfe{\x80\0"),
    "nothing in it": lambda path: path.write_bytes(b""),
    "too much": lambda path: path.write_bytes(b"0" * 300000),
    "deep": lambda path: path.write_text("[" * 9000),
    "another document": lambda path: path.write_text('{"username": "x", "password": "short"}'),
    "a pipe": os.mkfifo,
    "a folder": folder,
    "a socket": left_socket,
}


@pytest.mark.parametrize(
    ("damage", "board"),
    [(damage, BOARD) for damage in DAMAGES] + [(damage, LINUX) for damage in ("rubbish", "another document", "a pipe")],
    ids=lambda value: value["board"] if isinstance(value, dict) else value,
)
def test_a_device_whose_files_are_all_damaged_answers(tmp_path, monkeypatch, damage, board):
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        DAMAGES[damage](tmp_path / name)
    with Running(tmp_path, board) as device:
        assert device.get("version/")["device"] == "MC252"
        if board is BOARD:
            device.login()
            assert re.match("settings.json: (is|cannot)", device.get("state/get/?system")["system"]["errors"][0])
            device.post("settings/saved/set/", {"timeGmt": 60})
            device.post("cmd/time/set/", {"datetime": "2026-11-30T12:00:00Z"})
        if board is BOARD and damage in ("a pipe", "a folder"):
            device.post("cmd/reboot/")
            device.read_announcement()
            device.login()
            system = device.get("state/get/?system")["system"]
            assert (system["startReason"], system["errors"]) == ("REBOOT", [])
            assert device.get("settings/active/get/?timeGmt") == {"timeGmt": 60}


def keep(path, *documents):
    store = DocumentStore(str(path), "settings.json")
    for document in documents:
        store.save(document)
        store.mark()


@pytest.mark.parametrize("loss", ["damaged", "gone"])
def test_a_device_that_has_lost_its_settings_lets_nobody_in_but_over_http(tmp_path, loss):
    keep(tmp_path, {"protect": {"password": "a word of mine"}}, {"modbusTcp": {"allow": []}})
    for name in ("settings.json", "settings.json.old"):
        (tmp_path / name).write_bytes(b"") if loss == "damaged" else (tmp_path / name).unlink()
    with Running(tmp_path) as device:
        assert "Modbus TCP" not in device.line
        device.login()
        lost, closed = device.get("state/get/?system")["system"]["errors"]
        assert lost.startswith("settings.json: is " + loss)
        assert closed.startswith("Modbus TCP and the VPN stay off")
        device.post("settings/saved/set/", {"timeGmt": 60})
        device.post("cmd/reboot/")
        device.read_announcement()
        assert "Modbus TCP" not in device.line
        device.login()
        assert device.get("state/get/?system")["system"]["errors"] == []
        device.post("settings/saved/set/", {"modbusTcp": {"enabled": True}})
        device.post("cmd/reboot/")
        device.read_announcement()
        assert "Modbus TCP" in device.line


def test_a_device_that_never_had_settings_serves_as_it_left_the_factory(tmp_path):
    with Running(tmp_path) as device:
        assert "Modbus TCP" in device.line
        device.login()
        assert device.get("state/get/?system")["system"]["errors"] == []


def test_a_reset_leaves_no_secret_in_any_file(tmp_path):
    secrets = {
        "gsm": {"password": "Planted-1", "pin": "73915482"},
        "protect": {"password": "Planted-2"},
        "wgManual": {"presharedKey": "UGxhbnRlZCBhbmQgZ3JlcHBlZCBmb3IgYWZ0ZXJ3YXI="},
    }
    keep(tmp_path, {"timeGmt": 1}, secrets, dict(secrets, timeGmt=2))
    with Running(tmp_path) as device:
        device.control("button press")
        headers = {"Host": "127.0.0.1"}
        for path in ("cmd/settings/export/", "cmd/settings/reset/"):
            assert device.client.post("api/" + path, json={}, headers=headers).status_code == 200
        device.process.terminate()
        said = device.process.stdout.read() + device.process.stderr.read()
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len([text for text in kept if b'"protect"' in text]) == 2
    for word in (b"Planted", b"73915482", b"UGxhbnRl"):
        assert not [text for text in kept if word in text]
        assert word.decode() not in said


def test_a_reset_is_stored_twice(tmp_path):
    store = DocumentStore(str(tmp_path), "settings.json")
    store.save({"secret": "old"})
    store.overwrite({"timeGmt": 0})
    assert json.loads((tmp_path / "settings.json.old").read_text().split("\n")[2]) == {"timeGmt": 0}
    (tmp_path / "settings.json").write_bytes(b"")
    again = DocumentStore(str(tmp_path), "settings.json")
    assert again.load()[0] == {"timeGmt": 0}
    again.save({"timeGmt": 60})
    assert DocumentStore(str(tmp_path), "settings.json").load() == ({"timeGmt": 60}, [])
