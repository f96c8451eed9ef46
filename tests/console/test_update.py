"""An update as somebody with a browser has it: looked for, brought, installed, and the page is there again with it."""

import time

import pytest
from playwright.sync_api import expect

from deploy.updates.bundle import collect
from firmware import VERSION
from tests.console.conftest import free_address
from tests.firmware.update.supervised import EVER_AFTER, NEXT, Supervised, make_bundle, publish
from tests.firmware.update.web import Web
from tests.hal.update.keys import Maker

PIECE = 50_000  # bytes that the web server sends at once
PAUSE_SEC = 0.02  # between two pieces, so that somebody can see the progress


class SlowWeb(Web):
    """A web server that takes some seconds for a bundle."""

    def send(self, request, data, asked_range, fault):
        write = request.wfile.write

        def slowly(sent):
            for at in range(0, len(sent), PIECE):
                write(sent[at : at + PIECE])
                time.sleep(PAUSE_SEC)

        request.wfile.write = slowly
        super().send(request, data, asked_range, fault)
        request.wfile.write = write


@pytest.fixture
def device(tmp_path):
    """A device with the next version in reach, which stays on trial for some seconds."""
    maker = Maker(tmp_path / "keys", 0, EVER_AFTER)
    collect(tmp_path / "tree")
    (tmp_path / "state").mkdir()
    with SlowWeb() as web:
        publish(web, maker, tmp_path, make_bundle(tmp_path / "tree", maker, tmp_path / "made", "well", NEXT))
        options = {"healthySec": 5, "trialSec": 60}
        with Supervised(tmp_path / "state", maker, web.url, free_address(), **options) as running:
            yield running


def test_an_update_is_brought_and_installed_by_the_page_which_finds_the_device_again(device, console):
    one = console(device, width=360).login().open("system")
    one.page.get_by_text(f"Firmware {VERSION}").first.wait_for()
    panel = one.panel("Firmware update")
    panel.get_by_role("button", name="Look for an update", exact=True).click()
    expect(panel.get_by_role("progressbar")).to_be_visible()
    expect(panel.locator(".mark")).to_have_text("ready", timeout=60000)
    expect(panel).to_contain_text(NEXT)
    panel.get_by_role("button", name="Install", exact=True).click()
    panel.get_by_role("button", name="Yes", exact=True).click()
    expect(one.page.get_by_text("The device has restarted")).to_be_visible(timeout=60000)
    expect(one.page.get_by_text(f"Firmware {NEXT} of")).to_be_visible()
    one.login().open("overview")
    expect(one.page.get_by_text("A new firmware is on trial.")).to_be_visible()
    one.go("System")
    expect(one.panel("Firmware update")).to_contain_text("installed", timeout=30000)
    one.go("Overview")
    expect(one.page.get_by_text("A new firmware is on trial.")).not_to_be_visible()
    one.forgive("ERR_", "502", "503")
