"""Every page in both widths and both themes: nothing cut off, nothing that a screen reader stumbles over."""

import json

import pytest
from playwright.sync_api import expect

from deploy.console import build
from tests.console.conftest import WIDTHS
from tests.console.pages import PAGES, wait_for

AXE = {
    "name": "axe-core",
    "version": "4.14.1",
    "integrity": "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
}


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core, which looks for what keeps people out."""
    try:
        return build.file_of(build.tarball(AXE), "axe.min.js").decode()
    except build.CannotBuild as exc:
        pytest.skip(f"no axe-core: {exc}")


def stumbling_blocks(page, axe):
    """What axe-core finds serious: the page as it is, then the colours of the other theme."""
    page.evaluate(axe + "; undefined")
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    page.emulate_media(color_scheme="light" if dark else "dark")
    found += page.evaluate("axe.run(document, { runOnly: ['color-contrast'] })")["violations"]
    page.emulate_media(color_scheme="dark" if dark else "light")
    serious = [rule for rule in found if rule["impact"] in ("serious", "critical")]
    return [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in serious]


@pytest.mark.parametrize(("width", "scheme"), [(WIDTHS[0], "dark"), (WIDTHS[1], "light")])
def test_no_page_is_wider_than_its_screen_or_keeps_anybody_out(console, axe, width, scheme):
    one = console(width=width, color_scheme=scheme)
    found = {}
    for path in ["login", *PAGES]:
        one = one.open() if path == "login" else one.enter(path)
        if path == "login":
            expect(one.page.get_by_label("Password", exact=True)).to_be_visible()
        else:
            wait_for(one.page, path)
        assert not one.is_too_wide(), path
        found[path] = stumbling_blocks(one.page, axe)
    one.enter("search").page.get_by_role("button", name="By template", exact=True).click()
    expect(one.page.get_by_label("Template", exact=True)).to_be_visible()
    assert not one.is_too_wide()
    found["search by template"] = stumbling_blocks(one.page, axe)
    assert {path: rules for path, rules in found.items() if rules} == {}


def test_no_step_of_the_first_start_keeps_anybody_out(restarting, console, axe):
    del restarting.board["system"]["factoryLogin"]
    device = restarting()
    one = console(device, width=WIDTHS[0]).open()
    expect(one.page.get_by_text("has no password yet")).to_be_visible()
    found = [stumbling_blocks(one.page, axe)]
    device.control("button press")
    one.page.get_by_label("Password", exact=True).fill("correct horse")
    one.page.get_by_label("Password again", exact=True).fill("correct horse")
    for title in ("Access", "Time", "Network", "RS-485 line", "Finish"):
        expect(one.panel(title)).to_be_visible()
        assert not one.is_too_wide(), title
        found.append(stumbling_blocks(one.page, axe))
        if title != "Finish":
            one.page.get_by_role("button", name="Next", exact=True).click()
    assert [rules for rules in found if rules] == []


def test_all_of_it_is_reached_by_the_keyboard(console):
    one = console().enter("overview")
    expect(one.menu()).to_be_visible()
    one.page.keyboard.press("Tab")
    expect(one.page.get_by_role("link", name="To the content", exact=True)).to_be_focused()
    one.page.keyboard.press("Enter")
    expect(one.page.locator("main")).to_be_focused()
    one.page.get_by_role("link", name="Bus", exact=True).focus()
    one.page.keyboard.press("Enter")
    one.page.get_by_label("Unit", exact=True).focus()
    one.page.keyboard.press("Enter")  # sends the form
    expect(one.page.get_by_role("region", name="Values", exact=True)).to_be_visible()


def test_questions_are_answered_by_the_keyboard_and_the_focus_comes_back(console, device):
    (device.state / "card" / "keys.txt").parent.mkdir(exist_ok=True)
    (device.state / "card" / "keys.txt").write_text("x")
    one = console().enter("card")
    row = one.page.get_by_role("row").filter(has_text="keys.txt")
    delete = row.get_by_role("button", name="Delete", exact=True)
    delete.focus()
    one.page.keyboard.press("Enter")
    expect(row.get_by_role("button", name="Yes", exact=True)).to_be_focused()
    one.page.keyboard.press("Tab")
    one.page.keyboard.press("Enter")
    expect(delete).to_be_focused()
    one.page.keyboard.press("Enter")
    one.page.keyboard.press("Enter")
    expect(row).to_have_count(0)
    assert not (device.state / "card" / "keys.txt").exists()


LONG = "x" * 120


def test_long_names_without_a_gap_stay_within_a_phone(console, device):
    folder = device.state / "card"
    folder.mkdir(exist_ok=True)
    (folder / (LONG + ".bin")).write_bytes(b"1")
    template = {
        "meta": {"class": "meter", "title": LONG, "manufacturer": LONG, "version": "1"},
        "identify": [{"func": 3, "addr": 0, "count": 2, "equals": [252, 104]}],
        "params": [{"name": "y" * 60, "func": 3, "addr": 2, "type": "uint16", "scale": 0.1}],
    }
    (folder / "long.json").write_text(json.dumps(template))
    one = console(width=WIDTHS[0]).enter("card")
    expect(one.page.get_by_role("button", name=LONG + ".bin", exact=True)).to_be_visible()
    assert not one.is_too_wide()
    one.enter("search").page.get_by_role("button", name="By template", exact=True).click()
    one.page.get_by_label("Template", exact=True).fill("/long.json")
    one.page.get_by_role("button", name="Check", exact=True).click()
    expect(one.page.locator(".notice")).to_contain_text(LONG)
    assert not one.is_too_wide()
    one.page.get_by_role("button", name="Search", exact=True).click()
    expect(one.page.get_by_role("heading", name="Unit 1 ·")).to_contain_text(LONG, timeout=30000)
    assert not one.is_too_wide()
    one.page.get_by_role("button", name="Stop", exact=True).click()
    expect(one.page.get_by_text("stopped", exact=True)).to_be_visible()
    device.post("settings/saved/set/", {"cbCloud": {"enabled": True, "host": ".".join(["z" * 60] * 3)}})
    for path in ("overview", "settings/network"):
        wait_for(one.enter(path).page, path)
        assert not one.is_too_wide(), path
