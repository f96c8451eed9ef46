"""What every backend of a part does, run against each that this machine can host. tests/hal/rs485/ is the bus's.

A rig makes a backend and does to its hardware what a hand would do: put a card in, press a button.
"""

import asyncio
import base64
import os
import pathlib
import subprocess
import sys
import time

import pytest

from hal import board, contracts
from hal.contracts import CardReadOnly, NoCard
from hal.fields import BadField, Object
from hal.linux.button import GpioButton
from hal.linux.gpio import lines as gpio
from hal.linux.host.system import LinuxSystem
from hal.linux.net.network import LinuxNetwork
from hal.linux.storage import card
from hal.linux.storage.card import LinuxCard
from hal.rs485.port import Rs485Port
from hal.simulated.button import SimulatedButton
from hal.simulated.card import SimulatedCard
from hal.simulated.clock import SimulatedClock
from hal.simulated.system import SimulatedSystem
from tests.hal.rigs import FakeGpiod, FakeTime, Slot, may_mount, reason_to_skip, run
from tests.machine.remote import Interpreter, RemotePart
from tests.micropython import NEEDS_MICROPYTHON

BASES = {
    "system": contracts.System,
    "network": contracts.Network,
    "rs485": Rs485Port,
    "card": contracts.Card,
    "clock": contracts.Clock,
    "modem": contracts.Modem,
    "button": contracts.Button,
    "updater": contracts.Updater,
}


async def reached(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)


def options(backend, **values):
    return backend.OPTIONS.check(values)


# Every driver


@pytest.mark.parametrize(("part", "driver"), sorted(board.DRIVERS))
def test_a_driver_is_a_part_of_its_kind_with_options_that_are_explained(part, driver):
    module, name = board.DRIVERS[(part, driver)]
    backend = getattr(__import__(module, None, None, (name,)), name)
    assert issubclass(backend, BASES[part])
    assert isinstance(backend.OPTIONS, Object)
    assert backend.__doc__
    with pytest.raises(BadField, match="warp: is unknown"):
        backend.OPTIONS.check({"warp": 9})


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """A MicroPython with the tests' module `machine`."""
    running = Interpreter(tmp_path_factory.mktemp("board"))
    yield running
    running.end()


ON_MICROPYTHON = pytest.param("micropython", marks=NEEDS_MICROPYTHON)
ON_SPI = pytest.param("micropython spi", marks=NEEDS_MICROPYTHON)


# Card


class Written:
    """A slot whose files are the host's."""

    def write(self, name, text):
        with open(os.path.join(self.part.root(), name), "w") as file:
            file.write(text)


class SimulatedSlot(Written):
    def __init__(self, folder):
        self.part = SimulatedCard(options(SimulatedCard), str(folder))
        self.insert, self.pull = self.part.insert, self.part.pull
        self.pull()

    def protect(self):
        self.part.set_read_only(True)

    def clean(self):
        pass


class MountedBySystem(Written):
    """A folder where "the system" mounts a file system in memory."""

    def __init__(self, folder):
        self.folder = str(folder / "mounted")
        os.mkdir(self.folder)
        self.part = LinuxCard(options(LinuxCard, mountPoint=self.folder), "")

    def insert(self):
        run("mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", self.folder)

    def pull(self):
        run("umount", "-l", self.folder)

    def protect(self):
        run("mount", "-o", "remount,ro", self.folder)

    def clean(self):
        subprocess.run(["umount", "-l", self.folder], capture_output=True)


class MountedByFirmware(Written, Slot):
    def __init__(self, folder, kind):
        super().__init__(folder, kind)
        self.part = self.make()

    def pull(self):
        run("umount", "-l", self.mount_point)  # a loop device goes only when nobody uses it
        self.remove()

    def protect(self):
        run("mount", "-o", "remount,ro", self.mount_point)


