"""Getting in, seen in a browser: by login on plain HTTP, by the button, and out again."""

import hashlib

import pytest
from playwright.sync_api import expect

from tests.console.conftest import ARGUMENTS, CHROMIUM, WIDTHS, Console
from tests.firmware.http.test_vpn import DEVICE_LAN, DEVICE_VPN, Site, can_make_namespaces


@pytest.mark.parametrize("width", WIDTHS)
def test_one_logs_in_where_the_browser_gives_no_cryptography(console, width):
    one = console(width=width).login()
    expect(one.menu()).to_be_visible()
    assert one.page.evaluate("isSecureContext") is False
    assert one.page.evaluate("crypto.subtle") is None
    expect(one.page.get_by_text("by login", exact=True)).to_be_visible()
    expect(one.page.get_by_role("heading", name="RS-485 line", exact=True)).to_be_visible()
    assert not one.is_too_wide()
    one.page.reload()
    expect(one.menu()).to_be_visible()


def test_sha1_of_the_page_is_sha1(console):
    texts = ["", "abc", "é" * 40, "x" * 55, "x" * 56, "x" * 64, "пароль" * 40]
    one = console().open()
    found = one.page.evaluate(
        """async (texts) => {
            const base = document.querySelector("script[type=module]").src;
            const { sha1 } = await import(new URL("sha1.js", base).href);
            return texts.map(sha1);
        }""",
        texts,
    )
    assert found == [hashlib.sha1(text.encode()).hexdigest() for text in texts]


def test_a_wrong_password_is_said_where_it_was_typed(console):
    one = console().login("not the password")
    expect(one.page.get_by_role("alert")).to_contain_text("User name or password is wrong")
    assert [text for text in one.said if "401" not in text] == []
    one.said.clear()  # the browser notes each 401 by itself


def test_the_button_lets_in_with_the_minutes_that_are_left(own_device, console):
    one = console(own_device).open()
    expect(one.page.get_by_text("Or press the button")).to_be_visible()
    own_device.control("button press")
    expect(one.page.get_by_text("by the button")).to_be_visible()
    expect(one.page.locator(".level time")).to_contain_text("9:5")


def test_logging_out_ends_it_at_the_device_too(console, device):
    one = console().login()
    expect(one.menu()).to_be_visible()
    token = one.page.evaluate("sessionStorage.getItem('token')")
    with one.page.expect_response("**/api/cmd/logout/"):
        one.page.get_by_role("button", name="Log out", exact=True).click()
    expect(one.page.get_by_label("Password", exact=True)).to_be_visible()
    answer = device.client.get("api/identify/", headers={"Authorization": "Bearer " + token})
    assert answer.status_code == 401


def test_an_unused_session_ends_visibly_and_says_so_before(console):
    one = console()
    one.page.clock.install()
    one.login()
    expect(one.page.get_by_role("heading", name="RS-485 line", exact=True)).to_be_visible()
    one.page.clock.fast_forward(560000)
    expect(one.page.get_by_role("button", name="Stay logged in", exact=True)).to_be_visible()
    one.page.keyboard.press("Shift")  # any use will do
    expect(one.page.get_by_text("The session ends in")).not_to_be_visible()
    one.page.clock.fast_forward(700000)
    expect(one.page.get_by_text("The session has ended. Log in again.")).to_be_visible()


@pytest.mark.skipif(not can_make_namespaces(), reason="no network namespaces can be made here")
def test_who_comes_over_the_vpn_is_in_at_once_and_sees_why_and_at_which_level(playwright_here, tmp_path):
    site = Site(tmp_path)
    try:
        site.vpn()
        device = site.start_device()
        program = tmp_path / "browser"
        program.write_text(f'#!/bin/sh\nexec ip netns exec {site.peer} {CHROMIUM} "$@"\n')
        program.chmod(0o755)
        browser = playwright_here.chromium.launch(executable_path=program, args=ARGUMENTS)
        one = Console(browser, device, width=360, url=f"http://{DEVICE_VPN}/").open()
        level = one.page.locator(".level")
        expect(level).to_contain_text("Administrator")
        expect(level).to_contain_text("over the VPN")
        other = Console(browser, device, width=360, url=f"http://{DEVICE_LAN}/").open()
        expect(other.page.get_by_label("Password", exact=True)).to_be_visible()
        assert one.said + other.said == []
        browser.close()
    finally:
        site.close()
