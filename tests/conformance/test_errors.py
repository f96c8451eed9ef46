"""What bad bodies and queries get: the exact code, the field and its limits."""

import json

import pytest


def post(device, path, body, headers=None):
    return device.ask("POST", path, body if isinstance(body, str) else json.dumps(body), headers)


@pytest.mark.parametrize(
    "body",
    [
        "{",
        '{"a":1]',
        '{"a" 1}',
        "nonsense",
        '{"a":1',
        "[" * 1000,
        '{"a":' * 200 + "1" + "}" * 200,
        "\ud800".encode("utf-8", "replace").decode() + "{",
    ],
)
def test_broken_json(device, body):
    status, answer, _ = post(device, "/api/login/", body)
    assert (status, answer["error"]) == (400, "BAD_JSON")


def test_a_body_that_is_no_text(device):
    with device.connect() as wire:
        wire.send(b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n\xff\xfe\x00\x01")
        assert wire.answer()[1]["error"] == "BAD_JSON"


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "1e", "0x1", "+1"])
def test_what_parsers_take_for_a_number_and_json_does_not_is_broken(device, authorized, word):
    status, answer, _ = post(device, "/api/settings/saved/set/", '{"astro": {"latitude": ' + word + "}}", authorized)
    assert (status, answer["error"]) == (400, "BAD_JSON")


def test_a_byte_order_mark_in_front_of_a_body_is_ignored(device, authorized):
    assert post(device, "/api/settings/saved/set/", "\ufeff{}", authorized)[:2] == (200, {})


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_body_in_utf_16_is_named_as_that(device, authorized, encoding):
    body = "{}".encode(encoding)
    head = f"POST /api/settings/saved/set/ HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
    with device.connect() as wire:
        wire.send((head + "Authorization: " + authorized["Authorization"] + "\r\n\r\n").encode() + body)
        status, answer, _ = wire.answer()
    assert (status, answer["error"]) == (400, "BAD_JSON")
    assert "UTF-" in answer["message"].split(";")[0]


def test_a_broken_body_is_told_where_it_breaks(device):
    message = post(device, "/api/login/", '{"username": "ä", "password" 1}')[1]["message"]
    assert "character 30" in message


@pytest.mark.parametrize("number", ["1200", "1200.0", "12e2", "1.2E3"])
def test_whole_numbers_may_be_written_in_any_way(device, authorized, number):
    body = '{"httpd": {"sessionTtlSec": ' + number + "}}"
    assert post(device, "/api/settings/saved/set/", body, authorized)[:2] == (200, {})
    saved = device.ask("GET", "/api/settings/saved/get/?httpd", headers=authorized)[1]["httpd"]["sessionTtlSec"]
    assert (saved, type(saved)) == (1200, int)
    assert post(device, "/api/cmd/settings/reset/", "", authorized)[0] == 200


@pytest.mark.parametrize("body", ["[]", "1", '"text"', "null", "true"])
def test_something_else_than_an_object(device, body):
    status, answer, _ = post(device, "/api/login/", body)
    assert (status, answer["error"]) == (400, "BAD_FIELD")
    assert "object" in answer["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("", ["username: is missing", "password: is missing"]),
        ({"username": "a"}, ["password: is missing"]),
        ({"username": 1, "password": "0" * 40}, ["username: must be text of 1..64"]),
        ({"username": "", "password": "0" * 40}, ["username: must be text of 1..64"]),
        ({"username": "a", "password": "0" * 39}, ["password: must be text of 40..40"]),
        ({"username": "a", "password": None}, ["password: must be text"]),
        ({"username": "a", "password": "0" * 40, "extra": 1}, ["extra: is unknown"]),
        ({"username": "a\n", "password": "0" * 40}, ["username: must not contain control characters"]),
    ],
)
def test_bad_fields_are_named_with_their_limits(device, body, named):
    status, answer, _ = post(device, "/api/login/", body)
    assert (status, answer["error"]) == (400, "BAD_FIELD")
    for words in named:
        assert words in answer["message"]


@pytest.mark.parametrize(
    "path", ["/api/state/get/?bsu", "/api/settings/active/get/?serial&nothing", "/api/state/get/?=1"]
)
def test_an_unknown_key_is_named(device, authorized, path):
    status, answer, _ = device.ask("GET", path, headers=authorized)
    assert (status, answer["error"]) == (400, "UNKNOWN_KEY")
    key = path.split("?")[1].split("&")[-1].split("=")[0]
    assert key in answer["message"]


def test_keys_pick_what_is_answered(device, authorized):
    status, answer, _ = device.ask("GET", "/api/state/get/?access&system", headers=authorized)
    assert status == 200
    assert set(answer) == {"access", "system"}
    assert answer["access"]["level"] == 1
    status, answer, _ = device.ask("GET", "/api/settings/saved/get/?serial&language", headers=authorized)
    assert set(answer) == {"serial", "language"}


def test_no_keys_mean_all(device, authorized):
    status, answer, _ = device.ask("GET", "/api/state/get/", headers=authorized)
    assert status == 200
    assert {"ethernet", "gsm", "vpn", "card", "time", "bus", "devices", "access", "system"} <= set(answer)


def test_one_bad_setting_among_good_ones_changes_nothing(device, authorized):
    before = device.ask("GET", "/api/settings/saved/get/", headers=authorized)[1]
    changes = {"language": "pl", "timeGmt": 60, "serial": {"baudRate": 74}, "logFlags": 1}
    status, answer, _ = post(device, "/api/settings/saved/set/", changes, authorized)
    assert (status, answer["error"]) == (400, "BAD_FIELD")
    assert "serial.baudRate: must be an integer 75..230400" in answer["message"]
    assert device.ask("GET", "/api/settings/saved/get/", headers=authorized)[1] == before


@pytest.mark.parametrize("value", ['"9600"', "NaN", "1e999", "9600.5", "true", "null", "[9600]"])
def test_numbers_must_be_numbers(device, authorized, value):
    status, answer, _ = post(device, "/api/settings/saved/set/", '{"serial":{"baudRate":' + value + "}}", authorized)
    assert status == 400
    assert answer["error"] in ("BAD_FIELD", "BAD_JSON")


def test_a_setting_is_saved_and_secrets_do_not_come_back(device, authorized):
    for password, shown in ((None, None), ("hidden-word", "***")):
        changes = {"protect": {"password": password}}
        assert post(device, "/api/settings/saved/set/", changes, authorized)[:2] == (200, {})
        with device.connect() as wire:
            wire.request("GET", "/api/settings/saved/get/", headers=authorized)
            assert wire.answer()[1]["protect"]["password"] == shown
    assert device.ask("GET", "/api/settings/active/get/?protect", headers=authorized)[1]["protect"]["password"] == "***"
    assert post(device, "/api/cmd/settings/reset/", "", authorized)[:2] == (200, {})
    assert device.ask("GET", "/api/settings/saved/get/?protect", headers=authorized)[1]["protect"]["password"] == "***"
