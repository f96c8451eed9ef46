"""Whatever can be set leaves a device that answers: each setting at each of its extremes, and a restart."""

import asyncio
import json
import socket

import pytest

from firmware.device import Device
from firmware.services.settings.table import SETTINGS
from hal.board import load_board
from hal.fields import BadField, Boolean, Choice, ListOf, Nullable, Object, Text
from tests.firmware.running import BOARD, Running

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
ROW = {"uidFrom": 1, "uidTo": 1, "host": "plc.test"}
FIT: dict = {  # what the other fields of a key need so that as much as possible of it works
    "tsManual": {"startMonth": 4, "endMonth": 9, "startFrom": 1, "endFrom": 1},
    "ethernet": {"ip": "192.168.1.20", "mask": "255.255.255.0"},
    "cbCloud": {"enabled": True, "host": "127.0.0.1"},
    "ownSrv": {"enabled": True, "host": "127.0.0.1"},
    "rmSrv": {"enabled": True, "host": "127.0.0.1"},
    "ntp": {"enabled": True, "server1": "127.0.0.1"},
    "wgManual": {
        "privateKey": KEY,
        "address": "10.8.0.2/24",
        "peerPublicKey": KEY,
        "endpoint": "vpn.test:1",
        "allowedIps": ["10.8.0.0/24"],
    },
    "modbusTcp": {"enabled": True, "uidTo": 255, "uidFrom": 1},
    "gsm": {"enabled": True},
    "astro": {"latitude": 50, "longitude": 30},
}
TEXTS = ["", "a", "1.0.0.1", "223.255.255.254", "255.255.255.254", "128.0.0.0", "0.0.0.0/0", "255.255.255.255/32"]
TEXTS += ["1.0.0.1/1", "223.255.255.253/30", KEY, "h.test:1", "http://h", "+12345", "+" + "9" * 15, "0" * 4, "9" * 8]
LABELS = ("a" * 63 + ".") * 3
TEXTS += [LABELS + "a" * 61, LABELS + "a" * 55 + ":65535", "http://" + LABELS + "a" * 55 + "/", "a" * 100, "a" * 15]
NOT_DIALLED = ("host", "server1", "server2")  # names that nobody here is to look up


def extremes(kind):
    """The least and the greatest values of a kind, the shortest and the longest."""
    if isinstance(kind, Nullable):
        return [None, *extremes(kind.kind)]
    if isinstance(kind, Boolean):
        return [False, True]
    if isinstance(kind, Choice):
        return list(kind.values)
    if isinstance(kind, Text):
        fitting = [
            text for text in [*TEXTS, "x" * kind.low, "\u0416" * kind.high, "x" * kind.high] if takes(kind, text)
        ]
        return [min(fitting, key=len), max(fitting, key=len)]
    if isinstance(kind, ListOf):
        return [[], [extremes(kind.kind)[-1]] * kind.high]
    return [kind.low, kind.high]


def takes(kind, value):
    try:
        kind.check(value, "")
    except BadField:
        return False
    return True


def changes():
    """(name, change) for each extreme of each field of each key."""
    for key in SETTINGS:
        if isinstance(key.kind, Object):
            for field in key.kind.fields:
                for value in extremes(field.kind):
                    fit = dict(FIT.get(key.name, {}), **{field.name: value})
                    if field.name in NOT_DIALLED:
                        fit["enabled"] = False
                    yield f"{key.name}.{field.name}", {key.name: fit}
        elif key.name == "forwarding":
            yield "forwarding", {"forwarding": []}
            yield "forwarding", {"forwarding": [dict(ROW, uidFrom=uid, uidTo=uid) for uid in range(1, 33)]}
            for field in key.kind.kind.fields:
                for value in extremes(field.kind):
                    yield f"forwarding.{field.name}", {"forwarding": [dict(ROW, **{field.name: value})]}
        elif isinstance(key.kind, ListOf):
            for value in extremes(key.kind.kind.by_name["uidTo"].kind):
                required = {"uidFrom": value, "uidTo": value}
                for field in key.kind.kind.fields:
                    for extreme in extremes(field.kind):
                        yield f"{key.name}.{field.name}", {key.name: [dict(required, **{field.name: extreme})]}
        else:
            for value in extremes(key.kind):
                yield key.name, {key.name: value}


