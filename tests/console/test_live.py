"""What a page shows goes on: by the event stream, by asking where there is none, and when a network comes back."""

import signal

from playwright.sync_api import expect


def test_what_changes_is_told_and_not_asked_for(own_device, console):
    one = console(own_device).enter("overview")
    expect(one.panel("SD card")).to_contain_text("Free")
    with one.page.expect_request("**/api/events/**"):
        one.page.reload()
    expect(one.panel("SD card")).to_contain_text("Free")
    asked: list[str] = []
    one.page.on("request", lambda request: asked.append(request.url))
    own_device.control("card pull")
    expect(one.panel("SD card")).to_contain_text("No card is in the slot")
    own_device.login()
    own_device.post("modbus/req/", {"uid": 1, "func": 3, "addr": 0, "count": 1})
    expect(one.panel("RS-485 line").locator(".count").nth(2)).to_have_text("1answers")
    assert [url for url in asked if "state/get" in url] == []


def test_without_a_stream_the_page_asks(own_device, console):
    one = console(own_device)
    refuse = '{"error": "BUSY", "message": "24 streams are open"}'
    one.context.route("**/api/events/**", lambda route: route.fulfill(status=503, body=refuse))
    one.enter("search")
    one.page.get_by_label("To unit", exact=True).fill("3")
    one.page.get_by_role("button", name="Search", exact=True).click()
    found = one.page.get_by_role("region", name="Devices that were found", exact=True).locator("tbody tr")
    expect(found).to_have_count(2)
    expect(one.page.get_by_text("done", exact=True)).to_be_visible(timeout=30000)
    one.enter("bus/trace")
    expect(one.page.locator("table.trace tbody > tr").first).to_be_visible()
    own_device.post("modbus/req/", {"uid": 2, "func": 3, "addr": 7, "count": 1})
    expect(one.page.locator("table.trace tbody > tr").first).to_contain_text("02 03 00 07 00 01")
    one.enter("overview")
    expect(one.panel("SD card")).to_contain_text("Free")
    own_device.control("card pull")
    expect(one.panel("SD card")).to_contain_text("No card is in the slot")
    one.forgive("503")


def test_a_device_that_falls_silent_is_said_to_and_found_again(own_device, console):
    one = console(own_device)
    one.page.clock.install()
    one.enter("overview")
    expect(one.panel("RS-485 line")).to_be_visible()
    own_device.process.send_signal(signal.SIGSTOP)  # as if the network swallowed everything: no connection ends
    try:
        for _ in range(3):
            one.page.clock.fast_forward(7000)
            one.page.wait_for_timeout(100)
        expect(one.page.get_by_text("The device does not answer. The page keeps trying.")).to_be_visible()
    finally:
        own_device.process.send_signal(signal.SIGCONT)
    for _ in range(3):
        one.page.clock.fast_forward(3000)
        one.page.wait_for_timeout(100)
    expect(one.page.get_by_text("The page keeps trying.")).not_to_be_visible()
    own_device.control("card pull")
    expect(one.panel("SD card")).to_contain_text("No card is in the slot")


def test_a_page_that_cannot_be_fetched_is_there_when_the_network_is(console, device):
    one = console().enter("overview")
    expect(one.panel("RS-485 line")).to_be_visible()
    one.context.set_offline(True)
    one.go("Settings")  # its module was never fetched
    expect(one.page.get_by_text("The device does not answer. The page keeps trying.")).to_be_visible()
    one.context.set_offline(False)
    expect(one.panel("Wired network")).to_be_visible(timeout=15000)
    one.forgive("ERR_INTERNET_DISCONNECTED", "Failed to fetch")


def test_two_tabs_are_two_sessions_and_one_that_leaves_does_not_take_the_other_along(own_device, console):
    one, other = console(own_device).login(), console(own_device).login()
    for tab in (one, other):
        expect(tab.panel("RS-485 line")).to_be_visible()
    one.page.get_by_role("button", name="Log out", exact=True).click()
    expect(one.page.get_by_label("Password", exact=True)).to_be_visible()
    other.go("Bus")
    other.page.get_by_role("button", name="Send", exact=True).click()
    expect(other.page.get_by_role("region", name="Values", exact=True)).to_be_visible()


def test_a_session_that_the_device_has_ended_leads_to_the_login(restarting, console):
    device = restarting()
    one = console(device).enter("bus/trace")
    expect(one.page.get_by_role("heading", name="Trace", exact=True)).to_be_visible()
    device.post("cmd/reboot/")
    expect(one.page.get_by_text("The session has ended. Log in again.")).to_be_visible(timeout=20000)
    one.forgive("ERR_", "401")
