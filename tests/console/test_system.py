"""The system page: the clock, a restart, an update, activation, a message, who is in, the log."""

import json
import re
import time

import pytest
from playwright.sync_api import expect

from deploy.updates.publish import entry_of, write_index
from tests.console.conftest import PATIENT
from tests.firmware.running import Running
from tests.firmware.update.supervised import EVER_AFTER
from tests.hal.update.keys import Maker

PHONE = "+380501234567"


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    return Maker(tmp_path_factory.mktemp("maker") / "keys", 0, EVER_AFTER)


@pytest.fixture(scope="module")
def device(tmp_path_factory, maker):
    """A device with a modem, an update on its card, and time servers that do not answer."""
    folder = tmp_path_factory.mktemp("system")
    updates = folder / "card" / "updates"
    updates.mkdir(parents=True)
    entry = dict(entry_of(maker.bundle(updates / "made.bundle")), channel="stable", rollout=100, notBefore=0)
    write_index(updates, maker.folder, [entry], 30)
    settings = {
        **PATIENT["settings"],
        "gsm": {"enabled": True, "apn": "internet", "smsPhone": PHONE},
        "ntp": {"server1": "127.0.0.1", "server2": ""},
        "download": {"url": "card:/updates/", "enabled": True},
    }
    updater = {"driver": "folders", "keys": str(maker.keyring_path), "compatible": "simulated"}
    with Running(folder, dict(PATIENT, updater=updater, settings=settings)) as running:
        yield running


def test_the_clock_is_set_by_hand_and_from_the_computer_and_servers_that_fail_are_named(console):
    one = console(width=360).enter("system")
    panel = one.panel("Time")
    panel.get_by_label("Local time by hand", exact=True).fill("2031-05-06T07:08:09")
    panel.get_by_role("button", name="Set", exact=True).click()
    expect(panel).to_contain_text("2031-05-06 07:08")
    expect(panel).to_contain_text("set by hand")
    panel.get_by_role("button", name="Ask time servers", exact=True).click()
    expect(panel.get_by_role("alert")).to_contain_text("The time servers did not help")
    panel.get_by_role("button", name="Set from this computer", exact=True).click()
    expect(panel).to_contain_text(time.strftime("%Y-%m-%d", time.gmtime()))


def test_the_device_restarts_when_it_is_asked_twice_and_the_page_finds_it_again(restarting, console):
    device = restarting()
    one = console(device).enter("system")
    panel = one.panel("Device")
    panel.get_by_role("button", name="Restart", exact=True).click()
    panel.get_by_role("button", name="No", exact=True).click()
    panel.get_by_role("button", name="Restart", exact=True).click()
    panel.get_by_role("button", name="Yes", exact=True).click()
    expect(one.page.get_by_role("heading", name="The device restarts", exact=True)).to_be_visible()
    expect(one.page.get_by_text("The device has restarted")).to_be_visible(timeout=30000)
    one.forgive("ERR_")


def test_an_update_is_looked_for_and_offered_and_a_bad_source_is_told_in_words(console, device):
    one = console().enter("system")
    panel = one.panel("Firmware update")
    install = panel.get_by_role("button", name="Install", exact=True)
    expect(install).to_be_disabled()
    panel.get_by_role("button", name="Look for an update", exact=True).click()
    expect(panel).to_contain_text("9.9.9")
    expect(panel.locator(".mark")).to_have_text("ready")
    install.click()
    expect(panel.get_by_role("group", name="Install and restart?", exact=True)).to_be_visible()
    panel.get_by_role("button", name="No", exact=True).click()
    index = device.state / "card" / "updates" / "index.json"
    index.write_text(index.read_text().replace("9.9.9", "9.9.8"))
    panel.get_by_role("button", name="Look for an update", exact=True).click()
    expect(panel.get_by_role("alert")).to_contain_text("changed after it was signed")


def test_a_licence_is_taken_and_one_that_is_none_is_refused_with_the_reason(console, device, maker):
    from firmware.maker import licences

    one = console(width=360).enter("system")
    panel = one.panel("Activation")
    panel.get_by_label("Licence", exact=True).fill("nonsense")
    panel.get_by_role("button", name="Enter", exact=True).click()
    expect(panel.get_by_role("alert")).to_contain_text("The licence does not fit this device")
    one.forgive("400")
    panel.get_by_role("button", name="Ask for a code", exact=True).click()
    expect(panel.get_by_text("The code comes from the cloud.")).to_be_visible()
    mac = device.get("identify/")["mac"]
    payload = {"serial": "17", "mac": mac, "pubKey": None, "features": ["search"], "expires": int(time.time()) + 86400}
    panel.get_by_label("Licence", exact=True).fill(licences.make(str(maker.folder), payload))
    panel.get_by_role("button", name="Enter", exact=True).click()
    expect(panel.locator(".mark")).to_have_text("yes")
    expect(panel).to_contain_text("search")
    assert not one.is_too_wide()


def test_a_test_message_goes_out_and_a_number_that_is_none_is_refused_at_its_field(console, device):
    one = console().enter("system")
    panel = one.panel("Test message")
    panel.get_by_label("Phone", exact=True).fill("12")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(panel.get_by_label("Phone", exact=True)).to_have_attribute("aria-invalid", "true")
    one.forgive("400")
    panel.get_by_label("Phone", exact=True).fill("")
    panel.get_by_label("Text", exact=True).fill("<b>from the cabinet</b>")
    panel.get_by_role("button", name="Send", exact=True).click()
    expect(panel.get_by_text("Sent.", exact=True)).to_be_visible()
    assert device.control("modem outbox") == f"ok {PHONE} (1 part) <b>from the cabinet</b>"


def test_sessions_and_failed_logins_are_counted_and_the_log_shows_them_as_text(console, device):
    one = console().enter("system")
    access = one.panel("Access")
    expect(access).to_contain_text("Sessions")
    before = int(re.search(r"Sessions\s*(\d+)", access.inner_text())[1])
    device.client.post("api/login/", json={"username": "<i>who</i>", "password": "0" * 40})
    console().login()
    expect(access).to_contain_text(re.compile(rf"Sessions\s*{before + 1}(?!\d)"))
    expect(access).to_contain_text("127.0.0.1")
    log = one.panel("Log").first
    expect(log).to_contain_text("127.0.0.1")
    one.page.get_by_label("Show", exact=True).select_option("errors")
    expect(one.page.get_by_text("No line that fits.")).to_be_visible()
    one.page.get_by_label("Show", exact=True).select_option("everything")
    one.page.get_by_label("With the text", exact=True).fill("login")
    expect(log.locator("tr").first).to_contain_text("login")
    with one.page.expect_download() as arriving:
        one.page.get_by_role("button", name="Save as a file", exact=True).click()
    assert (
        "login" in arriving.value.path().read_text()
        and json.dumps("mc252-sim") not in arriving.value.path().read_text()
    )
    assert one.page.locator("main i, main b").count() == 0