class OnMicroPython:
    """An image that stands for the card in the slot of a simulated microcontroller."""

    def __init__(self, interpreter, **options):
        self._interpreter = interpreter
        self._slot = pathlib.Path(interpreter.folder) / "card"
        self._card = self._slot.with_name("card out of the slot")
        self._slot.unlink(missing_ok=True)
        interpreter.ask("machine.make_card(2048)")
        self.pull()
        interpreter.ask("here.look_soon()")
        interpreter.ask("machine.Pin(5, machine.Pin.IN, machine.Pin.PULL_UP).value(1)")
        self.part = RemotePart(interpreter, contracts.Card, "card", "sd", {"protectPin": 5, **options})

    def insert(self):
        self._card.rename(self._slot)

    def pull(self):
        self._slot.rename(self._card)

    def protect(self):
        self._interpreter.ask("machine.Pin.drive(5, 0)")

    def write(self, name, text):
        self._interpreter.ask(f"here.write({self.part.root() + '/' + name!r}, {text!r})")

    def clean(self):
        pass


def card_rig(name, folder):
    if name == "simulated":
        return SimulatedSlot(folder)
    if name == "linux folder":
        if not may_mount():
            pytest.skip("mounting needs root and CAP_SYS_ADMIN")
        return MountedBySystem(folder)
    kind = name.split()[-1]
    reason = reason_to_skip(kind)
    if reason:
        pytest.skip(reason)
    return MountedByFirmware(folder, kind)


@pytest.fixture(params=["simulated", "linux folder", "linux device vfat", "linux device ext4", ON_MICROPYTHON, ON_SPI])
async def slot(request, tmp_path, monkeypatch):
    monkeypatch.setattr(card, "LOOK_PAUSE", 600.0)  # nothing is noticed because time has passed
    if request.param == "micropython":
        rig = OnMicroPython(request.getfixturevalue("interpreter"))
    elif request.param == "micropython spi":
        rig = OnMicroPython(request.getfixturevalue("interpreter"), spi=1, sck=10, mosi=11, miso=12, cs=13)
    else:
        rig = card_rig(request.param, tmp_path)
    await rig.part.start()
    yield rig
    await rig.part.stop()
    await rig.part.stop()
    rig.clean()


ABSENT = {"present": False, "mounted": False, "totalBytes": None, "freeBytes": None}


async def mounted(rig):
    await reached(lambda: rig.part.status()["mounted"])


async def test_a_slot_without_a_card_says_so(slot):
    assert slot.part.status() == ABSENT
    with pytest.raises(NoCard):
        slot.part.root()
    with pytest.raises(NoCard):
        await slot.part.eject()
    with pytest.raises(NoCard):
        await slot.part.probe()


async def test_a_card_that_is_put_in_holds_files(slot):
    insertions = slot.part.insertions
    slot.insert()
    await mounted(slot)
    assert slot.part.insertions == insertions + 1
    slot.part.before_write(10)
    slot.write("file", "ten bytes.")
    status = slot.part.status()
    assert status["present"] and 0 < status["freeBytes"] <= status["totalBytes"]
    assert "\n" not in await slot.part.probe()


async def test_an_ejected_card_is_gone_until_it_is_put_in_again(slot):
    slot.insert()
    await mounted(slot)
    await slot.part.eject()
    assert slot.part.status() == ABSENT
    with pytest.raises(NoCard):
        slot.part.root()
    with pytest.raises(NoCard):
        await slot.part.eject()
    if isinstance(slot, Slot):
        slot.remove()
    if isinstance(slot, OnMicroPython):
        slot.pull()
        await asyncio.sleep(0.1)  # it has no pin that tells at once
    insertions = slot.part.insertions
    slot.insert()
    await mounted(slot)
    assert slot.part.insertions == insertions + 1


async def test_a_card_that_is_pulled_out_is_gone(slot):
    slot.insert()
    await mounted(slot)
    slot.pull()
    await reached(lambda: slot.part.status() == ABSENT)
    with pytest.raises(NoCard):
        slot.part.root()


async def test_a_write_protected_card_is_told_from_others(slot):
    slot.insert()
    await mounted(slot)
    slot.protect()
    with pytest.raises(CardReadOnly):
        slot.part.before_write(1)


# Button


