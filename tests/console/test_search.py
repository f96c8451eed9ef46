"""The searches: to their end, with finds as they come, and a device's own name as text."""

import json

from playwright.sync_api import expect

EVIL = "<img src=x onerror=document.title='hacked'>"


def test_a_search_goes_to_its_end_and_leads_to_the_bus(console):
    one = console(width=360).enter()
    one.go("Search")
    one.page.get_by_label("To unit", exact=True).fill("20")
    one.page.get_by_role("button", name="Search", exact=True).click()
    expect(one.page.get_by_role("progressbar")).to_be_visible()
    expect(one.page.get_by_role("timer")).to_contain_text("left")
    expect(one.page.get_by_text("done", exact=True)).to_be_visible(timeout=30000)
    found = one.page.get_by_role("region", name="Devices that were found", exact=True).locator("tbody tr")
    expect(found).to_have_count(3)  # 1, 2 and 17
    expect(found.nth(0)).to_contain_text("9600 baud")
    assert not one.is_too_wide()
    found.nth(1).get_by_role("link", name="To the bus", exact=True).click()
    expect(one.page.get_by_label("Unit", exact=True)).to_have_value("2")


def test_a_search_by_template_shows_values_and_names_as_text(console, device):
    template = {
        "meta": {"class": "meter", "title": EVIL},
        "identify": [{"func": 3, "addr": 0, "count": 2, "equals": [252, 104]}],
        "params": [{"name": "voltage", "func": 3, "addr": 2, "type": "uint16", "scale": 0.1}],
    }
    (device.state / "card").mkdir(exist_ok=True)
    (device.state / "card" / "meter.json").write_text(json.dumps(template))
    one = console().enter("search")
    one.page.get_by_role("button", name="By template", exact=True).click()
    one.page.get_by_label("Template", exact=True).fill("/meter.json")
    one.page.get_by_role("button", name="Check", exact=True).click()
    expect(one.page.locator(".notice")).to_contain_text(EVIL)
    one.page.get_by_role("button", name="Search", exact=True).click()
    expect(one.page.get_by_role("heading", name="Unit 1 ·")).to_contain_text(EVIL, timeout=30000)
    expect(one.page.get_by_role("region", name=EVIL, exact=True)).to_contain_text("230")
    one.page.get_by_role("button", name="Stop", exact=True).click()
    expect(one.page.get_by_text("stopped", exact=True)).to_be_visible()
    assert one.page.locator("main img").count() == 0 and "hacked" not in one.page.title()
