"""The button and the direction pin on GPIO lines: a stream of edges, and a fake of gpiod's line requests."""

import asyncio
import contextlib
import glob
import importlib.util
import os
import sys
import time

import pytest

from hal.debounce import Debounce
from hal.fields import BadField
from hal.linux.button import GpioButton
from hal.linux.gpio import gpiod1
from hal.linux.gpio import lines as gpio
from hal.linux.rs485 import TtyPort
from hal.linux.update.supervisor import DEBIAN_MODULES
from hal.rs485.checksums import crc16
from hal.rs485.framing import Line
from tests.hal.rigs import FakeGpiod, FakeGpiod1
from tests.hal.rs485.exchanges import transact

READ = bytes([3, 0, 0, 0, 1])


@pytest.fixture(params=[FakeGpiod, FakeGpiod1], ids=["2", "1"])
def gpiod(request, tmp_path, monkeypatch):
    chip = tmp_path / "gpiochip0"
    chip.write_text("")
    fake = request.param(str(chip))
    monkeypatch.setitem(sys.modules, "gpiod", fake)
    monkeypatch.setattr(gpio, "CHIPS", str(tmp_path / "gpiochip*"))
    return fake


def make(**options):
    return GpioButton(GpioButton.OPTIONS.check({"line": "BUTTON", **options}), "")


async def reached(condition):
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


# The debounce, in milliseconds


def presses(*edges, until=10_000, pressed=False):
    """How many presses there are in (ms, level) edges."""
    debounce = Debounce(pressed)
    count = sum(debounce.edge(at, bool(level)) for at, level in edges)
    return count + debounce.settle(until)


@pytest.mark.parametrize("length", [30, 300, 3000])
def test_a_press_is_one_press_however_long_it_is(length):
    assert presses((100, 1), (100 + length, 0)) == 1


@pytest.mark.parametrize("length", [30, 3000])
def test_bouncing_contacts_make_no_second_press(length):
    down = [(100, 1), (101, 0), (102, 1), (104, 0), (105, 1)]
    up = [(100 + length, 0), (101 + length, 1), (102 + length, 0), (104 + length, 1), (105 + length, 0)]
    assert presses(*down, *up) == 1


def test_two_presses_are_two():
    assert presses((100, 1), (130, 0), (200, 1), (230, 0)) == 2


def test_spikes_are_no_press():
    assert presses((100, 1), (101, 0), (150, 1), (154, 0), (500, 1), (509, 0)) == 0


def test_a_press_counts_while_the_button_is_still_down():
    debounce = Debounce(False)
    debounce.edge(1000, True)
    assert debounce.due() == 1010
    assert not debounce.settle(1005)
    assert debounce.settle(1011)
    assert debounce.due() is None
    assert not debounce.settle(4000)


def test_a_button_that_is_down_at_start_counts_when_it_is_pressed_anew():
    assert presses((100, 0), pressed=True) == 0
    assert presses((100, 0), (200, 1), pressed=True) == 1


def test_lost_edges_are_made_up_for_by_the_next_one():
    assert presses((100, 1), (300, 1), (400, 0)) == 1
    assert presses((100, 0), (200, 0), (300, 1)) == 1


# The button on a line


async def test_a_press_reaches_the_firmware_once(gpiod):
    pressed = []
    part = make()
    part.on_press = lambda: pressed.append(1)
    await part.start()
    now = time.monotonic()
    gpiod.requests[0].edge(now, True)
    await reached(lambda: pressed)
    gpiod.requests[0].edge(now + 3, False)
    await asyncio.sleep(0.03)
    assert pressed == [1]
    await part.stop()
    await part.stop()
    assert gpiod.requests[0].released


async def test_a_press_that_is_heard_after_its_end_counts(gpiod):
    pressed = []
    part = make()
    part.on_press = lambda: pressed.append(1)
    await part.start()
    began = time.monotonic() - 1
    gpiod.requests[0].edge(began, True)
    gpiod.requests[0].edge(began + 0.03, False)
    await reached(lambda: pressed)
    await part.stop()


@pytest.mark.parametrize(("active_low", "pull"), [(True, "PULL_UP"), (False, "PULL_DOWN")])
async def test_polarity_goes_with_the_pull(gpiod, active_low, pull):
    part = make(line=4, chip=gpiod.path, activeLow=active_low)
    await part.start()
    settings = gpiod.requests[0].settings
    assert (settings["active_low"], settings["bias"]) == (active_low, pull)
    assert (settings["direction"], settings["edge_detection"]) == ("INPUT", "BOTH")
    assert await part.probe() == "GPIO line 4, not pressed"
    await part.stop()


