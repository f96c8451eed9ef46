"""Settings: changed at their fields, in use after a restart, out to a file and back; the first start."""

import json

import pytest
from playwright.sync_api import expect

from tests.console.conftest import PATIENT
from tests.firmware.running import Running


def panel(one, name):
    return one.page.get_by_role("region", name=name, exact=True)


def test_a_changed_setting_is_in_use_after_a_restart_which_the_page_waits_for(restarting, console):
    device = restarting()
    one = console(device, width=360).enter("settings/bus")
    line = panel(one, "RS-485 line")
    line.get_by_label("Baud rate", exact=True).fill("300000")
    expect(line.get_by_text("from 75 to 230400")).to_be_visible()
    expect(line.get_by_role("button", name="Save", exact=True)).to_be_disabled()
    line.get_by_label("Baud rate", exact=True).fill("19200")
    line.get_by_role("button", name="Save", exact=True).click()
    expect(one.page.get_by_text("not in use before the next start")).to_be_visible()
    expect(line.get_by_text("in use: 9600")).to_be_visible()
    assert not one.is_too_wide()
    one.page.get_by_role("button", name="Restart", exact=True).click()
    one.page.get_by_role("button", name="Yes", exact=True).click()
    expect(one.page.get_by_text("The device has restarted")).to_be_visible(timeout=30000)
    device.login()
    assert device.get("settings/active/get/?serial")["serial"]["baudRate"] == 19200
    assert all("ERR_" in text for text in one.said), one.said
    one.said.clear()  # the browser notes that the device was away


def test_what_the_device_says_of_a_field_stands_at_it(console):
    one = console().enter("settings/network")
    net = panel(one, "Wired network")
    net.get_by_label("Address by DHCP", exact=True).uncheck()
    net.get_by_role("button", name="Save", exact=True).click()
    expect(net.get_by_text("is needed while dhcp is false").first).to_be_visible()
    expect(net.get_by_label("IP address", exact=True)).to_have_attribute("aria-invalid", "true")
    assert all("400" in text for text in one.said)
    one.said.clear()


def test_secrets_are_never_shown_and_stay_unless_they_are_changed(console, device):
    one = console().enter("settings/access")
    login = panel(one, "Login and button")
    expect(login.get_by_label("Password", exact=True)).to_have_value("")
    expect(login.get_by_label("Password", exact=True)).to_have_attribute("placeholder", "set")
    login.get_by_label("Minutes of the button", exact=True).fill("11")
    login.get_by_role("button", name="Save", exact=True).click()
    expect(login.get_by_text("Saved.")).to_be_visible()
    console().login().page.close()  # the password is what it was


def test_an_import_says_what_it_would_change_before_it_does(console, tmp_path):
    one = console().enter("settings/files")
    with one.page.expect_download() as arriving:
        one.page.get_by_role("button", name="Save as a file", exact=True).click()
    settings = json.loads(arriving.value.path().read_text())
    assert "password" not in settings["protect"]
    settings["astro"]["latitude"] = 50.45
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings))
    one.page.locator("input[type=file]").set_input_files(path)
    expect(one.page.get_by_text("It would change: 1")).to_be_visible()
    expect(one.page.get_by_role("row", name="astro.latitude")).to_contain_text("50.45")
    one.page.get_by_role("button", name="Import", exact=True).click()
    expect(one.page.get_by_text("not in use before the next start")).to_contain_text("Place")


def test_the_page_speaks_the_language_of_the_setting(own_device, console):
    one = console(own_device, locale="de-DE").login()
    expect(one.page.get_by_role("link", name="Overview", exact=True)).to_be_visible()
    own_device.login()
    own_device.post("settings/saved/set/", {"language": "uk"})
    one.page.get_by_role("button", name="Log out", exact=True).click()
    one.login()
    expect(one.page.get_by_role("link", name="Огляд", exact=True)).to_be_visible()
    assert one.page.evaluate("document.documentElement.lang") == "uk"


