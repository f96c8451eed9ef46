"""The service of updates as a board has it, with a folder of updates on a card of a dict; its clock obeys the test."""

from deploy.updates.publish import entry_of
from firmware.services.settings.document_store import DocumentStore
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from firmware.services.update.times import Times
from firmware.services.update.updates import Updates
from hal.linux.update.folders import FoldersUpdater
from hal.runtime import json_dumps
from tests.hal.update.keys import DAY, NOW, Maker

MAC = "02:00:00:00:02:52"


class Card:
    """The card service, with files of a dict."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    async def read(self, path: str, block: int) -> tuple[bytes, int]:
        data = self.files[path]
        return data[block * 1024 : block * 1024 + 1024], -(-len(data) // 1024)


class Clock:
    """Shows whole seconds since 1970."""

    def __init__(self, seconds: int) -> None:
        self.seconds = seconds

    def now(self) -> int:
        return self.seconds * 1000


class WellHealth:
    """Nothing is wrong with this device."""

    def now(self) -> dict:
        return {"busWasOpen": 1, "settingsWereRead": 1}


class Rig:
    """One device; `start` it, as often as it restarts. `minute` is the local time, minutes since midnight."""

    def __init__(self, folder, released: int = NOW - 30 * DAY, **firmware: object) -> None:
        self.folder = folder
        self.maker = Maker(folder / "keys", NOW - 300 * DAY, NOW + 300 * DAY)
        self.card = Card({})
        self.clock = Clock(NOW)
        self.minute: int | None = 12 * 60
        self.released = released
        self.serial = 0
        self.restarts: list[str] = []
        self.settings = {
            "download": {"url": "card:/updates/", "enabled": True},
            "firmware": {"channel": "stable", "autoUpdate": False, **firmware},
        }

    async def start(self) -> Updates:
        """The service, anew."""
        options = {"keys": str(self.maker.keyring_path), "compatible": "simulated"}
        self.updater = FoldersUpdater(FoldersUpdater.OPTIONS.check(options), str(self.folder))
        kept = Kept(DocumentStore(str(self.folder), "update.json"))
        self.times = Times(self.clock, kept, self.released)
        self.updates = Updates(
            *(self.updater, self.settings, {"mac": MAC}, self.times),
            *(Budget(0, lambda: False, self.times.now, kept), kept, self.card, WellHealth()),
            *(QuietHours(MAC, lambda: self.minute), self.restarts.append),
        )
        await self.updater.start()
        await self.updates.start()
        return self.updates

    def publish(self, maker: Maker | None = None, **header: object) -> None:
        """Put a bundle and its index on the card."""
        path = (maker or self.maker).bundle(self.folder / "made.bundle", **header)
        self.card.files["/updates/made.bundle"] = path.read_bytes()
        self.sign_index(self.payload(self.entry()), maker)

    def entry(self) -> dict:
        """What an index says of the bundle."""
        return dict(entry_of(self.folder / "made.bundle"), channel="stable", rollout=100, notBefore=0)

    def payload(self, entry: dict) -> dict:
        """A new index with one bundle."""
        self.serial += 1
        now = self.clock.seconds
        return {"serial": self.serial, "issued": now, "expires": now + 30 * DAY, "bundles": [entry]}

    def sign_index(self, payload: dict, maker: Maker | None = None) -> None:
        """Put an index on the card."""
        self.card.files["/updates/index.json"] = json_dumps((maker or self.maker).document("index", payload)).encode()

    def left(self) -> list[str]:
        """What is in the folder of both slots."""
        return sorted(path.name for path in (self.folder / "slots").iterdir())
