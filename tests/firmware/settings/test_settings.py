"""Settings: what is written stays, what is wrong is named and changes nothing, secrets do not come out."""

import asyncio
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading

import pytest

from firmware.services.errors import Refused
from firmware.services.problems import Problems
from firmware.services.settings import forms as setting_forms
from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import SIZE_LIMIT, DocumentStore, FileOperations
from firmware.services.settings.table import SETTINGS
from hal.fields import REQUIRED, BadField, ListOf, Nullable, Object, Text
from hal.runtime.logs import EQUAL_LINES

ROOT = pathlib.Path(__file__).parents[3]
KEY_A = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
KEY_B = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI="

SERVER: dict = {
    "enabled": True,
    "host": "cloud.example.org",
    "port": 1,
    "tls": True,
    "keepAliveSec": 0,
    "reconnectSec": 30000,
    "idleSec": 3600,
    "sendId": False,
}

PACE = {"inFlight": 32, "answerMs": 60000, "connectPauseMs": 5000}
OTHER: dict = {  # every field of every key, each different from its default
    "timeGmt": -720,
    "tsMode": 2,
    "tsManual": {
        "startMonth": 10,
        "startWeek": 1,
        "startFrom": 31,
        "startDay": 6,
        "startHour": 23,
        "startMin": 45,
        "endMonth": 4,
        "endWeek": 1,
        "endFrom": 1,
        "endDay": 7,
        "endHour": 0,
        "endMin": 59,
        "shiftMin": 30,
    },
    "ethernet": {
        "dhcp": False,
        "ip": "192.168.1.20",
        "mask": "255.255.255.0",
        "gateway": "192.168.1.1",
        "dns1": "9.9.9.9",
        "dns2": "1.1.1.1",
        "hostname": "pump-station-4",
    },
    "gsm": {
        "enabled": True,
        "apn": "internet.operator",
        "user": "\u043a\u0438\u0457\u0432 \U0001f600",
        "password": "gsm secret",
        "pin": "0042",
        "smsPhone": "+380501234567",
        "smsPerDay": 3,
        "smsAllow": ["+8816"],
    },
    "ownSrv": dict(SERVER, host="10.1.2.3"),
    "wgCloud": {"enabled": True, "interface": "wg-cloud.7"},
    "wgManual": {
        "enabled": True,
        "privateKey": KEY_A,
        "address": "10.8.0.2/24",
        "peerPublicKey": KEY_B,
        "presharedKey": KEY_B,
        "endpoint": "vpn.example.org:51820",
        "allowedIps": ["10.8.0.0/24", "0.0.0.0/0"],
        "keepAliveSec": 0,
    },
    "cbCloud": SERVER,
    "areset": {"enabled": False, "periodMin": 7200, "onlyIdle": False},
    "protect": {"username": "installer", "password": "correct horse", "buttonMinutes": 60},
    "download": {
        "url": "https://updates.example.org:8443/mc252/?a=b",
        "enabled": True,
        "gsmBytesPerDay": 1 << 31,
        "hawkbitUrl": "https://hawkbit.example.org/default",
        "hawkbitToken": "secret of hawkBit",
        "hawkbitTokenKind": "gateway",
    },
    "firmware": {"autoUpdate": True, "channel": "beta"},
    "httpd": {
        "port": 65535,
        "sessionTtlSec": 60,
        "keepAliveSec": 1,
        "maxConnections": 4,
        "hosts": ["device.test", "10.0.0.7"],
        "mdns": False,
        "metricsAllow": ["10.0.0.0/8"],
        "headTimeoutSec": 120,
        "bodyTimeoutSec": 600,
        "maxHeadBytes": 1024,
        "maxBodyBytes": 4096,
    },
    "language": "uk",
    "serial": {
        "asciiDataBits": 8,
        "restMs": 5000,
        "baudRate": 230400,
        "charFormat": 0,
        "frameMode": 1,
        "responseTimeoutMs": 60000,
        "asciiGapMs": 10,
        "retries": 5,
        "turnaroundMs": 0,
        "lateHorizonMs": 10000,
        "frameGapUs": 20000,
        "listenOnly": True,
        "healthCheck": False,
    },
    "astro": {"latitude": 50.45, "longitude": -180},
    "ntp": {"enabled": True, "server1": "10.0.0.1", "server2": "ntp.example.org", "periodMin": 10080},
    "logFlags": 0xFFFFFFFF,
    "rmSrv": dict(SERVER, host="x1"),
    "bodVoltage": 8.5,
    "forwarding": [
        {"uidFrom": 1, "uidTo": 5, "host": "plc.example.org", "port": 502, "uidOffset": 250, **PACE},
        {"uidFrom": 6, "uidTo": 6, "host": "10.0.0.9", "port": 1502, "uidOffset": -6, **PACE},
    ],
    "units": [
        {"uidFrom": 1, "uidTo": 5, "restMs": 5000, "responseTimeoutMs": 60000, "retries": 5},
        {"uidFrom": 6, "uidTo": 247, "restMs": 0, "responseTimeoutMs": None, "retries": None},
    ],
    "modbusTcp": {
        "enabled": False,
        "port": 1,
        "maxClients": 32,
        "idleSec": 86400,
        "allow": ["0.0.0.0/0", "fd00:1:2:3::/64"],
        "rtuPort": 65535,
        "udpPort": 1,
        "ownUid": 0,
        "uidFrom": 2,
        "uidTo": 255,
        "excDenied": 0,
        "excNoAnswer": 255,
        "excNoPath": 1,
        "clientTimeoutMs": 500,
    },
}