def device_of(folder, *without):
    board = dict(BOARD, **dict.fromkeys(without))
    (folder / "board.json").write_text(json.dumps(board))
    return Device(load_board(str(folder / "board.json"), str(folder)), str(folder))


async def ask(port, path, token=""):
    """Status and body of a GET."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    )
    told, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(told.split()[1]), json.loads(body)


async def answers_after_a_restart(folder, *without):
    """Start a device with what is stored: it answers guests and users, and can be set right."""
    device = device_of(folder, *without)
    active = device.settings.active
    modbus_tcp = ("127.0.0.1", active["modbusTcp"]["port"]) if active["modbusTcp"]["enabled"] else None
    try:
        port, _ = await device.start(("127.0.0.1", active["httpd"]["port"]), modbus_tcp, False)
        assert (await ask(port, "/api/version/"))[0] == 200
        status, values = await ask(port, "/api/settings/saved/get/", device.sessions.open())
        assert (status, len(values)) == (200, len(SETTINGS))
        await device.settings.reset()
    finally:
        await device.stop()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def free_ports():
    return {"httpd": {"port": free_port()}, "modbusTcp": {"port": free_port()}}


async def test_each_setting_at_each_of_its_extremes_leaves_a_device_that_answers(tmp_path):
    taken: dict = {}
    for name, change in changes():
        settings = device_of(tmp_path, "rs485", "modem").settings
        ports = {"httpd": {"port": free_port()}, "modbusTcp": {"port": free_port()}}
        change = {
            **ports,
            **{key: {**ports.get(key, {}), **value} if key in ports else value for key, value in change.items()},
        }
        try:
            await settings.set(change)
        except BadField:
            taken.setdefault(name, False)
            continue
        taken[name] = True
        await answers_after_a_restart(tmp_path, "rs485", "modem")
    untaken = {name.split(".")[0] for name, was in taken.items() if not was}
    assert untaken <= {"bodVoltage", "ethernet", "wgManual", "gsm", "serial"}  # which such a board does not have
    assert len(taken) > 100


@pytest.mark.parametrize("end", [0, -1], ids=["least", "greatest"])
async def test_the_line_and_the_modem_at_their_extremes_leave_a_device_that_answers(tmp_path, end):
    values = {field.name: field for field in SETTINGS}
    change = {
        key: {field.name: extremes(field.kind)[end] for field in values[key].kind.fields} for key in ("serial", "gsm")
    }
    await device_of(tmp_path).settings.set(
        {**change, "httpd": {"port": free_port()}, "modbusTcp": {"port": free_port()}}
    )
    await answers_after_a_restart(tmp_path)


@pytest.mark.parametrize("end", [0, -1], ids=["least", "greatest"])
def test_all_settings_at_their_extremes_together_leave_a_process_that_answers(tmp_path, end):
    with Running(tmp_path) as device:
        device.login()
        taken = 0
        for key in SETTINGS:
            for field in key.kind.fields if isinstance(key.kind, Object) else ():
                if key.name != "protect" and field.name not in ("enabled", *NOT_DIALLED):  # nobody is dialled
                    change = {key.name: {field.name: extremes(field.kind)[end]}}
                    taken += device.client.post("api/settings/saved/set/", json=change).status_code == 200
        assert taken > 60
        device.post("cmd/reboot/")
        device.read_announcement()
        assert device.get("version/")["device"] == "MC252"
        device.login()
        device.post("cmd/settings/reset/")


def test_a_port_that_is_taken_is_made_up_for_and_told(tmp_path):
    with socket.create_server(("0.0.0.0", 0)) as other, socket.create_server(("0.0.0.0", 0)) as gateway:
        ports = {"httpd": {"port": other.getsockname()[1]}, "modbusTcp": {"port": gateway.getsockname()[1]}}
        with Running(tmp_path, dict(BOARD, settings=ports), http="", modbus_tcp="") as device:
            assert f"HTTP port {other.getsockname()[1]} is not to be had" in device.line
            device.login()
            first, second = sorted(device.get("state/get/?system")["system"]["errors"])
            assert first.startswith(f"HTTP cannot listen on 0.0.0.0:{other.getsockname()[1]}")
            assert "Modbus TCP" in second
            other.close()
            device.post("settings/saved/set/", {"httpd": {"port": free_port()}})
            device.post("cmd/reboot/")
            device.read_announcement()
            device.login()
            assert all("HTTP" not in text for text in device.get("state/get/?system")["system"]["errors"])
