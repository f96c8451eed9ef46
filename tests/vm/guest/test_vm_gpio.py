"""The button and the direction pin on lines of the kernel's own GPIO simulator, through libgpiod as on a board."""

import asyncio
import functools
import importlib.util
import pathlib
import sys
import time

import pytest

from hal.debounce import DEBOUNCE_MS
from hal.linux.button import GpioButton
from hal.linux.gpio.lines import PinFailed, output_pin

CONFIG = pathlib.Path("/sys/kernel/config/gpio-sim/tests")


class Chip:
    """A chip of eight lines, one of which is called FRONT-BUTTON and one DIRECTION."""

    def __init__(self):
        for offset, name in ((4, "FRONT-BUTTON"), (5, "DIRECTION")):
            (CONFIG / f"bank/line{offset}").mkdir(parents=True)
            (CONFIG / f"bank/line{offset}/name").write_text(name)
        (CONFIG / "bank/num_lines").write_text("8")
        (CONFIG / "live").write_text("1")
        device, chip = ((CONFIG / name).read_text().strip() for name in ("dev_name", "bank/chip_name"))
        self._lines = pathlib.Path("/sys/devices/platform", device, chip)
        self.path = "/dev/" + chip

    def pull(self, offset, up):
        """What is wired to a line."""
        (self._lines / f"sim_gpio{offset}/pull").write_text("pull-up" if up else "pull-down")

    def value(self, offset):
        """The level of a line."""
        return int((self._lines / f"sim_gpio{offset}/value").read_text())

    def clean(self):
        (CONFIG / "live").write_text("0")
        for folder in ("bank/line4", "bank/line5", "bank", ""):
            (CONFIG / folder).rmdir()


@pytest.fixture(scope="module")
def driver(run):
    run("modprobe", "configfs")
    run("modprobe", "gpio-simulator")
    run("mount", "-t", "configfs", "none", "/sys/kernel/config", check=False)


@pytest.fixture
def chip(driver, run):
    made = Chip()
    run("udevadm", "settle")
    yield made
    made.clean()


@pytest.fixture(params=["2", "1"], autouse=True)
def version(request, monkeypatch):
    """The project's own libgpiod, and the one that Debian 12 has."""
    if request.param == "1":
        monkeypatch.delitem(sys.modules, "gpiod", raising=False)
        library = debians_gpiod()
        assert not hasattr(library, "request_lines")
        monkeypatch.setitem(sys.modules, "gpiod", library)


@functools.cache
def debians_gpiod():
    """Loaded once: it puts itself into sys.modules, and a second time into whatever it finds there by its name."""
    (path,) = pathlib.Path("/usr/lib/python3/dist-packages").glob("gpiod.*.so")
    spec = importlib.util.spec_from_file_location("gpiod", path)
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    return library


class Finger:
    """Presses the button, which is wired to ground or to the supply."""

    def __init__(self, chip, active_low):
        self._chip = chip
        self._active_low = active_low

    def set(self, down):
        self._chip.pull(4, down != self._active_low)

    async def press(self, seconds):
        self.set(True)
        await asyncio.sleep(seconds)
        self.set(False)
        await asyncio.sleep(0.1)

    def bounce(self, to):
        """Contacts that close or open; the longest pause between two edges."""
        longest, last = 0.0, time.monotonic()
        for level in (to, not to, to, not to, to):
            self.set(level)
            now = time.monotonic()
            longest, last = max(longest, now - last), now
        return longest


@pytest.fixture(params=[True, False], ids=["to-ground", "to-supply"])
async def pressed(request, chip):
    """(finger, list that gets one item for each press)."""
    finger = Finger(chip, request.param)
    part = GpioButton(GpioButton.OPTIONS.check({"line": "FRONT-BUTTON", "activeLow": request.param}), "")
    presses = []
    part.on_press = lambda: presses.append(time.monotonic())
    await part.start()
    yield finger, presses
    await part.stop()


@pytest.mark.parametrize("seconds", [0.03, 0.3, 3])
async def test_a_press_is_one_press_however_long_it_is(pressed, seconds):
    finger, presses = pressed
    await finger.press(seconds)
    assert len(presses) == 1


async def test_a_press_counts_while_the_button_is_still_down(pressed, reached):
    finger, presses = pressed
    finger.set(True)
    await reached(lambda: len(presses) == 1)
    finger.set(False)


async def test_ten_presses_are_ten(pressed):
    finger, presses = pressed
    for _ in range(10):
        await finger.press(0.05)
    assert len(presses) == 10


async def test_contacts_that_bounce_make_one_press(pressed):
    finger, presses = pressed
    for _ in range(20):
        presses.clear()
        longest = finger.bounce(True)
        await asyncio.sleep(0.1)
        longest = max(longest, finger.bounce(False))
        await asyncio.sleep(0.1)
        if longest < DEBOUNCE_MS / 2000:  # or else the machine was too slow to play a bounce
            assert len(presses) == 1
            return
    pytest.skip("the machine is too slow to bounce")


async def test_a_button_that_nothing_is_wired_to_is_not_pressed(chip):
    for active_low in (True, False):
        part = GpioButton(GpioButton.OPTIONS.check({"line": "FRONT-BUTTON", "activeLow": active_low}), "")
        assert await part.probe() == "GPIO line FRONT-BUTTON, not pressed"


async def test_the_level_is_told(chip):
    part = GpioButton(GpioButton.OPTIONS.check({"line": 4, "chip": chip.path, "activeLow": True}), "")
    await part.start()
    chip.pull(4, False)
    assert await part.probe() == "GPIO line 4, pressed"
    await part.stop()


async def test_a_line_that_no_chip_has_is_named(chip):
    part = GpioButton(GpioButton.OPTIONS.check({"line": "FRONT-BUTTTON"}), "")
    with pytest.raises(PinFailed, match="GPIO line FRONT-BUTTTON is on no chip"):
        await part.probe()


async def test_a_line_that_somebody_else_holds_is_told_and_had_once_it_is_free(chip, monkeypatch, reached, capsys):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.1,))
    holder = output_pin({"line": "FRONT-BUTTON", "chip": None, "activeLow": False})
    part = GpioButton(GpioButton.OPTIONS.check({"line": "FRONT-BUTTON"}), "")
    presses = []
    part.on_press = lambda: presses.append(1)
    await part.start()
    assert "GPIO line FRONT-BUTTON cannot be had" in capsys.readouterr().err
    with pytest.raises(PinFailed, match="busy"):
        await part.probe()
    holder.release()
    await reached(lambda: "GPIO line found again" in capsys.readouterr().err)
    await Finger(chip, False).press(0.1)
    assert presses == [1]
    await part.stop()


@pytest.mark.parametrize("active_low", [False, True])
def test_a_direction_pin_is_driven_and_inactive_when_it_is_given_back(chip, active_low):
    chip.pull(5, active_low)
    pin = output_pin({"line": "DIRECTION", "chip": None, "activeLow": active_low})
    assert chip.value(5) == active_low
    pin.drive(True)
    assert chip.value(5) == (not active_low)
    pin.drive(False)
    assert chip.value(5) == active_low
    pin.drive(True)
    pin.release()
    assert chip.value(5) == active_low
