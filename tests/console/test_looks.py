"""Every page in both widths and both themes: nothing cut off, nothing that a screen reader stumbles over."""

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
        one.page.evaluate(axe + "; undefined")
        results = one.page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        serious = [rule for rule in results["violations"] if rule["impact"] in ("serious", "critical")]
        found[path] = [(rule["id"], [node["html"] for node in rule["nodes"]][:3]) for rule in serious]
    assert {path: rules for path, rules in found.items() if rules} == {}


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
