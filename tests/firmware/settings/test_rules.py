"""Rules over several settings keys: what leaves the device unreachable, or can have no effect, is refused by name."""

import pytest

from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore
from hal.fields import BadField

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
STATIC = {"dhcp": False, "ip": "192.168.1.20", "mask": "255.255.255.0", "gateway": "192.168.1.1"}
TUNNEL = {
    "enabled": True,
    "privateKey": KEY,
    "address": "10.8.0.2/24",
    "peerPublicKey": KEY,
    "endpoint": "vpn.example.org:51820",
    "allowedIps": ["10.8.0.0/24"],
}


def start(folder):
    return Settings(DocumentStore(str(folder), "settings.json"), {})


def row(low, high, host="10.0.0.9", **more):
    return dict(more, uidFrom=low, uidTo=high, host=host)


REFUSED = [
    ({"httpd": {"port": 502}}, "httpd.port"),
    ({"modbusTcp": {"port": 80}}, "httpd.port"),
    ({"ethernet": STATIC, "forwarding": [row(1, 5, STATIC["ip"])]}, "forwarding[0].host"),
    ({"wgManual": TUNNEL, "forwarding": [row(1, 5, "10.8.0.2")]}, "forwarding[0].host"),
    ({"ethernet": STATIC, "cbCloud": {"enabled": True, "host": STATIC["ip"]}}, "cbCloud.host"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, endpoint=STATIC["ip"] + ":51820")}, "wgManual.endpoint"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, address="192.168.1.77/24")}, "wgManual.address"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, address="192.168.0.1/16")}, "wgManual.address"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, address="192.168.1.77/32")}, "wgManual.address"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, allowedIps=["192.168.1.0/24"])}, "wgManual.allowedIps[0]"),
    ({"ethernet": STATIC, "wgManual": dict(TUNNEL, allowedIps=["10.0.0.0/8", "192.168.1.9/32"])},)
    + ("wgManual.allowedIps[1]",),
    ({"forwarding": [row(1, 5), row(248, 255)]}, "forwarding[1].uidFrom"),
    ({"forwarding": [row(1, 5)], "modbusTcp": {"uidFrom": 6}}, "forwarding[0].uidFrom"),
    ({"forwarding": [row(111, 111)]}, "forwarding[0].uidFrom"),
    ({"forwarding": [row(1, 1, "127.0.0.9")]}, "forwarding[0].host"),
    ({"forwarding": [row(1, 1, "::1")]}, "forwarding[0].host"),
    ({"modbusTcp": {"rtuPort": 80}}, "httpd.port"),
    ({"modbusTcp": {"rtuPort": 502}}, "modbusTcp.rtuPort"),
    ({"forwarding": [row(1, 1), row(2, 2, "169.254.3.4")]}, "forwarding[1].host"),
    ({"forwarding": [row(246, 255)], "modbusTcp": {"ownUid": 247, "uidFrom": 247}}, "forwarding[0].uidFrom"),
]


@pytest.mark.parametrize(("changes", "where"), REFUSED, ids=[f"{where}-{i}" for i, (_, where) in enumerate(REFUSED)])
async def test_what_does_not_go_together_is_refused_by_name(tmp_path, changes, where):
    settings = start(tmp_path)
    with pytest.raises(BadField) as caught:
        await settings.set(changes)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [where]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"httpd": {"port": 502}, "modbusTcp": {"enabled": False}},
        {"httpd": {"port": 502}, "modbusTcp": {"port": 80}},
        {"ethernet": dict(STATIC, dhcp=True), "forwarding": [row(1, 5, STATIC["ip"])]},
        {"ethernet": STATIC, "cbCloud": {"enabled": False, "host": STATIC["ip"]}},
        {"ethernet": STATIC, "wgManual": dict(TUNNEL, allowedIps=["0.0.0.0/0", "192.168.0.0/16"])},
        {"ethernet": STATIC, "wgManual": dict(TUNNEL, address="192.168.2.1/24")},
        {"ethernet": STATIC, "wgManual": dict(TUNNEL, enabled=False, address="192.168.1.77/24")},
        {"forwarding": [row(240, 255), row(110, 112)]},
        {"forwarding": [row(111, 111)], "modbusTcp": {"ownUid": 0}},
    ],
)
async def test_what_goes_together_is_taken(tmp_path, changes):
    await start(tmp_path).set(changes)
    assert start(tmp_path).problems == []


async def test_two_keys_in_two_steps_are_judged_together(tmp_path):
    settings = start(tmp_path)
    await settings.set({"modbusTcp": {"enabled": False, "port": 80}})
    with pytest.raises(BadField, match=r"httpd\.port: must differ from modbusTcp\.port"):
        await settings.set({"modbusTcp": {"enabled": True}})


async def test_what_an_older_firmware_has_stored_is_told_and_stops_no_other_change(tmp_path):
    DocumentStore(str(tmp_path), "settings.json").save({"httpd": {"port": 502}, "timeGmt": 60})
    settings = start(tmp_path)
    (problem,) = settings.problems
    assert problem.startswith("saved setting httpd.port: must differ")
    assert settings.active["timeGmt"] == 60
    await settings.set({"timeGmt": 120})
    with pytest.raises(BadField, match=r"forwarding\[0\]\.uidFrom"):
        await settings.set({"forwarding": [row(111, 111)]})
    await settings.set({"httpd": {"port": 80}})
    assert start(tmp_path).problems == []