async def test_a_line_that_somebody_else_holds_is_tried_again(gpiod, monkeypatch, capsys):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.01,))
    gpiod.taken = True
    part = make()
    await part.start()
    with pytest.raises(gpio.PinFailed, match=r"BUTTON cannot be had: .*busy"):
        await part.probe()
    gpiod.taken = False
    await reached(lambda: gpiod.requests)
    assert "busy" in capsys.readouterr().err
    await part.stop()


async def test_a_line_that_fails_is_taken_anew_and_works_on(gpiod, monkeypatch):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.01,))
    pressed = []
    part = make()
    part.on_press = lambda: pressed.append(1)
    await part.start()
    gpiod.requests[0].broken = True
    gpiod.requests[0].edge(time.monotonic(), True)
    await reached(lambda: len(gpiod.requests) == 2)
    assert gpiod.requests[0].released
    gpiod.requests[1].edge(time.monotonic(), True)
    await reached(lambda: pressed)
    await part.stop()


async def test_probing_a_button_that_has_not_started_gives_the_line_back(gpiod):
    await make().probe()
    assert gpiod.requests[0].released


async def test_a_name_that_no_chip_has_is_told(gpiod):
    with pytest.raises(gpio.PinFailed, match="NOSUCH is on no chip"):
        await make(line="NOSUCH").probe()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"line": 4}, "button.chip: is missing"),
        ({"line": 4, "chip": "/dev/nochip"}, "button.chip: /dev/nochip is not there"),
    ],
)
def test_a_line_that_cannot_be_is_a_bad_board(gpiod, options, problem):
    with pytest.raises(BadField, match=problem):
        make(**options)


def test_a_machine_without_gpio_is_a_bad_board(gpiod, monkeypatch):
    monkeypatch.setattr(gpio, "CHIPS", "/nowhere/gpiochip*")
    with pytest.raises(BadField, match="no GPIO chip"):
        make()


def test_a_missing_library_is_a_bad_board(gpiod, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiod", None)
    with pytest.raises(BadField, match="needs the Python package gpiod"):
        make()


def test_the_real_library_has_the_names_that_are_used():
    real = pytest.importorskip("gpiod", reason="the Python package gpiod is not installed")
    for kind, names in vars(FakeGpiod("").line).items():
        for name in vars(names):
            assert hasattr(getattr(real.line, kind), name)
    settings = real.LineSettings(
        direction=real.line.Direction.INPUT,
        edge_detection=real.line.Edge.BOTH,
        bias=real.line.Bias.PULL_UP,
        active_low=True,
    )
    with pytest.raises(OSError):
        real.request_lines("/dev/nochip", {4: settings}, consumer="mc252", event_buffer_size=256)
    for name in ("fd", "get_value", "set_value", "read_edge_events", "release"):
        assert hasattr(real.LineRequest, name)
    assert hasattr(real.EdgeEvent.Type, "RISING_EDGE")
    assert hasattr(real.Chip, "line_offset_from_id")


def test_debians_library_of_version_1_has_the_names_that_are_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "gpiod", sys.modules.get("gpiod"))  # loading Debian's puts it there
    real = debians_gpiod()
    if real is None or hasattr(real, "request_lines"):
        pytest.skip("Debian's package python3-libgpiod, version 1.6, is not installed or for another Python")
    for name in vars(FakeGpiod1):
        assert name.startswith("_") or hasattr(real, name), name
    for name in ("find_line", "get_line", "close", "OPEN_BY_PATH"):
        assert hasattr(real.Chip, name)
    for name in ("request", "event_get_fd", "event_read_multiple", "get_value", "set_value", "release"):
        assert hasattr(real.Line, name)
    for name in ("type", "sec", "nsec", "RISING_EDGE"):
        assert hasattr(real.LineEvent, name)
    with pytest.raises(OSError):
        gpiod1.Pin(real, "/dev/nochip", 4, True, False)
    with pytest.raises(OSError):
        gpiod1.has(real, "/dev/nochip", "BUTTON")