DEFAULTS = {  # those that the contract names
    "tsMode": 0,
    "serial": {
        "baudRate": 9600,
        "charFormat": 5,
        "frameMode": 0,
        "responseTimeoutMs": 200,
        "asciiGapMs": 1000,
        "retries": 0,
        "turnaroundMs": 100,
        "lateHorizonMs": 1000,
        "frameGapUs": 0,
        "listenOnly": False,
        "healthCheck": True,
    },
    "modbusTcp": {
        "port": 502,
        "ownUid": 111,
        "uidFrom": 1,
        "uidTo": 247,
        "excDenied": 1,
        "excNoAnswer": 11,
        "excNoPath": 10,
    },
    "cbCloud": {"enabled": False, "port": 20502, "reconnectSec": 20, "idleSec": 90, "sendId": True},
    "ownSrv": {"enabled": False},
    "rmSrv": {"enabled": False},
    "protect": {"username": "admin", "password": None, "buttonMinutes": 10},
    "httpd": {
        "port": 80,
        "sessionTtlSec": 600,
        "keepAliveSec": 30,
        "maxConnections": 32,
        "hosts": [],
        "headTimeoutSec": 10,
        "bodyTimeoutSec": 30,
        "maxHeadBytes": 8192,
        "maxBodyBytes": 65536,
    },
    "areset": {"enabled": True, "periodMin": 120, "onlyIdle": True},
    "firmware": {"autoUpdate": False},
    "forwarding": [],
}

FACTORY = {"protect": {"username": "admin", "password": "mc252-sim"}, "httpd": {"port": 8080}}


def start(folder, factory: "dict | None" = None, **options) -> Settings:
    """The settings of a device that starts with this state folder."""
    return Settings(DocumentStore(str(folder), "settings.json"), factory or {}, **options)


def stored(folder) -> dict:
    """The document in the folder, secrets in clear."""
    return json.loads((folder / "settings.json").read_text().split("\n")[2])


def store(folder, document: dict) -> None:
    """Put a document into the folder as another firmware would."""
    other = DocumentStore(str(folder), "settings.json")
    other.load()
    other.save(document)


def part(value, of):
    """The members of a value that `of` names."""
    return {name: value[name] for name in of} if isinstance(of, dict) else value


def masked(value: dict) -> dict:
    """Values as the API shows them."""
    secrets = {
        (key.name, field.name)
        for key in SETTINGS
        if isinstance(key.kind, Object)
        for field in key.kind.fields
        if field.secret
    }
    return {
        key: {name: "***" if (key, name) in secrets and inner is not None else inner for name, inner in fields.items()}
        if isinstance(fields, dict)
        else fields
        for key, fields in value.items()
    }


async def refused(settings: Settings, changes) -> list:
    """The problems for which changes are refused; nothing has changed then."""
    before = json.dumps(settings.saved, sort_keys=True)
    with pytest.raises(BadField) as caught:
        await settings.set(changes)
    assert json.dumps(settings.saved, sort_keys=True) == before
    return caught.value.problems


def test_the_table_has_the_keys_of_the_contract() -> None:
    assert sorted(field.name for field in SETTINGS) == sorted(OTHER)
    assert len(SETTINGS) == 24


def test_a_new_device_has_the_defaults_of_the_contract(tmp_path) -> None:
    settings = start(tmp_path)
    values = settings.get("active", [])
    assert settings.problems == []
    for key, expected in DEFAULTS.items():
        assert part(values[key], expected) == expected, key
    assert list(tmp_path.iterdir()) == []


def test_a_new_device_dials_nobody(tmp_path) -> None:
    values = start(tmp_path).get("active", [])
    for key in ("gsm", "ownSrv", "rmSrv", "cbCloud", "wgCloud", "wgManual", "download", "ntp"):
        assert values[key]["enabled"] is False


@pytest.mark.parametrize("key", sorted(OTHER))
async def test_every_key_is_saved_at_once_and_active_after_a_restart(tmp_path, key) -> None:
    settings = start(tmp_path)
    default = settings.get("active", [key])
    if isinstance(OTHER[key], dict):
        assert sorted(OTHER[key]) == sorted(default[key])
        assert all(OTHER[key][name] != default[key][name] for name in OTHER[key])
    await settings.set({key: OTHER[key]})
    expected = masked({key: OTHER[key]})
    assert settings.get("saved", [key]) == expected
    assert settings.get("active", [key]) == default
    again = start(tmp_path)
    assert again.get("active", [key]) == expected
    assert again.active[key] == OTHER[key]
    assert again.problems == []


async def test_all_keys_at_once(tmp_path) -> None:
    await start(tmp_path).set(json.loads(json.dumps(OTHER)))
    again = start(tmp_path)
    assert again.active == OTHER
    assert isinstance(again.active["astro"]["longitude"], int)
    assert again.get("active", []) == masked(OTHER)


async def test_fields_that_are_not_named_keep_their_saved_value(tmp_path) -> None:
    settings = start(tmp_path)
    await settings.set({"serial": {"baudRate": 19200}})
    await settings.set({"serial": {"charFormat": 4}})
    await settings.set({"serial": {}})
    serial = start(tmp_path).active["serial"]
    assert (serial["baudRate"], serial["charFormat"], serial["frameMode"]) == (19200, 4, 0)


async def test_lists_are_replaced_whole(tmp_path) -> None:
    settings = start(tmp_path)
    await settings.set({"httpd": {"hosts": ["a.test", "b.test"]}})
    await settings.set({"httpd": {"hosts": ["c.test"]}})
    assert settings.get("saved", ["httpd"])["httpd"]["hosts"] == ["c.test"]
    await settings.set({"forwarding": []})
    assert settings.saved["forwarding"] == []


async def test_changing_an_answer_does_not_change_the_settings(tmp_path) -> None:
    settings = start(tmp_path)
    await settings.set({"forwarding": OTHER["forwarding"]})
    for values in (settings.get("saved", []), settings.export()):
        values["forwarding"][0]["host"] = "evil"
        values["httpd"]["hosts"].append("evil")
    assert "evil" not in json.dumps(settings.saved)
    assert "evil" not in json.dumps(start(tmp_path).get("active", []))


async def test_secrets_read_as_stars_or_null_and_stars_keep_them(tmp_path) -> None:
    settings = start(tmp_path)
    assert settings.get("saved", ["gsm"])["gsm"]["password"] is None
    await settings.set({"gsm": {"password": "***"}})
    assert settings.saved["gsm"]["password"] is None
    await settings.set({"gsm": {"password": "first one", "user": "me"}})
    assert settings.get("saved", ["gsm"])["gsm"]["password"] == "***"
    await settings.set(settings.get("saved", []))
    assert settings.saved["gsm"]["password"] == "first one"
    await settings.set({"gsm": {"password": None}})
    assert settings.get("saved", ["gsm"])["gsm"]["password"] is None
    assert start(tmp_path).active["gsm"]["user"] == "me"


