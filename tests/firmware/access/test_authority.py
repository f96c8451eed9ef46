"""Settings that give power over the device: who may change them, and what a changed login ends."""

import httpx
import pytest

from firmware.services.access.authority import Author, Authority, changed_powers
from firmware.services.access.sessions import Sessions
from firmware.services.errors import Refused
from firmware.services.settings.areas import Settings
from firmware.services.settings.document_store import DocumentStore
from firmware.services.settings.table import SETTINGS
from tests.firmware.running import BOARD, Running

BY_BUTTON = Author(None, True)
KEY = "aGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gaGVsbG8gISE="
POWERS = {
    "protect": {"password": "taken-over"},
    "wgCloud": {"enabled": True, "interface": "eth0"},
    "wgManual": {"peerPublicKey": KEY},
    "modbusTcp": {"allow": ["0.0.0.0/0"]},
    "httpd": {"hosts": ["evil.example"]},
}


class Rig:
    def __init__(self, folder, password="secret-word"):
        protect = {} if password is None else {"protect": {"password": password}}
        self.settings = Settings(DocumentStore(str(folder), "settings.json"), protect)
        self.sessions = Sessions(600)
        Authority(self.settings, self.sessions)

    async def refused(self, changes, author=BY_BUTTON):
        before = self.settings.saved
        with pytest.raises(Refused) as caught:
            await self.settings.set(changes, author)
        assert self.settings.saved == before
        assert caught.value.code == "FORBIDDEN"
        return str(caught.value)


@pytest.mark.parametrize("name", POWERS)
async def test_the_device_itself_may_change_whatever_it_keeps(tmp_path, name):
    rig = Rig(tmp_path)
    token = rig.sessions.open()
    await rig.settings.set({name: POWERS[name]})
    assert rig.sessions.use(token) is (name != "protect")


@pytest.mark.parametrize("name", POWERS)
async def test_the_button_alone_does_not_give_the_device_away(tmp_path, name):
    rig = Rig(tmp_path)
    member = "" if name in ("protect", "wgCloud", "wgManual") else "." + next(iter(POWERS[name]))
    assert (name + member + ":") in await rig.refused({name: POWERS[name]})
    before = rig.settings.saved
    await rig.settings.set({name: POWERS[name]}, Author(rig.sessions.open(), False))
    assert changed_powers(before, rig.settings.saved) == [name + member]


async def test_the_button_alone_cannot_take_the_password_away_nor_import_another(tmp_path):
    rig = Rig(tmp_path)
    await rig.refused({"protect": {"password": None}})
    with pytest.raises(Refused, match="protect: changed only with a login"):
        await rig.settings.import_({"format": 1, "protect": {"username": "mallory"}}, BY_BUTTON)


async def test_what_gives_no_power_is_changed_by_the_button_together_with_powers_that_stay(tmp_path):
    rig = Rig(tmp_path)
    shown = rig.settings.get("saved", [])
    await rig.settings.set(dict(shown, language="pl"), BY_BUTTON)
    assert rig.settings.saved["language"] == "pl"
    assert rig.settings.saved["protect"]["password"] == "secret-word"


async def test_a_device_without_a_password_is_set_up_by_the_button_until_it_has_one(tmp_path):
    rig = Rig(tmp_path, password=None)
    await rig.settings.set({"protect": {"password": "first-comer"}}, BY_BUTTON)
    await rig.refused({"protect": {"password": "late-comer"}})
    restarted = Rig(tmp_path, password=None)
    await restarted.refused({"protect": {"password": "late-comer"}})


async def test_a_password_taken_away_is_still_asked_for_until_the_next_start(tmp_path):
    rig = Rig(tmp_path)
    await rig.settings.set({"protect": {"password": None}}, Author(rig.sessions.open(), False))
    await rig.refused({"protect": {"password": "late-comer"}})
    restarted = Rig(tmp_path)
    await restarted.settings.set({"protect": {"password": "after-restart"}}, BY_BUTTON)


async def test_a_changed_login_ends_all_sessions_but_the_one_that_changed_it(tmp_path):
    rig = Rig(tmp_path)
    mine, other = rig.sessions.open(), rig.sessions.open()
    await rig.settings.set({"language": "pl", "protect": {"password": "***"}}, Author(mine, False))
    assert rig.sessions.use(other)
    await rig.settings.set({"protect": {"password": "another-one"}}, Author(mine, False))
    assert rig.sessions.use(mine)
    assert not rig.sessions.use(other)
    await rig.settings.reset(Author(None, True))
    assert rig.sessions.count() == 0


def test_what_gives_power_is_marked_in_the_table():
    marked = [field.name for field in SETTINGS if field.power]
    assert {"protect", "wgCloud", "wgManual"} <= set(marked)


def test_a_guest_who_finds_the_button_pressed_cannot_take_the_device_over(tmp_path):
    with Running(tmp_path) as device:
        guest = httpx.Client(base_url=device.client.base_url, trust_env=False, timeout=10)
        device.login()
        assert guest.get("api/identify/").status_code == 401
        device.control("button press")
        for name, value in POWERS.items():
            if name == "wgManual":  # which nobody changes on this board
                continue
            answer = guest.post("api/settings/saved/set/", json={name: value})
            assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
            answer = guest.post("api/cmd/settings/import/", json={"settings": {name: value}})
            if name == "wgManual":  # left out of imports on a board that does not manage its network
                assert list(answer.json()) == ["notices"]
            else:
                assert (answer.status_code, answer.json()["error"]) == (403, "FORBIDDEN")
        assert guest.post("api/settings/saved/set/", json={"language": "pl"}).status_code == 200
        device.post("settings/saved/set/", {"protect": {"password": "quite-another"}})
        device.get("identify/")
        assert guest.post("api/cmd/settings/reset/", json={}).status_code == 200
        guest.close()


def test_a_device_without_a_factory_login_is_set_up_over_http_by_the_button(tmp_path):
    with Running(tmp_path, dict(BOARD, system={"driver": "simulated"})) as device:
        answer = device.client.post("api/settings/saved/set/", json={"protect": {"password": "my-own-one"}})
        assert answer.status_code == 401
        device.control("button press")
        device.post("settings/saved/set/", {"protect": {"password": "my-own-one"}})
        answer = device.client.post("api/settings/saved/set/", json={"protect": {"password": "not-any-more"}})
        assert answer.status_code == 403
