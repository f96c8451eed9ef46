"""The RS-485 port on a real UART (8250, ttyS1, joined to ttyS2) and on a USB adapter (FTDI, joined to ttyS3)."""

import asyncio
import fcntl
import os
import pathlib
import struct
import termios
import time

import pytest

from hal.linux import serial_kernel
from hal.linux.rs485 import TtyPort
from hal.rs485.framing import ASCII, RTU, Line
from hal.rs485.port import PortFailed
from tests.hal.rs485.exchanges import transact
from tests.vm.guest.serial_peer import Peer, ascii_frame, rtu

READ = bytes([3, 0, 0, 0, 2])
ANSWER = bytes([3, 4, 0x12, 0x34, 0x56, 0x78])
CMSPAR = 0o10000000000  # asm-generic/termbits.h
CONFIG = pathlib.Path("/sys/kernel/config/gpio-sim/direction")


@pytest.fixture
def peer():
    """Starts a device; several in turn on one line."""
    started = []

    def start(path="/dev/ttyS2", questions=None, **settings):
        while started:
            started.pop().stop()
        started.append(Peer(path, questions or {rtu(7, READ): rtu(7, ANSWER)}, **settings))

    yield start
    while started:
        started.pop().stop()


@pytest.fixture
async def make():
    """Makes ports."""
    ports = []

    def make(path="/dev/ttyS1", **options):
        ports.append(TtyPort(TtyPort.OPTIONS.check({"port": path, **options}), ""))
        return ports[-1]

    yield make
    for port in ports:
        await port.stop()


def line_settings(port):
    """(character bits, parity flags, whether two stop bits, rate) as the driver has them."""
    raw = bytearray(44)
    fcntl.ioctl(port._descriptor, serial_kernel.TCGETS2, raw)
    cflag, rate = struct.unpack("4IB19s2I", raw)[2], struct.unpack("4IB19s2I", raw)[-1]
    bits = {termios.CS7: 7, termios.CS8: 8}[cflag & termios.CSIZE]
    parity = {0: "N", termios.PARENB: "E", termios.PARENB | termios.PARODD: "O", termios.PARENB | CMSPAR: "S"}[
        cflag & (termios.PARENB | termios.PARODD | CMSPAR)
    ]
    return bits, parity, 2 if cflag & termios.CSTOPB else 1, rate


@pytest.mark.parametrize("char_format", range(6))
async def test_every_character_format_is_set_and_carries_an_exchange(make, peer, char_format):
    line = Line(19200, char_format)
    port = make()
    await port.configure(line)
    assert port.is_open
    wanted = (8, "N", 2, 19200) if line.parity == "M" else (8, line.parity, line.stop_bits, 19200)
    assert line_settings(port) == wanted
    bits, parity, stop_bits, _ = wanted
    peer(baudrate=19200, bytesize=bits, parity=parity, stopbits=stop_bits)
    exchange = await transact(port, 7, READ, 2)
    assert (exchange.error, exchange.pdu) == (None, ANSWER)


async def test_ascii_frames_go_with_seven_bits_and_parity(make, peer):
    for char_format in range(6):
        line = Line(9600, char_format, ASCII)
        port = make()
        await port.configure(line)
        bits, parity, _, _ = line_settings(port)
        assert bits == 7
        peer(questions={ascii_frame(7, READ): ascii_frame(7, ANSWER)}, baudrate=9600, bytesize=7, parity=parity)
        exchange = await transact(port, 7, READ, 2)
        assert (exchange.error, exchange.pdu) == (None, ANSWER)
        await port.stop()


async def test_settings_change_while_the_port_is_open(make, peer):
    port = make()
    for baud_rate, char_format, mode, bits in ((1200, 5, RTU, 8), (115200, 0, RTU, 8), (9600, 2, ASCII, 7)):
        await port.configure(Line(baud_rate, char_format, mode))
        assert (line_settings(port)[0], line_settings(port)[3]) == (bits, baud_rate)
    await port.configure(Line(57600, 5))
    peer(baudrate=57600)
    assert (await transact(port, 7, READ, 2)).pdu == ANSWER


async def test_a_rate_that_the_uart_has_no_divisor_for_is_refused_and_the_old_one_kept(make, peer):
    port = make()
    await port.configure(Line(38400, 5))
    with pytest.raises(PortFailed, match=r"/dev/ttyS1 refuses 250000 bit/s.*runs at"):
        await port.configure(Line(250000, 5))
    assert line_settings(port)[3] == 38400
    peer(baudrate=38400)
    assert (await transact(port, 7, READ, 2)).pdu == ANSWER


async def test_a_rate_beside_the_usual_ones_is_taken_where_the_uart_has_a_divisor(make, peer):
    port = make()
    await port.configure(Line(14400, 5))
    assert line_settings(port)[3] == 14400
    peer(baudrate=14400)
    assert (await transact(port, 7, READ, 2)).pdu == ANSWER