async def test_an_unknown_key_is_named(tmp_path) -> None:
    settings = start(tmp_path)
    with pytest.raises(Refused, match="nonsense, other") as caught:
        settings.get("saved", ["serial", "nonsense", "other"])
    assert caught.value.code == "UNKNOWN_KEY"
    assert await refused(settings, {"nonsense": 1, "timeGmt": 60}) == ["nonsense: is unknown"]
    assert await refused(settings, {"serial": {"speed": 1}}) == ["serial.speed: is unknown"]


async def test_one_bad_field_among_ten_good_ones_is_named_and_nothing_changes(tmp_path) -> None:
    settings = start(tmp_path)
    changes = {
        "timeGmt": 120,
        "serial": {"baudRate": 19200, "charFormat": 0, "retries": 6, "turnaroundMs": 50},
        "language": "pl",
        "ntp": {"server1": "ntp.test", "periodMin": 60},
        "areset": {"enabled": False, "periodMin": 10},
        "logFlags": 3,
    }
    assert await refused(settings, changes) == ["serial.retries: must be an integer 0..5"]
    assert list(tmp_path.iterdir()) == []


async def test_every_bad_field_is_named_in_one_answer(tmp_path) -> None:
    changes = {"timeGmt": 841, "serial": {"baudRate": 74, "frameMode": 2}, "gsm": 5, "forwarding": [{"uidFrom": 0}]}
    problems = await refused(start(tmp_path), changes)
    named = sorted(problem.split(":")[0] for problem in problems)
    assert named == [
        "forwarding[0].host",
        "forwarding[0].uidFrom",
        "forwarding[0].uidTo",
        "gsm",
        "serial.baudRate",
        "serial.frameMode",
        "timeGmt",
    ]


def nested(depth: int) -> list:
    """A list in a list in a list..."""
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


SENSELESS = [float("nan"), json.loads("1e999"), json.loads("-1e999"), 10**400, "1", "", True, None, [], {}, nested(500)]


@pytest.mark.parametrize("key", ["timeGmt", "tsMode", "logFlags", "bodVoltage", "language"])
@pytest.mark.parametrize("value", SENSELESS, ids=lambda value: type(value).__name__)
async def test_values_that_make_no_sense_are_refused_in_plain_keys(tmp_path, key, value) -> None:
    assert (await refused(start(tmp_path), {key: value}))[0].startswith(key + ": must be ")


@pytest.mark.parametrize("value", [*SENSELESS, -1, 1.5, {"a": nested(50)}], ids=lambda value: type(value).__name__)
async def test_values_that_make_no_sense_are_refused_in_every_field(tmp_path, value) -> None:
    settings = start(tmp_path)
    for key in SETTINGS:
        for field in key.kind.fields if isinstance(key.kind, Object) else ():
            if _takes(field, value):
                continue
            problems = await refused(settings, {key.name: {field.name: value}})
            assert [problem.split(":")[0].split("[")[0] for problem in problems] == [f"{key.name}.{field.name}"]


def _takes(field, value) -> bool:
    """Whether a senseless value is a sensible one of this field after all."""
    try:
        field.kind.check(value, "")
    except BadField:
        return False
    return value in ("1", "", True, -1, 1.5) or (value is None and field.secret) or (value == [] and _is_list(field))


def _is_list(field) -> bool:
    return isinstance(field.kind, ListOf)


BAD = [
    ({"timeGmt": -721}, "timeGmt"),
    ({"timeGmt": 60.5}, "timeGmt"),
    ({"language": "fr"}, "language"),
    ({"serial": {"responseTimeoutMs": 9}}, "serial.responseTimeoutMs"),
    ({"serial": {"charFormat": False}}, "serial.charFormat"),
    ({"serial": {"healthCheck": 1}}, "serial.healthCheck"),
    ({"serial": [1]}, "serial"),
    ({"areset": {"periodMin": 4}}, "areset.periodMin"),
    ({"protect": {"buttonMinutes": 0}}, "protect.buttonMinutes"),
    ({"protect": {"username": ""}}, "protect.username"),
    ({"protect": {"password": "short"}}, "protect.password"),
    ({"protect": {"password": "with\nnew line"}}, "protect.password"),
    ({"httpd": {"port": 0}}, "httpd.port"),
    ({"httpd": {"port": 65536}}, "httpd.port"),
    ({"httpd": {"hosts": ["ok.test", "-bad.test"]}}, "httpd.hosts[1]"),
    ({"httpd": {"hosts": ["a.test"] * 17}}, "httpd.hosts"),
    ({"modbusTcp": {"allow": ["10.0.0.0/33"]}}, "modbusTcp.allow[0]"),
    ({"modbusTcp": {"maxClients": 33}}, "modbusTcp.maxClients"),
    ({"modbusTcp": {"uidFrom": 9, "uidTo": 8}}, "modbusTcp.uidTo"),
    ({"modbusTcp": {"uidFrom": 248}}, "modbusTcp.uidTo"),
    ({"gsm": {"smsPhone": "0501234567"}}, "gsm.smsPhone"),
    ({"gsm": {"smsPerDay": 1001}}, "gsm.smsPerDay"),
    ({"gsm": {"smsAllow": ["+"]}}, "gsm.smsAllow[0]"),
    ({"gsm": {"smsAllow": ["+1a"]}}, "gsm.smsAllow[0]"),
    ({"gsm": {"smsAllow": ["+881"] * 17}}, "gsm.smsAllow"),
    ({"gsm": {"pin": "12a4"}}, "gsm.pin"),
    ({"cbCloud": {"enabled": True}}, "cbCloud.host"),
    ({"cbCloud": {"idleSec": 59}}, "cbCloud.idleSec"),
    ({"wgManual": {"privateKey": KEY_A[:-1]}}, "wgManual.privateKey"),
    ({"wgManual": {"endpoint": "vpn.example.org"}}, "wgManual.endpoint"),
    ({"wgManual": {k: v for k, v in OTHER["wgManual"].items() if k != "privateKey"}}, "wgManual.privateKey"),
    ({"wgCloud": {"interface": "a/b"}}, "wgCloud.interface"),
    ({"download": {"url": "ftp://example.org/"}}, "download.url"),
    ({"download": {"url": "http://me:secret@example.org/"}}, "download.url"),
    ({"ntp": {"enabled": True, "server1": ""}}, "ntp.server1"),
    ({"ntp": {"server1": "255.255.255.255"}}, "ntp.server1"),
    ({"cbCloud": {"host": "255.255.255.255"}}, "cbCloud.host"),
    ({"forwarding": [{"uidFrom": 1, "uidTo": 1, "host": "224.0.0.1"}]}, "forwarding[0].host"),
    ({"ethernet": {"dns1": "0.0.0.0"}}, "ethernet.dns1"),
    ({"ethernet": {"dns2": "239.1.1.1"}}, "ethernet.dns2"),
    ({"wgManual": {"address": "10.8.0.0/24"}}, "wgManual.address"),
    ({"wgManual": {"address": "10.8.0.255/24"}}, "wgManual.address"),
    ({"wgManual": {"address": "10.8.0.2/0"}}, "wgManual.address"),
    ({"wgManual": {"address": "127.0.0.1/8"}}, "wgManual.address"),
    ({"wgManual": {"endpoint": "0.0.0.0:51820"}}, "wgManual.endpoint"),
    ({"protect": {"username": "ad\u200bmin"}}, "protect.username"),
    ({"protect": {"username": "e\u0301"}}, "protect.username"),
    ({"protect": {"username": "\uff41dmin"}}, "protect.username"),
    ({"protect": {"username": " admin"}}, "protect.username"),
    ({"protect": {"username": "two  spaces"}}, "protect.username"),
    ({"protect": {"username": "\u00a0"}}, "protect.username"),
    ({"tsManual": {"startFrom": 31, "startMonth": 4}}, "tsManual.startFrom"),
    ({"tsManual": {"endDay": 7}}, "tsManual.endDay"),
    ({"tsManual": {"endHour": 24, "endMin": 1}}, "tsManual.endMin"),
    ({"astro": {"latitude": 90.001}}, "astro.latitude"),
    ({"forwarding": {}}, "forwarding"),
    ({"ethernet": {"hostname": "a.b"}}, "ethernet.hostname"),
    ({"tsManual": {"startWeek": 6}}, "tsManual.startWeek"),
]


