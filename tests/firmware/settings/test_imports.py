"""Backups: what one device exports another one takes, and says what it could not take as it was."""

import json

import pytest

from firmware.services.errors import Refused
from firmware.services.problems import Problems
from firmware.services.search.templates import parse
from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore
from firmware.services.settings.files import SIZE_LIMIT, SettingsFiles
from firmware.services.settings.table import SETTINGS
from hal.fields import BadField, ListOf, Object, Text
from hal.json_text import WrongEncoding, json_decode
from tests.firmware.running import BOARD, Running

KEY = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="
TUNNEL = {
    "enabled": True,
    "privateKey": KEY,
    "address": "10.8.0.2/24",
    "peerPublicKey": KEY,
    "endpoint": "vpn.example.org:51820",
    "allowedIps": ["10.8.0.0/24"],
}
NO_MODEM = {"gsm": "this board has no modem"}


def start(folder, unmanaged=None):
    folder.mkdir(exist_ok=True)
    settings = Settings(DocumentStore(str(folder), "settings.json"), {}, unmanaged)
    problems = Problems()
    settings.report_to(problems)
    return settings, problems


async def exported(folder, changes):
    settings, _ = start(folder)
    await settings.set(changes)
    return settings.export()


async def test_a_tunnel_without_its_key_is_taken_switched_off_and_said_until_it_is_set_again(tmp_path):
    export = await exported(tmp_path / "one", {"wgManual": TUNNEL, "timeGmt": 60})
    settings, problems = start(tmp_path / "two")
    (notice,) = await settings.import_(export)
    assert notice == "wgManual: switched off, for privateKey is missing: exports hold no secrets"
    assert problems.texts() == [notice]
    again, problems = start(tmp_path / "two")
    assert problems.texts() == [notice]
    assert again.active["timeGmt"] == 60
    assert again.active["wgManual"] == dict(
        export["wgManual"], enabled=False, privateKey=None, presharedKey=None, keepAliveSec=25
    )
    await again.set({"timeGmt": 120})
    assert problems.texts() == [notice]
    await again.set({"wgManual": {"enabled": True, "privateKey": KEY}})
    assert problems.texts() == []
    assert start(tmp_path / "two")[1].texts() == []


async def test_a_tunnel_whose_key_is_there_already_stays_on(tmp_path):
    export = await exported(tmp_path / "one", {"wgManual": TUNNEL})
    settings, _ = start(tmp_path / "two")
    await settings.set({"wgManual": {"privateKey": KEY}})
    assert await settings.import_(export) == []
    assert settings.saved["wgManual"]["enabled"] is True


async def test_a_notice_goes_with_a_reset(tmp_path):
    export = await exported(tmp_path / "one", {"wgManual": TUNNEL})
    settings, problems = start(tmp_path / "two")
    await settings.import_(export)
    await settings.reset()
    assert problems.texts() == []
    assert start(tmp_path / "two")[1].texts() == []


@pytest.mark.parametrize("more", [{"privateKey": "short"}, {"address": ""}, {"privateKey": None}, {"endpoint": 5}])
async def test_what_is_wrong_beside_the_missing_secret_is_refused(tmp_path, more):
    export = await exported(tmp_path / "one", {"wgManual": TUNNEL})
    settings, _ = start(tmp_path / "two")
    with pytest.raises(BadField, match="wgManual"):
        await settings.import_(dict(export, wgManual=dict(export["wgManual"], **more)))
    assert settings.saved["wgManual"]["address"] == ""


async def test_what_the_board_does_not_have_is_left_out_of_an_import_and_said(tmp_path):
    export = await exported(tmp_path / "one", {"gsm": {"enabled": True}, "timeGmt": 60})
    settings, problems = start(tmp_path / "two", NO_MODEM)
    assert await settings.import_(export) == ["gsm: not taken over: this board has no modem"]
    assert settings.saved["gsm"]["enabled"] is False
    assert settings.saved["timeGmt"] == 60
    assert problems.texts() == ["gsm: not taken over: this board has no modem"]
    assert await settings.import_(dict(export, gsm={"enabled": False})) == []
    assert problems.texts() == []


