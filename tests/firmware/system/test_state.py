"""What a running device says of its state is what the table of the state declares."""

import ast

import pytest

from firmware.services.system.state_table import STATE, STATE_KEYS
from hal.fields import Object
from tests.firmware.running import BOARD, ROOT, Running

SERVER = {"enabled": True, "host": "192.0.2.9"}
PARTS = ("network", "rs485", "card", "clock", "modem", "button", "updater")
ABSENT = dict(BOARD, settings={}, **dict.fromkeys(PARTS))


def declared(name):
    return next(key for key in STATE if key.name == name)


def check(state):
    """Each value is of its declared kind, and null only where the table says when."""
    assert tuple(state) == STATE_KEYS
    for name, value in state.items():
        if value is None:
            assert declared(name).nullable, name
        else:
            declared(name).kind().check(value, name)


def test_with_every_part_and_connection_each_key_is_as_declared(tmp_path):
    settings = dict(BOARD["settings"], cbCloud=SERVER, ownSrv=SERVER, wgCloud={"enabled": True})
    with Running(tmp_path, dict(BOARD, settings=settings)) as device:
        device.login()
        for uid in (1, 77):
            body = {"uid": uid, "func": 3, "addr": 0, "count": 1, "timeoutMs": 50}
            tid = device.post("modbus/req/", body)["tid"]
            device.get(f"modbus/resp/?tid={tid}&wait=5000")
        state = device.get("state/get/")
    check(state)
    assert [name for name, value in state.items() if value is None] == []
    assert set(state["devices"]) == {"1", "77"}
    assert state["mbTcpCallback"]["ownSrv"]["server"] == "192.0.2.9:20502"


def test_without_its_parts_a_device_tells_null_for_them(tmp_path):
    with Running(tmp_path, ABSENT, modbus_tcp=None) as device:
        device.login()
        state = device.get("state/get/")
    check(state)
    absent = {"ethernet", "gsm", "vpn", "fwUpdate", "card", "time", "bus", "devices"}
    assert {name for name, value in state.items() if value is None} == absent


def test_a_card_that_is_out_is_as_declared(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        device.post("cmd/memory/card_eject")
        state = device.get("state/get/?card")
    assert state["card"]["present"] is False
    declared("card").kind().check(state["card"], "card")


@pytest.mark.parametrize("key", STATE, ids=lambda key: key.name)
def test_every_key_names_a_service_that_there_is(key):
    files = [ROOT / "firmware" / "device.py", *(ROOT / "firmware" / "services").rglob("*.py")]
    files += (ROOT / "firmware" / "http").glob("*.py")
    classes = {
        node.name for file in files for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef)
    }
    assert key.service in classes


def test_what_a_key_holds_is_described_field_by_field():
    for key in STATE:
        kind = key.kind()
        fields = kind.fields if isinstance(kind, Object) else kind.kind.fields
        assert all(field.help for field in fields), key.name