@pytest.mark.parametrize(("changes", "where"), BAD, ids=[f"{where}-{index}" for index, (_, where) in enumerate(BAD)])
async def test_what_is_out_of_its_limits_is_refused_by_name(tmp_path, changes, where) -> None:
    assert [problem.split(":")[0] for problem in await refused(start(tmp_path), changes)] == [where]


STATIC = {"dhcp": False, "ip": "192.168.1.20", "mask": "255.255.255.0", "gateway": "192.168.1.1"}


@pytest.mark.parametrize(
    ("ethernet", "named"),
    [
        ({"dhcp": False}, ["ip", "mask"]),
        (dict(STATIC, gateway=""), None),
        (dict(STATIC, mask=""), ["mask"]),
        (dict(STATIC, mask="255.0.255.0"), ["mask"]),
        (dict(STATIC, gateway="192.168.2.1"), ["gateway"]),
        (dict(STATIC, mask="255.255.255.240"), []),
        (dict(STATIC, mask="255.255.255.240", gateway="192.168.1.17"), None),
        (dict(STATIC, gateway="192.168.1.20"), ["gateway"]),
        (dict(STATIC, ip="192.168.1.255"), ["ip"]),
        (dict(STATIC, ip="192.168.1.0"), ["ip"]),
        (dict(STATIC, ip="127.0.0.1"), ["ip"]),
        (dict(STATIC, ip="224.0.0.5"), ["ip"]),
        (dict(STATIC, ip="240.0.0.5"), ["ip"]),
        (dict(STATIC, ip="0.1.2.3"), ["ip"]),
        (dict(STATIC, mask="0.0.0.0"), ["mask"]),
        (dict(STATIC, mask="255.255.255.255", gateway=""), ["mask"]),
        (dict(STATIC, mask="255.255.255.254", ip="192.168.1.0", gateway="192.168.1.1"), None),
        (dict(STATIC, gateway="192.168.1.255"), ["gateway"]),
        (dict(STATIC, mask="255.255.0.0", gateway="192.168.200.1"), None),
        ({"dhcp": True, "gateway": "10.0.0.1"}, None),
    ],
)
async def test_a_static_address_needs_mask_and_gateway_in_one_network(tmp_path, ethernet, named) -> None:
    settings = start(tmp_path)
    if named is None:
        await settings.set({"ethernet": ethernet})
        assert settings.saved["ethernet"]["gateway"] == ethernet["gateway"]
    elif named:
        problems = await refused(settings, {"ethernet": ethernet})
        assert sorted(problem.split(":")[0] for problem in problems) == [f"ethernet.{name}" for name in named]
    else:
        assert await refused(settings, {"ethernet": ethernet})


async def test_a_partial_change_that_breaks_a_rule_with_what_is_saved_is_refused(tmp_path) -> None:
    settings = start(tmp_path)
    await settings.set({"ethernet": STATIC})
    problems = await refused(settings, {"ethernet": {"ip": "10.0.0.5"}})
    assert problems == ["ethernet.gateway: must be in one network with ip, by mask"]
    await settings.set({"ethernet": {"dhcp": True, "ip": "10.0.0.5"}})