def debians_gpiod():
    for path in glob.glob(f"{DEBIAN_MODULES}/gpiod.cpython-{sys.version_info[0]}{sys.version_info[1]}-*.so"):
        spec = importlib.util.spec_from_file_location("gpiod", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    return None


@pytest.mark.parametrize("gpiod", [FakeGpiod1], indirect=True)
async def test_an_open_chip_is_closed_with_its_line(gpiod):
    part = make()
    await part.start()
    gpiod.taken = True
    with pytest.raises(gpio.PinFailed):
        gpio.output_pin({"line": 4, "chip": gpiod.path, "activeLow": False})
    assert gpiod.open_chips == 1
    await part.stop()
    assert gpiod.open_chips == 0


# The direction pin of the RS-485 port


@pytest.fixture
def pty():
    master, slave = os.openpty()
    yield master, os.ttyname(slave)
    for descriptor in (master, slave):
        with contextlib.suppress(OSError):
            os.close(descriptor)


def directed(path, line=None):
    options = {"port": path, "direction": "gpio", "directionLine": line or {"line": "BUTTON"}}
    return TtyPort(TtyPort.OPTIONS.check(options), "")


async def test_the_pin_is_active_from_before_a_frame_until_it_has_left(gpiod, pty, monkeypatch):
    written = []
    real_write = os.write

    def write(descriptor, data):
        written.append((time.monotonic(), data))
        return real_write(descriptor, data)

    port = directed(pty[1])
    line = Line(9600, 5)
    await port.configure(line)
    pin = gpiod.requests[0]
    assert (pin.settings["direction"], pin.settings["output_value"]) == ("OUTPUT", "INACTIVE")
    monkeypatch.setattr(os, "write", write)
    assert (await transact(port, 1, READ, 0.1)).error == "TIMEOUT"
    monkeypatch.undo()
    (raised, first), (lowered, last) = pin.driven
    frame = bytes([1]) + READ + crc16(bytes([1]) + READ)
    frames = [(at, data) for at, data in written if data == frame]
    assert len(frames) == 1
    assert (first, last) == ("ACTIVE", "INACTIVE")
    assert raised <= frames[0][0]
    assert lowered - frames[0][0] >= len(frame) * line.char_time
    assert os.read(pty[0], 100) == frame
    await port.stop()
    assert pin.released


async def test_the_pin_waits_for_a_uart_that_is_still_sending(gpiod, pty, monkeypatch):
    asked = []

    def has_left(descriptor):
        asked.append(descriptor)
        return len(asked) == 5

    port = directed(pty[1])
    await port.configure(Line(115200, 4))
    monkeypatch.setattr("hal.linux.serial_kernel.has_left", has_left)
    await transact(port, 1, READ, 0.1)
    assert len(asked) == 5
    assert [value for _, value in gpiod.requests[0].driven] == ["ACTIVE", "INACTIVE"]
    await port.stop()


async def test_the_line_is_let_go_even_where_a_frame_never_leaves(gpiod, pty, monkeypatch, capsys):
    port = directed(pty[1])
    await port.configure(Line(115200, 4))
    monkeypatch.setattr("hal.linux.serial_kernel.has_left", lambda descriptor: False)
    await transact(port, 1, READ, 0.3)
    assert gpiod.requests[0].driven[-1][1] == "INACTIVE"
    assert "does not leave" in capsys.readouterr().err
    await port.stop()


async def test_a_stop_in_the_middle_of_a_frame_frees_the_line(gpiod, pty):
    port = directed(pty[1])
    await port.configure(Line(300, 4))
    asking = asyncio.create_task(transact(port, 1, READ, 1))
    await reached(lambda: gpiod.requests[0].driven)
    await port.stop()
    assert (await asking).error == "PORT_LOST"
    assert gpiod.requests[0].driven[-1][1] == "INACTIVE"
    assert gpiod.requests[0].released


async def test_a_pin_that_fails_loses_the_port_which_comes_back(gpiod, pty, monkeypatch):
    monkeypatch.setattr("hal.rs485.port.REOPEN_PAUSES", (0.01,))
    port = directed(pty[1])
    await port.configure(Line(115200, 4))
    gpiod.requests[0].broken = True
    assert (await transact(port, 1, READ, 0.1)).error == "PORT_LOST"
    await reached(lambda: port.is_open)
    assert (await transact(port, 1, READ, 0.05)).error == "TIMEOUT"
    await port.stop()


async def test_a_pin_that_is_taken_is_told_and_tried_again(gpiod, pty, monkeypatch):
    monkeypatch.setattr("hal.rs485.port.REOPEN_PAUSES", (0.01,))
    gpiod.taken = True
    port = directed(pty[1])
    await port.configure(Line(115200, 4))
    with pytest.raises(Exception, match=r"cannot open .*BUTTON cannot be had"):
        await port.probe()
    gpiod.taken = False
    await reached(lambda: port.is_open)
    await port.stop()


def test_a_direction_pin_needs_its_line(gpiod, pty):
    with pytest.raises(BadField, match="directionLine: is missing"):
        TtyPort.OPTIONS.check({"port": pty[1], "direction": "gpio"}, "rs485")
    with pytest.raises(BadField, match=r"rs485\.directionLine\.chip: is missing"):
        directed(pty[1], {"line": 4})