@pytest.mark.parametrize("width", [360])
def test_a_new_device_is_led_through_its_first_start(restarting, console, width):
    del restarting.board["system"]["factoryLogin"]
    device = restarting()
    one = console(device, width=width).open()
    expect(one.page.get_by_text("has no password yet")).to_be_visible()
    device.control("button press")
    one.page.get_by_label("User name", exact=True).fill("anna")
    one.page.get_by_label("Password", exact=True).fill("correct horse")
    one.page.get_by_label("Password again", exact=True).fill("correct hors")
    expect(one.page.get_by_role("button", name="Next", exact=True)).to_be_disabled()
    one.page.get_by_label("Password again", exact=True).fill("correct horse")
    one.page.get_by_role("button", name="Next", exact=True).click()
    one.page.get_by_label("Time zone, minutes east of GMT", exact=True).select_option("120")
    one.page.get_by_role("button", name="Next", exact=True).click()
    one.page.get_by_role("button", name="Next", exact=True).click()
    one.page.get_by_role("button", name="Find the settings", exact=True).click()
    expect(one.page.get_by_text("answers at 9600 baud")).to_be_visible(timeout=30000)
    assert not one.is_too_wide()
    one.page.get_by_role("button", name="Next", exact=True).click()
    one.page.get_by_role("button", name="Save and restart", exact=True).click()
    expect(one.page.get_by_text("The device has restarted")).to_be_visible(timeout=30000)
    one.page.get_by_label("User name", exact=True).fill("anna")
    one.page.get_by_label("Password", exact=True).fill("correct horse")
    one.page.get_by_role("button", name="Log in", exact=True).click()
    expect(one.page.get_by_text("All well")).to_be_visible()
    one.said.clear()


def test_a_reset_is_asked_for_twice_and_said_to_wait_for_a_restart(own_device, console):
    own_device.login()
    own_device.post("settings/saved/set/", {"timeGmt": 75})
    one = console(own_device, width=360).enter("settings/files")
    expect(one.page.get_by_text("not in use before the next start")).to_contain_text("Time zone")
    reset = one.panel("Factory defaults")
    reset.get_by_role("button", name="Reset", exact=True).click()
    reset.get_by_role("button", name="Yes", exact=True).click()
    expect(reset.get_by_text("Reset. In use after a restart.")).to_be_visible()
    expect(one.page.get_by_text("not in use before the next start")).not_to_be_visible()
    assert own_device.get("settings/saved/get/?timeGmt") == {"timeGmt": 0}


@pytest.fixture(scope="module")
def ukrainian(tmp_path_factory):
    """A device whose page is Ukrainian."""
    settings = dict(PATIENT["settings"], language="uk")
    with Running(tmp_path_factory.mktemp("ukrainian"), dict(PATIENT, settings=settings)) as running:
        yield running


def test_the_help_at_settings_is_ukrainian_where_the_page_is(ukrainian, console):
    one = console(ukrainian, width=360).enter("settings/bus")
    line = one.page.get_by_role("region", name="Лінія RS-485", exact=True)
    expect(line).to_contain_text("скільки мілісекунд чекати початку відповіді")
    expect(line).not_to_contain_text("milliseconds")
    assert not one.is_too_wide()


def test_what_the_device_refuses_is_told_in_ukrainian_where_the_page_is(ukrainian, console):
    one = console(ukrainian, width=360).enter("settings/network")
    net = one.page.get_by_role("region", name="Дротова мережа", exact=True)
    net.get_by_label("Адреса від DHCP", exact=True).uncheck()
    net.get_by_role("button", name="Зберегти", exact=True).click()
    expect(net.get_by_text("потрібне без DHCP").first).to_be_visible()
    one.go("Шина")
    one.page.get_by_label("Прилад", exact=True).fill("300")
    one.page.get_by_role("button", name="Надіслати", exact=True).click()
    expect(one.page.get_by_text("має бути ціле число від 0 до 255")).to_be_visible()
    assert not one.is_too_wide()
    one.forgive("400")