@pytest.mark.parametrize(
    ("first", "last", "good"),
    [
        ((3, 5, 0, 2), (10, 5, 0, 3), True),
        ((10, 1, 0, 2), (4, 1, 0, 3), True),  # southern hemisphere
        ((3, 1, 0, 2), (3, 2, 0, 2), True),
        ((3, 1, 0, 2), (3, 1, 0, 3), True),
        ((3, 1, 0, 2), (3, 1, 0, 2), False),
        ((3, 1, 0, 2), (3, 1, 0, 1), False),
        ((3, 2, 0, 2), (3, 1, 0, 2), False),
        ((3, 1, 0, 2), (3, 1, 3, 2), False),  # the first Wednesday may be before the first Sunday
        ((3, 4, 0, 2), (3, 5, 0, 2), False),  # the last Sunday may be the fourth
    ],
)
async def test_daylight_saving_time_ends_after_its_start(tmp_path, first, last, good) -> None:
    names = ("Month", "Week", "Day", "Hour")
    rule = {"start" + name: value for name, value in zip(names, first, strict=True)}
    rule.update({"end" + name: value for name, value in zip(names, last, strict=True)})
    settings = start(tmp_path)
    if good:
        await settings.set({"tsManual": rule})
    else:
        assert await refused(settings, {"tsManual": rule}) == ["tsManual.endMonth: the end must come after the start"]


NAMES = ["admin", "Zo\u00eb M\u00fcller", "\u041a\u0438\u0457\u0432", "\u0394\u03ac", "a.b+c@d"]


@pytest.mark.parametrize("name", NAMES)
async def test_user_names_are_words_of_letters_digits_and_signs(tmp_path, name) -> None:
    await start(tmp_path).set({"protect": {"username": name}})
    assert start(tmp_path).active["protect"]["username"] == name


async def test_the_second_time_server_alone_is_enough(tmp_path) -> None:
    await start(tmp_path).set({"ntp": {"enabled": True, "server1": "", "server2": "ntp.test"}})
    assert start(tmp_path).problems == []


@pytest.mark.parametrize(
    ("ranges", "where"),
    [
        ([(1, 10, 0), (10, 20, 0)], "forwarding[1].uidFrom"),
        ([(1, 10, 0), (11, 20, 0), (5, 5, 0)], "forwarding[2].uidFrom"),
        ([(5, 4, 0)], "forwarding[0].uidTo"),
        ([(1, 10, 246)], "forwarding[0].uidOffset"),
        ([(1, 10, -2)], "forwarding[0].uidOffset"),
        ([(1, 10, 245), (11, 255, -11)], None),
    ],
)
async def test_forwarded_ranges_are_in_order_and_apart(tmp_path, ranges, where) -> None:
    rows = [{"uidFrom": low, "uidTo": high, "host": "h", "uidOffset": offset} for low, high, offset in ranges]
    settings = start(tmp_path)
    if where is None:
        await settings.set({"forwarding": rows})
        assert settings.saved["forwarding"][0]["port"] == 502
    else:
        assert [problem.split(":")[0] for problem in await refused(settings, {"forwarding": rows})] == [where]


def test_the_boards_factory_values_replace_defaults(tmp_path) -> None:
    active = start(tmp_path, FACTORY).active
    assert active["protect"] == {"username": "admin", "password": "mc252-sim", "buttonMinutes": 10}
    assert active["httpd"]["port"] == 8080


@pytest.mark.parametrize("factory", [{"httpd": {"port": 0}}, {"nonsense": {}}, {"protect": {"pass": "word"}}])
def test_wrong_factory_values_are_refused_at_start(tmp_path, factory) -> None:
    with pytest.raises(BadField):
        start(tmp_path, factory)


async def test_reset_brings_the_factory_values_back(tmp_path) -> None:
    settings = start(tmp_path, FACTORY)
    await settings.set(OTHER)
    settings = start(tmp_path, FACTORY)
    await settings.reset()
    assert settings.active == OTHER
    assert settings.saved["protect"]["password"] == "mc252-sim"
    again = start(tmp_path, FACTORY)
    assert again.active == start(tmp_path / "none", FACTORY).active


async def test_an_export_holds_no_secrets_and_goes_into_another_device(tmp_path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one = start(tmp_path / "one")
    await one.set(OTHER)
    exported = one.export()
    assert exported["format"] == 1
    assert "password" not in exported["protect"]
    assert not {"privateKey", "presharedKey"} & set(exported["wgManual"])
    two = start(tmp_path / "two", FACTORY)
    await two.set({"wgManual": {"privateKey": KEY_B}})
    await two.import_(json.loads(json.dumps(exported)))
    again = start(tmp_path / "two", FACTORY)
    assert again.export() == exported
    assert again.saved["protect"]["password"] == "mc252-sim"
    assert again.saved["wgManual"]["privateKey"] == KEY_B
    assert again.saved["wgManual"]["presharedKey"] is None


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ({"timeGmt": 60, "serial": {"baudRate": 1, "retries": 9}}, ["serial.baudRate", "serial.retries"]),
        ({"format": 1, "timeGmt": 60, "newKey": 1}, ["newKey"]),
        ({"format": 1, "serial": {"newField": 1}}, ["serial.newField"]),
        ({"format": 2, "timeGmt": 60, "newKey": 1, "serial": {"baudRate": 1, "new": 1}}, ["serial.baudRate"]),
        ({"format": "1", "timeGmt": 60}, ["format"]),
        ({"format": 0}, ["format"]),
        ({"format": True}, ["format"]),
        ([], ["settings"]),
        (None, ["settings"]),
        ("timeGmt", ["settings"]),
    ],
)
async def test_a_bad_import_names_what_is_bad_and_changes_nothing(tmp_path, mapping, named) -> None:
    settings = start(tmp_path)
    with pytest.raises(BadField) as caught:
        await settings.import_(mapping)
    assert sorted(problem.split(":")[0] for problem in caught.value.problems) == named
    assert list(tmp_path.iterdir()) == []


async def test_an_export_of_another_version_is_taken_as_far_as_it_is_known(tmp_path, capsys) -> None:
    settings = start(tmp_path)
    row = {"uidFrom": 1, "uidTo": 2, "host": "h", "weight": 3}
    await settings.import_(
        {"format": 2, "timeGmt": 60, "quantum": {}, "gsm": {"user": "u", "esim": 1}, "forwarding": [row]}
    )
    saved = start(tmp_path).saved
    assert (saved["timeGmt"], saved["gsm"]["user"], saved["forwarding"][0]["uidTo"]) == (60, "u", 2)
    assert "format 2" in capsys.readouterr().err


