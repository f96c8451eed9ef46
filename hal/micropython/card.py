"""The SD card of a microcontroller."""

import asyncio
import os

from hal.contracts import Card, CardFailed, CardReadOnly, NoCard
from hal.fields import Boolean, Choice, Field, Integer, ListOf, Nullable, Object, Text
from hal.runtime.annotations import Any
from hal.service import Trouble

LOOK_SEC = 5.0  # between two looks whether a card has come or gone
BLOCK = 512  # bytes

_BUS = (
    "slot",
    "width",
    "sck",
    "cmd",
    "data",
    "miso",
    "mosi",
    "cs",
)  # options that machine.SDCard takes, where they are given
_PIN = Nullable(Integer(0, 255))


def _spi_rule(options: dict) -> list[str]:
    if options["spi"] is None or None not in [options[name] for name in ("sck", "mosi", "miso", "cs")]:
        return []
    return ["spi: needs the pins sck, mosi, miso and cs"]


class SdCard(Card):
    """A card with FAT that the firmware mounts when it is put in, by machine.SDCard of the port or on an SPI bus.

    Without `detectPin` it is tried whether a card is there: a slot without one costs the line a pause each time. An
    ejected card counts as gone until it is taken out and put in again.
    """

    OPTIONS = Object(
        Field("slot", Nullable(Integer(0, 7)), None, help="the slot as the port numbers them; null: its default"),
        Field("width", Nullable(Choice(1, 4)), None, help="data lines; null: the port's default"),
        Field("sck", _PIN, None, help="pin of the clock; none of these where the port knows them"),
        Field("cmd", _PIN, None, help="pin of the commands"),
        Field("data", Nullable(ListOf(Integer(0, 255), 4, 1)), None, help="pins of the data lines"),
        Field(
            "spi", Nullable(Integer(0, 7)), None, help="number of an SPI bus, where the port has no driver for cards"
        ),
        Field("spiRate", Integer(400000, 25000000), 10000000, unit="bit/s", help="of that bus"),
        Field("miso", _PIN, None, help="pin of the card's data, by SPI"),
        Field("mosi", _PIN, None, help="pin of the board's data, by SPI"),
        Field("cs", _PIN, None, help="pin that selects the card, by SPI"),
        Field("detectPin", _PIN, None, help="pin that tells whether a card is in; null: there is none"),
        Field("protectPin", _PIN, None, help="pin that tells whether it is write-protected; null: there is none"),
        Field("activeLow", Boolean(), True, help="whether these two are low for yes"),
        Field("mountPoint", Text(32, 2), "/sd"),
        rule=_spi_rule,
    )

    def __init__(self, options: dict, state_dir: str):
        import machine  # here, so that what the driver takes can be told where there is none

        self.insertions = 0
        self._machine = machine
        self._options = options
        self._folder: str = options["mountPoint"]
        self._device: Any = None  # the card that is in, mounted or not
        self._mounted = False
        self._failure = ""  # why the card that is in is not mounted
        self._trouble = Trouble("SD card")
        self._buffer = bytearray(BLOCK)
        self._detect = self._pin("detectPin")
        self._protect = self._pin("protectPin")

    def _pin(self, name: str) -> Any:
        kind, number = self._machine.Pin, self._options[name]
        return None if number is None else kind(number, kind.IN, kind.PULL_UP)

    async def start(self) -> None:
        """Look for a card from now on."""
        self._look()
        self.keep_running(self._keep_looking())

    async def stop(self) -> None:
        """Unmount the card."""
        await super().stop()
        self._let_go()

    async def probe(self) -> str:
        """Where the card is, and its room. NoCard, CardFailed."""
        if not self._mounted:
            self._look()
        status = self.status()
        return f"{self.root()}, {status['freeBytes']} of {status['totalBytes']} bytes free"

    def root(self) -> str:
        """The folder with the card's files. NoCard; CardFailed where a card has no file system."""
        if self._mounted:
            return self._folder
        if self._failure:
            raise CardFailed(f"the SD card cannot be mounted: {self._failure}")
        raise NoCard("no SD card: put one in")

    def before_write(self, count: int) -> None:
        """CardReadOnly where the slot's pin says so."""
        if self._protect is not None and self._says(self._protect):
            raise CardReadOnly("the SD card is write-protected")

    def status(self) -> dict:
        """Size and free room in bytes; None while no card is mounted."""
        if self._mounted and not self._is_there():
            self._let_go()
        if not self._mounted:
            return {"present": bool(self._failure), "mounted": False, "totalBytes": None, "freeBytes": None}
        block, _, total, free = os.statvfs(self._folder)[:4]
        return {"present": True, "mounted": True, "totalBytes": block * total, "freeBytes": block * free}

    async def eject(self) -> None:
        """Unmount the card, which syncs it. NoCard where there is none."""
        self.root()
        self._unmount()  # the card stays known, so that it is not mounted again before it was taken out

    # Looking

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SEC)
            self._look()

    def _look(self) -> None:
        """See whether a card has come or gone."""
        if self._device is not None and not self._is_there():
            self._let_go()
        if self._device is None and (self._detect is None or self._says(self._detect)):
            self._take()

    def _is_there(self) -> bool:
        if self._detect is not None:
            return self._says(self._detect)
        try:
            self._device.readblocks(0, self._buffer)
        except OSError:
            return False
        return True

    def _says(self, pin: Any) -> bool:
        return bool(pin.value()) is not self._options["activeLow"]

    def _take(self) -> None:
        try:
            self._device = self._opened()
        except OSError:
            return  # none is in
        try:
            self._mount()
        except OSError as exc:
            self._failure = str(exc)
            self._trouble.tell(f"cannot be mounted: {exc}")

    def _opened(self) -> Any:
        """The block device of the card that is in. OSError where none is."""
        options, machine = self._options, self._machine
        if options["spi"] is not None:
            from hal.micropython.spi_card import SpiCard

            pin = machine.Pin
            lines = {name: pin(options[name]) for name in ("sck", "mosi", "miso")}
            select = pin(options["cs"], pin.OUT, value=1)
            return SpiCard(machine.SPI(options["spi"], **lines), select, options["spiRate"])
        bus = {name: options[name] for name in _BUS if options[name] is not None}
        if "data" in bus:
            bus["data"] = tuple(bus["data"])
        return machine.SDCard(**bus)

    def _mount(self) -> None:
        import vfs

        vfs.mount(vfs.VfsFat(self._device), self._folder)
        self._mounted = True
        self.insertions += 1
        self._trouble.end()

    def _unmount(self) -> None:
        import vfs

        self._mounted = False
        try:
            vfs.umount(self._folder)
        except OSError as exc:
            self._trouble.tell(f"was not unmounted: {exc}")

    def _let_go(self) -> None:
        """The card is out, or the device stops."""
        if self._mounted:
            self._unmount()
        device, self._device = self._device, None
        self._failure = ""
        if device is not None:
            device.deinit()
