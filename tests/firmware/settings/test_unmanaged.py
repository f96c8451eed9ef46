"""Settings that can have no effect on a board are refused by name when they are set."""

import json

import pytest

from firmware.services.settings.unmanaged import unmanaged_settings
from hal.board import load_board
from tests.firmware.running import BOARD, Running

PLAIN = {"board": "plain", "system": {"driver": "linux"}}
MANAGED = dict(PLAIN, network={"driver": "linux", "interface": "lo", "managed": True})


def unmanaged(tmp_path, board):
    (tmp_path / "board.json").write_text(json.dumps(board))
    board = load_board(str(tmp_path / "board.json"), str(tmp_path))
    return unmanaged_settings(board.parts, board.network)


@pytest.mark.parametrize(
    ("board", "keys"),
    [
        (BOARD, {"bodVoltage", "ethernet", "wgManual"}),
        (MANAGED, {"bodVoltage", "gsm", "serial", "ntp"}),
        (PLAIN, {"bodVoltage", "ethernet", "wgManual", "wgCloud", "gsm", "serial", "ntp"}),
    ],
    ids=["simulated", "managed", "plain"],
)
def test_what_a_board_has_no_part_for_is_not_managed(tmp_path, board, keys):
    assert set(unmanaged(tmp_path, board)) == keys


def test_a_device_refuses_them_and_leaves_them_out_of_imports(tmp_path):
    with Running(tmp_path) as device:
        device.login()
        answer = device.client.post("api/settings/saved/set/", json={"bodVoltage": 9, "timeGmt": 60})
        assert answer.status_code == 400
        assert answer.json()["message"] == "bodVoltage: the voltage below which this board resets cannot be set"
        export = device.post("cmd/settings/export/")["settings"]
        told = device.post("cmd/settings/import/", {"settings": dict(export, bodVoltage=9, timeGmt=60)})
        assert [notice.split(":")[0] for notice in told["notices"]] == ["bodVoltage"]
        assert device.get("settings/saved/get/?bodVoltage&timeGmt") == {"bodVoltage": 0, "timeGmt": 60}
