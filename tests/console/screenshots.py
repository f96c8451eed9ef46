"""`make screenshots`: pictures of every page, in both widths and both themes, in build/screenshots/.

The simulated board is given something to show: a search, a file, a line that is busy, a unit that is silent.
"""

import json
import pathlib
import tempfile
import threading
import time

from playwright.sync_api import sync_playwright

from tests.console.conftest import ARGUMENTS, CHROMIUM, PATIENT, WIDTHS, Console
from tests.console.pages import PAGES, wait_for
from tests.firmware.running import ROOT, Running

QUIET_SEC = 2  # for the search to find something first
FOLDER = ROOT / "build" / "screenshots"
ASKED = [(1, 4, 0, 20), (33, 4, 0, 4), (100, 3, 0, 3), (17, 3, 0, 8), (1, 3, 0, 4), (33, 3, 500, 1), (2, 1, 0, 8)]
COLUMNS = ("name", "uid", "func", "addr", "type", "order", "scale", "plot")
TABLE = [
    ("Voltage L1, V", "1", "4", "0", "float32", "ABCD", "1", True),
    ("Voltage L2, V", "1", "4", "2", "float32", "ABCD", "1", True),
    ("Voltage L3, V", "1", "4", "4", "float32", "ABCD", "1", True),
    ("Temperature, °C", "33", "4", "0", "int16", "AB", "0.1", False),
    ("Speed", "100", "4", "1", "uint16", "AB", "1", False),
]


def keep_busy(device, ended):
    """Traffic on the line until the event; one unit falls silent."""
    while not ended.is_set():
        for uid, func, addr, count in ASKED:
            device.post("modbus/req/", {"uid": uid, "func": func, "addr": addr, "count": count})
        device.post("modbus/req/", {"uid": 44, "func": 3, "addr": 0, "count": 2})
        time.sleep(0.8)


def prepare(device):
    """Something to look at."""
    device.login()
    (device.state / "card" / "logs").mkdir(parents=True)
    (device.state / "card" / "meter-sdm630.json").write_bytes(b"{}" * 700)
    (device.state / "card" / "night.pcapng").write_bytes(bytes(180000))
    device.post("settings/saved/set/", {"serial": {"retries": 1}})
    device.post(
        "modbus/find/start/", {"baudRate": 9600, "charFormat": 5, "uidTo": 40, "fastSearch": True, "identify": True}
    )


def take(browser, device, width, scheme):
    """Every page in one width and one theme."""
    one = Console(browser, device, width=width, color_scheme=scheme)
    table = json.dumps([dict(zip(COLUMNS, row, strict=True)) for row in TABLE])
    one.context.add_init_script(f"if (location.protocol === 'http:') localStorage.registers ??= `{table}`")
    one.open().page.get_by_label("Password", exact=True).wait_for()
    one.page.screenshot(path=FOLDER / f"login-{width}-{scheme}.png")
    for path in PAGES:
        one.enter(path)
        wait_for(one.page, path)
        if path == "bus/request":
            one.page.get_by_label("Count", exact=True).fill("8")
            one.page.get_by_role("button", name="Send", exact=True).click()
            one.page.get_by_role("region", name="Values", exact=True).wait_for()
        if path == "bus/registers":
            one.page.get_by_label("How often", exact=True).select_option("0.5")
            one.page.get_by_role("button", name="Start", exact=True).click()
        one.page.wait_for_timeout(12000 if path in ("overview", "bus/registers") and width > 400 else 900)
        one.page.screenshot(path=FOLDER / f"{path.replace('/', '-')}-{width}-{scheme}.png", full_page=width > 400)
    one.context.close()


def main():
    """Take them all, and say where they are."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    ended = threading.Event()
    with (
        tempfile.TemporaryDirectory() as state,
        Running(pathlib.Path(state), PATIENT) as device,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        prepare(device)
        traffic = threading.Thread(target=keep_busy, args=(device, ended))
        traffic.start()
        try:
            time.sleep(QUIET_SEC)
            for width in WIDTHS:
                for scheme in ("light", "dark"):
                    take(browser, device, width, scheme)
        finally:
            ended.set()
            traffic.join()
            browser.close()
    print(FOLDER)


if __name__ == "__main__":
    main()
