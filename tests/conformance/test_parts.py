"""The parts of a device, its settings and its restart."""

import base64

import pytest

from tests.conformance.conftest import lacking
from tests.conformance.test_modbus import request


def test_the_clock_is_set_to_the_second_and_goes_on(device):
    device.state("time")
    device.call("POST", "/api/cmd/time/set/", {"datetime": "2031-02-03T12:34:56.7Z"})
    state = device.state("time")
    assert state["source"] == "MANUAL"
    assert "2031-02-03T12:34:56Z" <= state["utc"] <= "2031-02-03T12:35:06Z"
    assert device.call("POST", "/api/cmd/time/set/", {"datetime": "2031-02-30T00:00:00Z"}, 400)["error"] == "BAD_FIELD"


def test_no_time_server_answers_with_the_reason(device):
    device.state("time")
    assert device.call("POST", "/api/cmd/time/sync/", {})["status"] in ("DONE", "ERROR")


def test_a_file_is_written_in_blocks_and_read_as_it_was(device):
    device.state("card")
    data = bytes(range(256)) * 9
    blocks = [data[at : at + 1024] for at in range(0, len(data), 1024)]
    for index, block in enumerate(blocks):
        body = {"path": "/kept/File.bin", "blockIdx": index, "blockCount": len(blocks)}
        device.call("POST", "/api/card/file/write/", dict(body, data=base64.b64encode(block).decode()))
    read = [
        device.call("POST", "/api/card/file/read/", {"path": "/KEPT/file.BIN", "blockIdx": index})
        for index in range(len(blocks))
    ]
    assert b"".join(base64.b64decode(block["data"]) for block in read) == data
    assert device.call("POST", "/api/card/file/info/", {"path": "/kept/File.bin"})["size"] == len(data)
    listing = device.call("POST", "/api/card/dir/", {"path": "/kept"})
    assert [item["name"] for item in listing["items"]] == ["File.bin"]
    assert device.call("POST", "/api/card/remove/", {"path": "/kept"}, 409)["error"] == "NOT_EMPTY"
    assert device.call("POST", "/api/card/remove/", {"path": "/kept", "recursive": True}) == {}
    assert device.call("POST", "/api/card/file/info/", {"path": "/kept/File.bin"}, 404)["error"] == "NOT_FOUND"
    assert device.call("POST", "/api/card/dir/", {"path": "/../x"}, 400)["error"] == "BAD_PATH"


@pytest.fixture
def saved(device):
    """The saved settings are put back."""
    before = device.call("POST", "/api/cmd/settings/export/", {})["settings"]
    yield before
    device.call("POST", "/api/cmd/settings/import/", {"settings": before})


def test_settings_are_saved_whole_or_not_at_all(device, saved):
    device.call("POST", "/api/settings/saved/set/", {"timeGmt": 60, "serial": {"retries": 2}})
    got = device.call("GET", "/api/settings/saved/get/?timeGmt&serial")
    assert (got["timeGmt"], got["serial"]["retries"], got["serial"]["baudRate"]) == (60, 2, 9600)
    bad = device.call("POST", "/api/settings/saved/set/", {"timeGmt": 90, "serial": {"retries": 99}}, 400)
    assert bad["error"] == "BAD_FIELD"
    assert "serial.retries" in bad["message"]
    assert device.call("GET", "/api/settings/saved/get/?timeGmt") == {"timeGmt": 60}


def test_an_export_is_imported_again_and_carries_no_secrets(device, saved):
    exported = device.call("POST", "/api/cmd/settings/export/", {})["settings"]
    assert exported["protect"].get("password") is None
    device.call("POST", "/api/settings/saved/set/", {"language": "pl"})
    device.call("POST", "/api/cmd/settings/import/", {"settings": exported})
    assert device.call("GET", "/api/settings/saved/get/?language")["language"] == exported["language"]


def test_saved_settings_become_active_by_a_restart_and_numbers_of_requests_begin_anew(device, saved):
    device.call("POST", "/api/settings/saved/set/", {"language": "uk"})
    assert device.call("GET", "/api/settings/active/get/?language")["language"] == saved["language"]
    device.restart()
    assert device.call("GET", "/api/settings/active/get/?language")["language"] == "uk"
    tid = device.call("POST", "/api/modbus/req/", {"uid": 111, "func": 3, "addr": 0, "count": 1})["tid"]
    assert tid == 1
    assert device.state("system")["startReason"] != "POWER_ON"
    assert device.state("system")["memShortages"] == 0


def test_many_requests_in_turn_are_all_answered(device):
    device.state("bus")
    for number in range(60):
        assert device.call("GET", "/api/version/")
        result = request(device, uid=1, func=3, addr=0, count=2)
        assert result["values"] == [252, 104], (number, result)


def test_the_list_of_what_is_skipped_on_micropython_is_true(device):
    state = device.call("GET", "/api/state/get/")
    absent = [part for part in ("bus", "card", "ethernet", "gsm", "time") if state[part] is None]
    if device.runtime == "micropython":
        assert absent == sorted(lacking())
    elif device.runtime == "cpython":
        assert set(absent) <= {"gsm"}  # which is switched off there