async def test_the_port_hands_over_bytes_at_once(make):
    port = make()
    await port.configure(Line(9600, 5))
    raw = bytearray(128)
    fcntl.ioctl(port._descriptor, serial_kernel.TIOCGSERIAL, raw)
    assert struct.unpack_from("i", raw, 16)[0] & 1 << 13


async def test_a_uart_whose_driver_does_not_turn_the_line_round_says_so(make, capsys):
    port = make(direction="kernel")
    await port.configure(Line(9600, 5))
    assert not port.is_open
    with pytest.raises(PortFailed, match="cannot open /dev/ttyS1: the driver"):
        await port.probe()
    assert capsys.readouterr().err.count("cannot open /dev/ttyS1") == 1


async def test_a_port_that_is_in_use_is_refused_to_a_second_one(make):
    first, second = make(), make()
    await first.configure(Line(9600, 5))
    await second.configure(Line(9600, 5))
    assert first.is_open and not second.is_open
    await first.stop()
    await second.stop()


async def test_a_device_that_is_silent_is_a_timeout(make):
    port = make()
    await port.configure(Line(9600, 5))
    assert (await transact(port, 7, READ, 0.2)).error == "TIMEOUT"


# A direction pin


@pytest.fixture
def pin(run):
    """Path of the file that has the level of GPIO line DE."""
    run("modprobe", "configfs")
    run("modprobe", "gpio-simulator")
    run("mount", "-t", "configfs", "none", "/sys/kernel/config", check=False)
    (CONFIG / "bank/line0").mkdir(parents=True)
    (CONFIG / "bank/line0/name").write_text("DE")
    (CONFIG / "live").write_text("1")
    run("udevadm", "settle")
    names = [(CONFIG / name).read_text().strip() for name in ("dev_name", "bank/chip_name")]
    yield pathlib.Path("/sys/devices/platform", *names, "sim_gpio0/value")
    (CONFIG / "live").write_text("0")
    for folder in ("bank/line0", "bank", ""):
        (CONFIG / folder).rmdir()


async def test_the_direction_pin_is_active_while_a_frame_leaves_and_not_while_the_answer_comes(pin, make, peer):
    port = make(direction="gpio", directionLine={"line": "DE"})
    line = Line(1200, 5)
    await port.configure(line)
    assert pin.read_text().strip() == "0"
    peer(baudrate=1200, pause=0.5)  # this UART sends as fast as it can, so the question is there at once
    seen = []
    watching = asyncio.create_task(_watch(pin, seen))
    exchange = await transact(port, 7, READ, 3)
    watching.cancel()
    assert exchange.pdu == ANSWER
    times = [moment for moment, level in seen if level == "1"]
    inactive = next(moment for moment, _ in seen if moment > times[-1])  # it was active until some time before
    frame = 8 * line.char_time
    assert 0.8 * frame < inactive - times[0] and times[-1] - times[0] < frame + 0.2, seen
    assert seen[-1][1] == "0"


async def _watch(path, seen):
    while True:
        seen.append((time.monotonic(), path.read_text().strip()))
        await asyncio.sleep(0.002)


# A USB adapter


@pytest.fixture(scope="module")
def adapter(rig):
    """Plugs an FTDI adapter in and out; its path that does not depend on the number it gets."""

    class Adapter:
        def plug(self):
            rig.order("plug the adapter in")

        def unplug(self):
            rig.order("pull the adapter out")

        def path(self):
            folder = pathlib.Path("/dev/serial/by-id")
            return next((str(path) for path in folder.glob("*")), None) if folder.exists() else None

    return Adapter()


async def test_an_adapter_pulled_out_and_put_in_again_goes_on_under_its_name(make, peer, adapter, reached):
    adapter.plug()
    path = await reached(adapter.path)
    port = make(path)
    await port.configure(Line(9600, 5))
    assert port.is_open
    latency = pathlib.Path("/sys/class/tty", os.path.basename(os.path.realpath(path)), "device/latency_timer")
    assert latency.read_text().strip() == "1"
    peer("/dev/ttyS3")
    assert (await transact(port, 7, READ, 3)).pdu == ANSWER
    adapter.unplug()
    await reached(lambda: not port.is_open)
    assert (await transact(port, 7, READ, 1)).error == "PORT_LOST"
    await reached(lambda: adapter.path() is None)
    adapter.plug()
    await reached(lambda: port.is_open)
    assert (await transact(port, 7, READ, 3)).pdu == ANSWER
    adapter.unplug()
    await reached(lambda: not port.is_open)


async def test_an_adapter_pulled_out_in_the_middle_of_an_exchange_ends_it(make, adapter, reached):
    adapter.plug()
    port = make(await reached(adapter.path))
    await port.configure(Line(9600, 5))
    exchange = asyncio.create_task(transact(port, 7, READ, 20))
    await asyncio.sleep(0.2)
    began = time.monotonic()
    await asyncio.to_thread(adapter.unplug)
    assert (await exchange).error == "PORT_LOST"
    assert time.monotonic() - began < 10
