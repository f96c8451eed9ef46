"""Logging in, sessions, and what is closed to whom."""

import json
import pathlib

import pytest

ENDPOINTS = json.loads((pathlib.Path(__file__).parent / "endpoints.json").read_text())
ALPHANUMERIC = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")


def login(device, digest, user="admin"):
    return device.ask("POST", "/api/login/", json.dumps({"username": user, "password": digest}))


def test_salts_are_forty_letters_and_digits_and_never_the_same(device):
    salts = [device.ask("GET", "/api/login/salt/")[1]["salt"] for _ in range(10)]
    assert len(set(salts)) == 10
    assert all(len(salt) == 40 and set(salt) <= ALPHANUMERIC for salt in salts)


def test_the_right_password_opens_a_session(device):
    status, body, _ = login(device, device.digest())
    assert status == 200
    assert body["authType"] == "Bearer"
    assert len(body["token"]) == 48
    assert set(body["token"]) <= ALPHANUMERIC
    assert body["ttlSec"] == 600


def test_an_upper_case_digest_is_accepted(device):
    assert login(device, device.digest().upper())[0] == 200


@pytest.mark.parametrize("header", ["Authorized", "Authorization", "authorization"])
def test_a_token_opens_what_is_closed_to_guests(device, header):
    assert device.ask("GET", "/api/identify/")[0] == 401
    status, body, _ = device.ask("GET", "/api/identify/", headers={header: "Bearer " + device.token()})
    assert status == 200
    assert {"device", "deviceId", "firmwareType", "firmwareVer", "releaseDate"} < set(body)
    assert {"manufacturer", "mac", "uniqueMac", "pubKey"} < set(body)


def test_a_salt_serves_one_attempt(device):
    digest = device.digest()
    assert login(device, digest)[0] == 200
    assert login(device, digest)[1]["error"] == "BAD_CREDENTIALS"


def test_a_wrong_attempt_costs_nobody_else_at_that_address_his_salt(device):
    digest = device.digest()
    assert login(device, "0" * 40)[0] == 401
    assert login(device, digest)[0] == 200
    assert login(device, digest)[0] == 401
    assert login(device, device.digest())[0] == 200


def test_a_foreign_page_cannot_have_its_visitor_barred(device):
    body = json.dumps({"username": "admin", "password": "0" * 40})
    for _ in range(6):
        status, answer, _ = device.ask("POST", "/api/login/", body, {"Origin": "http://evil.example"})
        assert (status, answer["error"]) == (403, "CROSS_SITE")
    assert login(device, device.digest())[0] == 200


def test_wrong_logins_are_counted_in_the_state(device, authorized):
    before = device.ask("GET", "/api/state/get/?access", headers=authorized)[1]["access"]["failedLogins"]
    login(device, "0" * 40)
    after = device.ask("GET", "/api/state/get/?access", headers=authorized)[1]["access"]
    assert after["failedLogins"] == before + 1
    assert after["lastFailedLogin"]["secAgo"] < 60
    assert login(device, device.digest())[0] == 200


def test_a_wrong_name_and_a_wrong_password_look_the_same(device):
    wrong_name = login(device, device.digest(user="root"), "root")
    wrong_password = login(device, device.digest("nonsense"))
    assert wrong_name[:2] == wrong_password[:2]
    assert wrong_name[0] == 401
    assert wrong_name[1]["error"] == "BAD_CREDENTIALS"
    assert login(device, device.digest())[0] == 200


def test_too_many_attempts_are_throttled(device):
    statuses = [login(device, "0" * 40)[0] for _ in range(5)]
    status, body, headers = login(device, device.digest())
    assert statuses == [401] * 5
    assert (status, body["error"]) == (429, "TOO_MANY_ATTEMPTS")
    wait = int(headers["retry-after"])
    assert 1 <= wait <= 3
    import time

    time.sleep(wait)
    assert login(device, device.digest())[0] == 200


def test_logout_ends_a_session_at_once(device):
    headers = {"Authorization": "Bearer " + device.token()}
    assert device.ask("POST", "/api/cmd/logout/", "", headers)[:2] == (200, {})
    status, body, answer_headers = device.ask("GET", "/api/identify/", headers=headers)
    assert (status, body["error"]) == (401, "UNAUTHORIZED")
    assert "www-authenticate" in answer_headers


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer x", "Basic YWRtaW46", "Bearer " + "A" * 48])
def test_what_is_no_token_opens_nothing(device, value):
    assert device.ask("GET", "/api/identify/", headers={"Authorization": value})[0] == 401


@pytest.mark.parametrize("row", ENDPOINTS, ids=lambda row: row["path"])
def test_closed_endpoints_are_closed_and_open_ones_open(device, row):
    served = device.ask("GET", "/api/openapi.json")[1]["paths"]
    if row["path"] not in served:
        pytest.skip("not served yet")
    status, body, _ = device.ask(row["method"], row["path"], "{" if row["method"] == "POST" else None)
    if row["level"] > 0:
        assert (status, body["error"]) == (401, "UNAUTHORIZED")
    else:
        assert status in (200, 400)


def test_the_document_says_what_the_table_says(device):
    status, document, _ = device.ask("GET", "/api/openapi.json")
    assert status == 200
    assert document["openapi"].startswith("3.1")
    rows = {(row["method"].lower(), row["path"]): row for row in ENDPOINTS}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            row = rows[(method, path)]
            assert operation["summary"] == row["purpose"]
            assert ("security" in operation) == (row["level"] > 0)