def test_an_older_firmwares_file_lacks_fields_that_get_their_defaults(tmp_path) -> None:
    store(tmp_path, {"serial": {"baudRate": 19200}, "protect": {"username": "me"}})
    settings = start(tmp_path, FACTORY)
    assert settings.problems == []
    assert settings.active["serial"]["baudRate"] == 19200
    assert settings.active["serial"]["responseTimeoutMs"] == 200
    assert settings.active["protect"] == {"username": "me", "password": "mc252-sim", "buttonMinutes": 10}


def test_a_newer_firmwares_file_is_read_without_what_is_unknown(tmp_path) -> None:
    row = dict(OTHER["forwarding"][0], weight=3)
    store(
        tmp_path, {"timeGmt": 60, "quantum": {"on": True}, "serial": {"retries": 1, "speed": "x"}, "forwarding": [row]}
    )
    settings = start(tmp_path)
    assert settings.problems == []
    assert settings.active["timeGmt"] == 60
    assert settings.active["serial"]["retries"] == 1
    assert "speed" not in settings.active["serial"]
    assert settings.active["forwarding"] == OTHER["forwarding"][:1]


def test_values_in_the_file_that_are_out_of_limits_fall_back_to_defaults_and_are_reported(tmp_path) -> None:
    document = {
        "timeGmt": "60",
        "language": "pl",
        "serial": {"baudRate": 1, "retries": 3},
        "ethernet": {"dhcp": False, "hostname": "kept-not"},
        "gsm": 7,
        "forwarding": [{"uidFrom": 0, "uidTo": 1, "host": "h"}],
        "protect": {"password": "marker7"},
    }
    store(tmp_path, document)
    settings = start(tmp_path)
    named = sorted(problem.split(":")[0] for problem in settings.problems)
    assert named == [
        "saved setting ethernet.ip",
        "saved setting ethernet.mask",
        "saved setting forwarding[0].uidFrom",
        "saved setting gsm",
        "saved setting protect.password",
        "saved setting serial.baudRate",
        "saved setting timeGmt",
    ]
    assert "marker7" not in str(settings.problems)
    active = settings.active
    assert (active["timeGmt"], active["language"], active["forwarding"]) == (0, "pl", [])
    assert (active["serial"]["baudRate"], active["serial"]["retries"]) == (9600, 3)
    assert active["ethernet"]["dhcp"] is True
    assert active["ethernet"]["hostname"] == "mc252"


async def test_a_damaged_file_falls_back_to_the_copy_before_then_to_factory_values(tmp_path) -> None:
    settings = start(tmp_path, FACTORY)
    await settings.set({"timeGmt": 60})
    await settings.set({"timeGmt": 120})
    (tmp_path / "settings.json").write_bytes(b"\0" * 100)
    settings = start(tmp_path, FACTORY)
    assert settings.active["timeGmt"] == 60
    assert settings.problems == ["settings.json: is damaged (wrong checksum); the copy before it is in use"]
    (tmp_path / "settings.json.old").write_bytes(b"{}")
    settings = start(tmp_path, FACTORY)
    assert settings.active["timeGmt"] == 0
    assert settings.active["protect"]["password"] == "mc252-sim"
    assert settings.problems[0] == "settings.json: is damaged (wrong checksum); the defaults are in use"
    await settings.set({"timeGmt": 180})
    assert start(tmp_path, FACTORY).problems == []


class Failing(FileOperations):
    """Real files, on which the operation numbered `at` fails."""

    def __init__(self) -> None:
        self.at = self.count = 0

    def _step(self) -> None:
        self.count += 1
        if self.count == self.at:
            raise OSError(28, "No space left on device: marker-of-the-file-system")

    def read(self, path):
        self._step()
        return super().read(path)

    def create(self, path):
        self._step()
        return super().create(path)

    def write(self, file, data):
        self._step()
        super().write(file, data)

    def sync(self, file):
        self._step()
        super().sync(file)

    def rename(self, path, new_path):
        self._step()
        super().rename(path, new_path)

    def sync_folder(self, path):
        self._step()
        super().sync_folder(path)


def test_what_of_the_stored_settings_cannot_be_used_is_a_problem_of_the_device(tmp_path) -> None:
    store(tmp_path, {"timeGmt": "noon", "notices": {"timeGmt": 5, "nobodysKey": "a text", "gsm": "gsm: off"}})
    problems = Problems()
    settings = start(tmp_path)
    settings.report_to(problems)
    told, notice = problems.texts()
    assert told.startswith("saved setting timeGmt:") and told.endswith("; its default is in use")
    assert notice == "gsm: off"
    problems.withdraw("settings: " + told)
    assert problems.texts() == ["gsm: off"]


async def test_a_write_that_fails_anywhere_is_said_and_changes_nothing(tmp_path, capsys) -> None:
    files = Failing()
    settings = Settings(DocumentStore(str(tmp_path), "settings.json", files), {})
    failures = 0
    for number in range(1, 20):
        before = -number
        files.at = 0
        await settings.set({"timeGmt": before})
        files.count, files.at = 0, number
        try:
            await settings.set({"timeGmt": 100 + number})
        except Refused as exc:
            failures += 1
            assert exc.code == "STORAGE_FAILED"
            assert "marker" not in str(exc)
            assert settings.get("saved", ["timeGmt"]) == {"timeGmt": before}
            assert start(tmp_path).saved["timeGmt"] == before
        else:
            assert start(tmp_path).saved["timeGmt"] == 100 + number
    assert failures == 7
    assert capsys.readouterr().err.count("could not be stored") == EQUAL_LINES  # what repeats is left out of the log


async def test_reset_and_import_say_when_the_medium_fails(tmp_path) -> None:
    settings = start(tmp_path / "gone")
    for action in (settings.reset(), settings.import_({"timeGmt": 1}), settings.set({"timeGmt": 1})):
        with pytest.raises(Refused) as caught:
            await action
        assert caught.value.code == "STORAGE_FAILED"
    assert settings.saved["timeGmt"] == 0


