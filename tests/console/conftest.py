"""A real browser on the console of a running simulated board."""

import json
import re
import shutil
import socket

import pytest

from deploy.console.build import SITE
from tests.firmware.running import BOARD, Running

CHROMIUM = shutil.which("chromium")
NAME = "mc252.local"  # no secure context to a browser, as no device is
ARGUMENTS = [
    f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = (360, 1280)
SERIAL = {"responseTimeoutMs": 1000}  # however busy this machine is
PATIENT = dict(BOARD, settings=dict(BOARD["settings"], serial=SERIAL))


def pytest_collection_modifyitems(items):
    """Skip where there is no browser, or no console."""
    if CHROMIUM is None:
        reason = "no chromium here"
    elif not (SITE / "files.txt").exists():
        reason = "the console is not built: make console"
    else:
        return
    for item in items:
        if item.path.parent.name == "console":
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="module")
def playwright_here():
    """What starts browsers. It ends with each file: its event loop in this thread is in others' way."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright_here):
    """A browser for all of a file; each console has a context of its own in it."""
    browser = playwright_here.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """A device that all share who do not restart it."""
    with Running(tmp_path_factory.mktemp("console"), PATIENT) as running:
        yield running


@pytest.fixture
def own_device(tmp_path):
    """A device for one test alone."""
    with Running(tmp_path, PATIENT) as running:
        yield running


def free_address():
    """HOST:PORT where a device can be, and be again after a restart."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def restarting(tmp_path):
    """A device whose address stays over restarts, with a board that a test may change first."""
    address = free_address()
    board = json.loads(json.dumps(PATIENT))

    def start():
        made.append(Running(tmp_path, board, http=address).__enter__())
        return made[0]

    made: list = []
    start.board = board
    yield start
    for running in made:
        running.__exit__()


class Console:
    """A page of a browser on a device; `said` is what the browser's console has told of errors."""

    def __init__(self, browser, device, width=1280, locale="en-GB", url="", **options):
        self.device = device
        self.context = browser.new_context(viewport={"width": width, "height": 800}, locale=locale, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(10000)
        self.said: list = []
        self.entered = False
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.url = url or f"http://{NAME}:{device.line.split(',')[0].rstrip('/').rpartition(':')[2]}/"

    def _hear(self, message):
        if message.type in ("error", "warning"):
            self.said.append(f"{message.text} {message.location['url']}")

    def open(self, path=""):
        self.page.goto(f"{self.url}#/{path}")
        return self

    def login(self, password="mc252-sim"):
        self.open()
        self.page.get_by_label("Password", exact=True).fill(password)
        self.page.get_by_role("button", name="Log in", exact=True).click()
        return self

    def enter(self, path=""):
        """Be logged in without typing."""
        if not self.entered:
            self.entered = True
            self.device.login()
            token = self.device.client.headers["Authorization"].partition(" ")[2]
            kept = f"if (!sessionStorage.entered) {{ sessionStorage.entered = 1; sessionStorage.token = '{token}' }}"
            self.context.add_init_script(f"if (location.protocol === 'http:') {{ {kept} }}")
            self.page.goto("about:blank")  # so that what comes is another document, in which the script runs
        return self.open(path)

    def menu(self):
        """The way to the pages, there once somebody is in; pages have ways to their parts besides."""
        return self.page.get_by_role("navigation", name=re.compile("^(Pages|Сторінки)$"))

    def go(self, page):
        self.menu().get_by_role("link", name=page, exact=True).click()
        return self

    def panel(self, title):
        """The part of the page under a heading."""
        return self.page.get_by_role("region", name=title, exact=True)

    def forgive(self, *texts):
        """What the browser itself notes of answers that a test has asked for: each must hold one of the texts."""
        assert [said for said in self.said if not any(text in said for text in texts)] == []
        self.said.clear()

    def is_too_wide(self):
        """Whether the page has to be pushed sideways to be read."""
        return self.page.evaluate("document.documentElement.scrollWidth > innerWidth")


@pytest.fixture
def console(chromium, device):
    """Makes consoles; none of them may end with an error in the browser's console."""
    made = []

    def make(other=None, **options):
        made.append(Console(chromium, other or device, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
    assert [text for one in made for text in one.said] == []
