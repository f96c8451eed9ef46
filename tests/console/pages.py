"""The pages of the console, and when each has all that it shows at first."""

PAGES = {
    "overview": ".facts",
    "bus/request": "button.main",
    "bus/registers": "button.main",
    "bus/trace": "p.dim",
    "bus/units": "table",
    "search": "button.main",
    "card": ".drop",
    "settings/network": "form",
    "settings/bus": "form",
    "settings/access": "form",
    "settings/time": "form",
    "settings/device": "form",
    "settings/files": ".drop",
    "system": "table.log",
}


def wait_for(page, path):
    """Wait until a page is there as a whole."""
    page.locator("main " + PAGES[path]).first.wait_for()