async def test_what_the_board_does_not_have_is_refused_by_name_when_set(tmp_path):
    settings, _ = start(tmp_path, NO_MODEM)
    with pytest.raises(BadField) as caught:
        await settings.set({"gsm": {"enabled": True}, "timeGmt": 60})
    assert caught.value.problems == ["gsm: this board has no modem"]
    assert settings.saved["timeGmt"] == 0
    await settings.set(dict(settings.get("saved", []), timeGmt=60))  # what was read goes back as it is
    assert settings.saved["timeGmt"] == 60


def longest(kind):
    """The value of a kind that takes the most room in an export."""
    if isinstance(kind, Object):
        return {field.name: longest(field.kind) for field in kind.fields if not field.secret}
    if isinstance(kind, ListOf):
        return [longest(kind.kind)] * kind.high
    if isinstance(kind, Text):
        return ("a" if kind.form else "\U0001f600") * kind.high
    return 184467440737


def test_the_largest_export_can_be_imported():
    assert len(json.dumps({field.name: longest(field.kind) for field in SETTINGS})) < SIZE_LIMIT


class Card:
    """Stands for the files of a card: one, with these bytes."""

    def __init__(self, data):
        self.data = data

    async def read_whole(self, path, limit):
        assert len(self.data) <= limit
        return self.data


async def test_a_mark_before_an_imported_file_is_passed_over(tmp_path):
    settings, _ = start(tmp_path)
    files = SettingsFiles(settings, Card(b"\xef\xbb\xbf" + b'{"timeGmt": 60}'))
    assert await files.import_("/a.json", None) == []
    assert settings.saved["timeGmt"] == 60


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-32-be", "utf-32-le"])
async def test_other_encodings_are_named(tmp_path, encoding):
    data = '{"timeGmt": 60}'.encode(encoding)
    name = encoding[:6].upper()
    with pytest.raises(Refused, match=name) as caught:
        await SettingsFiles(start(tmp_path)[0], Card(data)).import_("/a.json", None)
    assert caught.value.code == "BAD_JSON"
    with pytest.raises(Refused, match=name) as caught:
        parse(data)
    assert caught.value.code == "BAD_TEMPLATE"
    with pytest.raises(WrongEncoding, match=name):
        json_decode(data)


def test_a_mark_before_a_template_does_not_move_its_lines():
    with pytest.raises(Refused, match="line 2: not JSON"):
        parse(b'\xef\xbb\xbf{"meta":\n{"class": "a" "title": "b"}}')


def test_an_import_has_a_limit_of_its_own_and_bodies_may_begin_with_a_mark(tmp_path):
    board = dict(BOARD, settings=dict(BOARD["settings"], httpd={"maxBodyBytes": 4096}))
    with Running(tmp_path, board) as device:
        device.login()
        export = device.post("cmd/settings/export/")["settings"]
        export["forwarding"] = [{"uidFrom": at, "uidTo": at, "host": "x" * 60 + ".test"} for at in range(1, 33)]
        assert len(json.dumps({"settings": export})) > 4096
        assert device.post("cmd/settings/import/", {"settings": export}) == {}
        export["wgManual"] = {name: value for name, value in TUNNEL.items() if name != "privateKey"}
        data = b"\xef\xbb\xbf" + json.dumps({"settings": export}).encode()
        answer = device.client.post("api/cmd/settings/import/", content=data)
        assert (answer.status_code, list(answer.json())) == (200, ["notices"])
        assert device.get("state/get/?system")["system"]["errors"] == answer.json()["notices"]
        for path, size in (("settings/saved/set/", 4097), ("cmd/settings/import/", SIZE_LIMIT + 1)):
            assert device.client.post("api/" + path, content=b" " * size).status_code == 413
        assert device.client.post("api/settings/saved/set/", content='{"timeGmt": 60}'.encode("utf-16")).json() == {
            "error": "BAD_JSON",
            "message": "the body cannot be read: it is UTF-16; JSON is UTF-8",
        }