@pytest.fixture(params=["simulated", "gpio", ON_MICROPYTHON])
def pressing(request, tmp_path, monkeypatch):
    """(button, function that presses it for so many seconds)."""
    if request.param == "simulated":
        part = SimulatedButton(options(SimulatedButton), "")
        return part, lambda seconds: part.press()
    if request.param == "micropython":
        interpreter = request.getfixturevalue("interpreter")
        part = RemotePart(interpreter, contracts.Button, "button", "pin", {"pin": 4})
        return part, lambda seconds: interpreter.ask(f"here.press(4, {int(seconds * 1000)})")
    (tmp_path / "gpiochip0").write_text("")
    fake = FakeGpiod(str(tmp_path / "gpiochip0"))
    monkeypatch.setitem(sys.modules, "gpiod", fake)
    monkeypatch.setattr(gpio, "CHIPS", str(tmp_path / "gpiochip*"))
    ends = [0.0]

    def press(seconds):
        begin = max(ends[0], time.monotonic() - 10)
        ends[0] = begin + seconds + 0.1
        fake.requests[-1].edge(begin, True)
        fake.requests[-1].edge(begin + seconds, False)

    return GpioButton(options(GpioButton, line="BUTTON"), ""), press


async def test_a_press_is_one_press_whether_short_or_long(pressing):
    part, press = pressing
    count = []
    part.on_press = lambda: count.append(1)
    await part.start()
    press(0.03)
    await reached(lambda: len(count) == 1)
    press(3)
    await reached(lambda: len(count) == 2)
    await asyncio.sleep(0.03)
    assert len(count) == 2
    assert "\n" not in await part.probe()
    await part.stop()
    await part.stop()


async def test_a_button_that_nobody_listens_to_may_be_pressed(pressing):
    part, press = pressing
    await part.start()
    press(0.03)
    await asyncio.sleep(0.1)
    count = []
    part.on_press = lambda: count.append(1)
    press(0.03)
    await reached(lambda: count)
    assert len(count) == 1
    await part.stop()


# Clock


@pytest.fixture(params=["simulated", "linux", ON_MICROPYTHON])
def clock(request, tmp_path, monkeypatch):
    if request.param == "simulated":
        return SimulatedClock(options(SimulatedClock), str(tmp_path))
    if request.param == "micropython":
        return RemotePart(request.getfixturevalue("interpreter"), contracts.Clock, "clock", "rtc", {})
    return FakeTime(monkeypatch, tmp_path).clock()


async def test_a_clock_keeps_the_time_that_it_was_set_to(clock):
    await clock.start()
    for moment in (clock.now() + 86400500, clock.now() - 3600000):
        clock.set(moment)
        assert clock.now() == pytest.approx(moment, abs=1000)
    assert "\n" not in await clock.probe()
    await clock.stop()
    await clock.stop()


# System


@pytest.fixture(params=[SimulatedSystem, LinuxSystem, ON_MICROPYTHON])
def system(request, tmp_path):
    if request.param == "micropython":
        interpreter = request.getfixturevalue("interpreter")
        return RemotePart(interpreter, contracts.System, "system", "micropython", {}, str(tmp_path))
    return request.param(options(request.param), str(tmp_path))


async def test_a_system_knows_who_it_is(system):
    await system.start()
    identity = system.identity()
    assert set(identity) == {"device", "deviceId", "firmwareType", "manufacturer", "mac", "uniqueMac", "pubKey"}
    assert [len(byte) for byte in identity["mac"].split(":")] == [2] * 6
    assert identity["mac"] == identity["mac"].lower()
    assert identity["pubKey"] is None or len(base64.b64decode(identity["pubKey"])) == 32
    assert system.identity() == identity
    assert system.start_reason() == "POWER_ON"
    assert system.memory_free() is None or system.memory_free() > 0
    assert system.cpu_temperature() is None or -50 < system.cpu_temperature() < 150
    assert system.watchdog_sec() is None  # nobody watches these tests
    system.ready()
    system.feed()
    await system.stop()
    await system.stop()


# Network


async def test_a_network_tells_the_kernels_state():
    network = LinuxNetwork(options(LinuxNetwork, interface="lo"), "")
    await network.start()
    assert network.ethernet() == {"ip": "127.0.0.1", "mac": "00:00:00:00:00:00", "linkUp": True}
    assert network.interface_index("lo") == 1
    assert network.interface_index("wg77") is None
    assert network.is_own_address("127.0.0.1")
    assert not network.is_own_address("192.0.2.77")
    for name in ("lo", "wg77"):
        assert not network.is_tunnel(name)
        with pytest.raises(OSError, match=f"{name} is no tunnel"):
            network.listen_on(name, 0, [])
    await network.stop()
    await network.stop()