async def test_secrets_never_come_out(tmp_path, capsys) -> None:
    marker = "Marker-Of-A-Secret"
    settings = start(tmp_path, {"protect": {"password": marker + "-factory"}})
    await settings.set(
        {"gsm": {"password": marker, "pin": "7391"}, "wgManual": {"privateKey": KEY_A, "presharedKey": KEY_A}}
    )
    told: list = [settings.get("saved", []), settings.get("active", []), settings.export()]
    bad_changes: list = [
        {"gsm": {"password": marker * 10}},
        {"gsm": {"password": marker + "\n"}},
        {"gsm": {"password": [marker]}},
        {"gsm": {"password": {marker: 1}}},
        {"gsm": {"password": marker, "pin": marker}},
        {"gsm": marker},
        {"wgManual": {"privateKey": marker}},
        {"wgManual": {"privateKey": KEY_A + marker}},
        {"wgManual": {"enabled": True, "presharedKey": KEY_A}},
        {"protect": {"password": marker, "username": ""}},
        {"protect": {"password": 5, "username": marker * 5}},
        {"timeGmt": marker, "language": marker, "logFlags": [marker], "forwarding": [marker, {"host": marker}]},
        {"timeGmt": {"password": marker}},
    ]
    for changes in bad_changes:
        for action in (settings.set, settings.import_):
            with pytest.raises(BadField) as caught:
                await action(changes)
            told += [str(caught.value), caught.value.problems]
    store(
        tmp_path, dict(stored(tmp_path), gsm={"password": marker * 9, "pin": marker}, protect=marker, language=marker)
    )
    told.append(start(tmp_path).problems)
    (tmp_path / "settings.json").write_text(marker)
    told.append(start(tmp_path).problems)
    shutil.rmtree(tmp_path)
    with pytest.raises(Refused) as refusal:
        await settings.set({"gsm": {"password": marker + "2"}})
    told += [str(refusal.value), repr(refusal.value), capsys.readouterr()]
    text = json.dumps([str(item) for item in told])
    assert "wgManual.privateKey" in text
    for secret in (marker, KEY_A, "7391"):
        assert secret not in text


async def test_two_clients_at_once_both_get_their_change(tmp_path) -> None:
    settings = start(tmp_path)
    await asyncio.gather(*(settings.set({"serial": {name: 3}}) for name in ("retries", "charFormat", "turnaroundMs")))
    serial = start(tmp_path).active["serial"]
    assert (serial["retries"], serial["charFormat"], serial["turnaroundMs"]) == (3, 3, 3)


class Slow(FileOperations):
    """Real files whose sync waits until the test lets it go."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.go = threading.Event()

    def sync(self, file):
        self.reached.set()
        assert self.go.wait(10)
        super().sync(file)


async def slow_settings(folder) -> "tuple[Settings, Slow]":
    files = Slow()
    return Settings(DocumentStore(str(folder), "settings.json", files), {}), files


async def test_a_slow_medium_does_not_stop_the_event_loop(tmp_path) -> None:
    settings, files = await slow_settings(tmp_path)
    task = asyncio.create_task(settings.set({"timeGmt": 60}))
    while not files.reached.is_set():
        await asyncio.sleep(0.001)
    assert settings.get("saved", ["timeGmt"]) == {"timeGmt": 0}
    files.go.set()
    await task
    assert settings.get("saved", ["timeGmt"]) == {"timeGmt": 60}


async def test_a_caller_that_goes_away_does_not_tear_the_write(tmp_path) -> None:
    settings, files = await slow_settings(tmp_path)
    task = asyncio.create_task(settings.set({"timeGmt": 60}))
    while not files.reached.is_set():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    second = asyncio.create_task(settings.set({"logFlags": 1}))
    await asyncio.sleep(0)
    files.go.set()
    await settings.finish()
    await second
    saved = start(tmp_path).saved
    assert (saved["timeGmt"], saved["logFlags"]) == (60, 1)


async def test_a_change_that_is_stored_or_refused_is_not_remembered(tmp_path) -> None:
    settings = start(tmp_path)
    for number in range(20):
        await settings.set({"timeGmt": number})
        await refused(settings, {"timeGmt": "no"})
    assert settings._writes == []


async def test_finish_waits_for_writes_in_flight(tmp_path) -> None:
    settings, files = await slow_settings(tmp_path)
    await settings.finish()
    writing = asyncio.create_task(settings.set({"timeGmt": 60}))
    await asyncio.sleep(0)
    finishing = asyncio.create_task(settings.finish())
    while not files.reached.is_set():
        await asyncio.sleep(0.001)
    assert not finishing.done()
    files.go.set()
    await finishing
    assert start(tmp_path).saved["timeGmt"] == 60
    await writing


def longest(kind):
    """The value of a kind that takes the most room in a file."""
    if isinstance(kind, Nullable):
        return longest(kind.kind)
    if isinstance(kind, Object):
        return {field.name: longest(field.kind) for field in kind.fields}
    if isinstance(kind, ListOf):
        return [longest(kind.kind)] * kind.high
    return "\U0001f600" * kind.high if isinstance(kind, Text) else 18446744073709551615


def test_the_largest_settings_fit_into_a_stored_document() -> None:
    assert len(json.dumps({field.name: longest(field.kind) for field in SETTINGS})) < SIZE_LIMIT


def fields_of(kind) -> list:
    """All fields below a kind."""
    if isinstance(kind, ListOf):
        return fields_of(kind.kind)
    return (
        [inner for field in kind.fields for inner in [field, *fields_of(field.kind)]]
        if isinstance(kind, Object)
        else []
    )


def test_every_field_is_explained_in_one_line_and_has_a_good_default() -> None:
    for field in [*SETTINGS, *(inner for key in SETTINGS for inner in fields_of(key.kind))]:
        assert field.help and "\n" not in field.help and len(field.help) <= 100, field.name
        assert field.schema()["description"] == field.help
        if field.default is not REQUIRED:
            assert field.kind.check(field.default, field.name) == field.default


TEXTS = """
::|::1|1::|fe80::1|FD00::|1:2:3:4:5:6:7:8|1:2:3:4:5:6:7::|1:2:3:4:5:6:7::8|::2:3:4:5:6:7:8|1::3:4:5:6:7:8|1:2:3:4:5:6::8|:::|1:::2
1::2::3|1:2:3:4:5:6:7|1:2:3:4:5:6:7:8:9|:1|1:|12345::|g::|::ffff:1.2.3.4|fe80::1%eth0|fd00::/8|::/0|::/128|::/129|::1/08|fd00::/|1:2/8
|223.255.255.255|224.0.0.1|127.0.0.1|0.1.2.3|1.0.0.0/24|10.8.0.2/9|224.0.0.1/24|127.0.0.1:80|0.0.0.0:1|http://240.0.0.1/
Zo\u00eb|\u0490|a\u00d7b|\u0132|\u0482|\u0301|a\u0301|\u200b|two words|two  words|a |\u00a0|\u1e00|\U0001f600
|0.0.0.0|255.255.255.255|192.168.1.1|256.1.1.1|1.2.3|1.2.3.4.5|01.2.3.4|1.2.3.04|1.2.3.|.1.2.3|1.2.3.4 |1..2.3|+1.2.3.4
\u0661.2.3.4|255.0.0.0|255.255.128.0|255.255.255.254|128.0.0.0|255.0.255.0|254.255.0.0|255.255.255.253|0.0.0.255
10.0.0.0/8|10.0.0.1/0|10.0.0.0/32|10.0.0.0/33|10.0.0.0/08|10.0.0.0/|10.0.0.0|10.0.0/8|10.0.0.0/8/8|10.0.0.0/-1|/8
a|a.b|A-1.b-2|a-|-a|a..b|a.|.a|a_b|a b|1a|a1|1|1.2|1.a|a.1|a.1b|a.1.2.3|a.1-1|1-1|1.2.3.4a|\u00e9.a|xn--bcher-kva.test
h:1|h:65535|h:65536|h:0|h:01|h:|:1|h:1:1|1.2.3.4:80|1.2.3:80|[::1]:80|h:1a|::1|h.:1
http://h|https://h/|http://h:80/a?b=c#d|http://h:0/|http://h:/|http:///a|http://|http://h a|http://h/a b|http://h/\u00e9
http://u:p@h/|http://h?x|http://1.2.3.4:65535/x|http://1.2.3.4.5/|http://h//x://y|https:/h|http://h/~|ftp://h|HTTP://h
+12345|+123456789012345|+1234567890123456|+1234|12345|+12 345|+1234a|++12345|+\u0661\u0662\u0663\u0664\u0665
1234|12345678|123|123456789|12a4|wg0|wg-0_1.2|0wg|abcdefghijklmno|abcdefghijklmnop|a/b|_a|internet|a.b.c.mnc001.gprs
"""
CORPUS = sorted(
    {
        *TEXTS.replace("\n", "|").split("|"),
        KEY_A,
        KEY_B,
        KEY_A[:-1],
        KEY_A[:-2] + "F=",
        KEY_A[:-1] + "A",
        " " + KEY_A[1:],
    }
    | {
        "-" + KEY_A[1:],
        "A" * 44,
        "a" * 63,
        "a" * 64,
        "a." * 126 + "a",
        "a." * 126 + "aa",
        ("a" * 63 + ".") * 3 + "a" * 61,
    }
)
FORMS = sorted(name for name in dir(setting_forms) if name.isupper() and not name.startswith("_"))


@pytest.mark.parametrize("form", FORMS)
def test_the_schema_of_a_form_takes_the_same_texts_as_its_check(form) -> None:
    predicate, words, schema = getattr(setting_forms, form)
    assert words
    taken = [text for text in CORPUS if len(text) <= 253 and predicate(text)]
    assert [text for text in CORPUS if len(text) <= 253 and re.search(schema["pattern"], text)] == taken
    assert 0 < len(taken) < len(CORPUS)


ON_MICROPYTHON = """
import asyncio, json, sys
from firmware.services.settings import forms as setting_forms
from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore
from hal.fields import BadField

folder, given = sys.argv[1], json.loads(sys.stdin.read())

def start():
    return Settings(DocumentStore(folder, "settings.json"), given["factory"])

async def main():
    settings = start()
    await settings.set(given["other"])
    await settings.set({"timeGmt": 7})
    problems = []
    try:
        await settings.set({"timeGmt": 8, "serial": {"baudRate": "9600", "retries": True}})
    except BadField as exc:
        problems = exc.problems
    again = start()
    taken = {}
    for name in given["forms"]:
        taken[name] = [text for text in given["corpus"] if getattr(setting_forms, name)[0](text)]
    print(json.dumps({"active": again.active, "shown": again.get("active", []), "problems": sorted(problems),
                      "found": again.problems, "taken": taken}))

asyncio.run(main())
"""


def micropython() -> "str | None":
    beside = pathlib.Path(sys.executable).parent / "micropython"
    return str(beside) if beside.exists() else shutil.which("micropython")


@pytest.mark.skipif(micropython() is None, reason="no micropython here")
def test_micropython_keeps_the_same_settings_in_a_megabyte(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(ON_MICROPYTHON)
    done = subprocess.run(
        [micropython(), "-X", "heapsize=1M", str(script), str(tmp_path)],  # type: ignore[list-item]
        input=json.dumps({"factory": FACTORY, "other": OTHER, "forms": FORMS, "corpus": CORPUS}, ensure_ascii=False),
        capture_output=True,
        text=True,
        timeout=60,
        env={"MICROPYPATH": f"{ROOT}:.frozen"},
        check=False,
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert told["active"] == dict(OTHER, timeGmt=7)
    assert told["shown"] == masked(dict(OTHER, timeGmt=7))
    assert told["problems"] == [
        "serial.baudRate: must be an integer 75..230400",
        "serial.retries: must be an integer 0..5",
    ]
    assert told["found"] == []
    for form in FORMS:
        assert told["taken"][form] == [text for text in CORPUS if getattr(setting_forms, form)[0](text)], form
    here = start(tmp_path, FACTORY)
    assert here.problems == []
    assert here.active == dict(OTHER, timeGmt=7)


def test_killing_the_process_in_the_middle_loses_nothing(tmp_path) -> None:
    """200 kills; the environment's KILL_RUNS asks for another number."""
    script = pathlib.Path(__file__).with_name("kill_settings.py")
    runs = os.environ.get("KILL_RUNS", "200")
    done = subprocess.run(
        [sys.executable, str(script), runs, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{runs} kills")
