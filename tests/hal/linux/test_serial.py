"""What the RS-485 port asks of the kernel: on a pty where that answers, on recorded ioctls where it does not."""

import asyncio
import errno
import fcntl
import os
import re
import select
import struct
import termios
import tty

import pytest

from hal.fields import BadField
from hal.linux import serial_kernel
from hal.linux.rs485 import TtyPort
from hal.rs485.framing import ASCII, Line
from hal.rs485.port import PortFailed
from hal.runtime.cpython.event_loop import DeviceEventLoop, new_event_loop
from tests.hal.rs485.exchanges import transact


def tells_settings() -> bool:
    """Whether the kernel tells what a tty is set to: qemu's user emulation, on which these tests also run, does not."""
    master, slave = os.openpty()
    try:
        return serial_kernel.check_settings(slave, 38400, 8, "N", 1)
    finally:
        os.close(master)
        os.close(slave)


NEEDS_SETTINGS = pytest.mark.skipif(not tells_settings(), reason="the kernel does not tell what a tty is set to")

READ = bytes([3, 0, 0, 0, 1])


@pytest.fixture
def pty():
    master, slave = os.openpty()
    yield os.ttyname(slave), slave, master
    os.close(master)
    os.close(slave)


class Uart:
    """A UART's driver behind ioctl: keeps the structures it was given, and lets everything else through."""

    def __init__(self, monkeypatch):
        self.rs485 = struct.pack("8I", 32, 0, 0, 0, 0, 0, 0, 0)  # termination is on by the device tree
        self.serial = bytearray(128)
        self.told = []
        self.takes = lambda raw: raw
        self.rate = None
        self._real = fcntl.ioctl
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, descriptor, number, argument=0, *more):
        if number == serial_kernel.TIOCGRS485:
            argument[:] = self.rs485
        elif number == serial_kernel.TIOCSRS485:
            self.told.append(bytes(argument))
            self.rs485 = self.takes(bytes(argument))
        elif number == serial_kernel.TIOCGSERIAL:
            argument[:] = self.serial
        elif number == serial_kernel.TIOCSSERIAL:
            self.serial = bytearray(argument)
        elif number == serial_kernel.TCGETS2 and self.rate is not None:
            self._real(descriptor, number, argument)
            argument[-4:] = struct.pack("I", self.rate)
        else:
            return self._real(descriptor, number, argument, *more)
        return 0


def make(path, **options):
    return TtyPort(TtyPort.OPTIONS.check({"port": path, **options}), "")


def termios2(descriptor):
    raw = bytearray(44)
    fcntl.ioctl(descriptor, serial_kernel.TCGETS2, raw)
    return struct.unpack("4IB19s2I", raw)


# Direction by the kernel


async def test_the_kernel_is_told_to_turn_the_line_round(pty, monkeypatch):
    uart = Uart(monkeypatch)
    port = make(pty[0], direction="kernel", delayBeforeMs=2, delayAfterMs=3)
    await port.configure(Line(9600, 5))
    assert port.is_open
    # SER_RS485_ENABLED, SER_RS485_RTS_ON_SEND, and the termination bit as it was
    assert uart.told == [bytes.fromhex("23000000 02000000 03000000" + "00000000" * 5)]
    await port.stop()


async def test_rts_can_be_low_while_sending(pty, monkeypatch):
    uart = Uart(monkeypatch)
    port = make(pty[0], direction="kernel", sendHigh=False)
    await port.configure(Line(9600, 5))
    assert uart.told == [bytes.fromhex("25000000" + "00000000" * 7)]
    await port.stop()


async def test_a_driver_that_takes_another_polarity_or_delay_is_refused(pty, monkeypatch):
    uart = Uart(monkeypatch)
    uart.takes = lambda raw: struct.pack("8I", 1 | 2, 0, 0, 0, 0, 0, 0, 0)
    for options, message in (({"sendHigh": False}, "RTS low"), ({"delayAfterMs": 7}, "delays of 0 and 0 ms")):
        port = make(pty[0], direction="kernel", **options)
        await port.configure(Line(9600, 5))
        with pytest.raises(PortFailed, match=message):
            await port.probe()
        await port.stop()


async def test_a_tty_without_rs485_mode_says_so_and_does_not_open(pty):
    port = make(pty[0], direction="kernel")
    await port.configure(Line(9600, 4))
    assert not port.is_open
    with pytest.raises(PortFailed, match="no RS-485 mode"):
        await port.probe()
    assert (await transact(port, 1, READ, 1)).error == "PORT_LOST"
    await port.stop()


# Latency


async def test_usb_adapters_are_told_not_to_collect_bytes(pty, monkeypatch):
    uart = Uart(monkeypatch)
    uart.serial[16:20] = struct.pack("i", 0x40)
    port = make(pty[0])
    await port.configure(Line(9600, 4))
    assert struct.unpack_from("i", uart.serial, 16)[0] == 0x40 | 0x2000
    await port.stop()


async def test_latency_is_left_alone_where_the_config_says_so(pty, monkeypatch):
    uart = Uart(monkeypatch)
    port = make(pty[0], lowLatency=False)
    await port.configure(Line(9600, 4))
    assert struct.unpack_from("i", uart.serial, 16)[0] == 0
    await port.stop()


def test_a_driver_without_the_flag_is_no_error_but_a_lost_one_is(pty, monkeypatch):
    assert serial_kernel.lower_latency(pty[1]) is False

    def gone(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(fcntl, "ioctl", gone)
    with pytest.raises(OSError):
        serial_kernel.lower_latency(pty[1])


# Rates and formats


@pytest.mark.parametrize("rate", [75, 12345, 31250, 230400])
@NEEDS_SETTINGS
async def test_any_baud_rate_is_set_exactly(pty, rate):
    port = make(pty[0])
    await port.configure(Line(rate, 4))
    assert port.is_open
    assert termios2(pty[1])[-2:] == (rate, rate)
    await port.configure(Line(9600, 4))
    await port.configure(Line(rate, 4))
    assert termios2(pty[1])[-1] == rate
    await port.stop()


@NEEDS_SETTINGS
async def test_mark_parity_is_sent_as_a_second_stop_bit(pty):
    port = make(pty[0])
    await port.configure(Line(9600, 3))
    assert port.is_open
    cflag = termios2(pty[1])[2]
    assert cflag & termios.CSTOPB
    assert not cflag & termios.PARENB
    await port.stop()


@NEEDS_SETTINGS
async def test_a_rate_that_the_hardware_does_not_run_at_is_refused(pty, monkeypatch):
    uart = Uart(monkeypatch)
    port = make(pty[0])
    await port.configure(Line(9600, 4))
    uart.rate = 9600
    with pytest.raises(PortFailed, match="refuses 230400 bit/s, format 4: the hardware runs at 9600 bit/s"):
        await port.configure(Line(230400, 4))
    uart.rate = None
    assert port.is_open
    assert port.line.baud_rate == 9600
    assert termios2(pty[1])[-1] == 9600
    await port.stop()


@pytest.mark.parametrize("char_format", [0, 1, 2])
@NEEDS_SETTINGS
async def test_a_parity_that_the_driver_drops_is_refused_and_the_old_settings_stay(pty, char_format):
    port = make(pty[0])
    await port.configure(Line(19200, 4))
    with pytest.raises(PortFailed, match=f"refuses 9600 bit/s, format {char_format}"):
        await port.configure(Line(9600, char_format))
    assert termios2(pty[1])[-1] == 19200
    assert (await transact(port, 1, READ, 0.02)).error == "TIMEOUT"
    await port.stop()


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [((9600, 8, "E", 1), "parity E"), ((9600, 7, "N", 1), "7 bits"), ((9600, 8, "N", 2), "2 stop bits")],
)
@NEEDS_SETTINGS
def test_what_a_driver_silently_changes_is_noticed(pty, wanted, problem):
    attributes = termios.tcgetattr(pty[1])
    attributes[2] = termios.CS8
    attributes[4] = attributes[5] = termios.B9600
    termios.tcsetattr(pty[1], termios.TCSANOW, attributes)
    with pytest.raises(ValueError, match=problem):
        serial_kernel.check_settings(pty[1], *wanted)
    serial_kernel.check_settings(pty[1], 9600, 8, "N", 1)


# Draining


def test_a_frame_has_left_when_queue_and_shift_register_are_empty(pty, monkeypatch):
    assert serial_kernel.has_left(pty[1])  # a pty does not know TIOCSERGETLSR
    queued, status = [3], [0]

    def ioctl(descriptor, number, argument):
        argument[0] = (queued if number == termios.TIOCOUTQ else status)[0]

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert not serial_kernel.has_left(pty[1])
    queued[0] = 0
    assert not serial_kernel.has_left(pty[1])
    status[0] = 1
    assert serial_kernel.has_left(pty[1])


# Exclusive use, and what a config may name


async def test_an_open_port_keeps_other_programs_out_until_it_is_closed(pty):
    def exclusive():
        raw = bytearray(4)
        fcntl.ioctl(pty[1], 0x80045440, raw)  # TIOCGEXCL
        return raw[0] == 1

    port = make(pty[0])
    await port.configure(Line(9600, 4))
    assert exclusive()
    await port.stop()
    assert not exclusive()


def test_only_a_soldered_uart_must_be_there(tmp_path):
    make("/dev/ttyUSB77")
    make("/dev/ttyACM77")
    make("/dev/serial/by-id/usb-adapter-if00-port0")
    make("/dev/mc252-rs485")
    make(str(tmp_path / "later"))
    for path in ("/dev/ttyAMA77", "/dev/ttyS77", "/dev/ttymxc77", "/dev/nothing/here", str(tmp_path / "no" / "tty")):
        with pytest.raises(BadField, match=f"rs485.port: {path} is not there"):
            make(path)


def test_delays_belong_to_the_kernel(pty):
    with pytest.raises(BadField, match="delayBeforeMs"):
        make(pty[0], delayBeforeMs=1)


@pytest.mark.parametrize(
    ("line", "lacks"),
    [
        (Line(9600, 0), "no characters of 8 bits with even parity"),
        (Line(9600, 1), "(no characters of 8 bits with odd parity|no parity O)"),
        (Line(9600, 2), "(no characters of 8 bits with space parity|no parity S)"),
        (Line(9600, 4, ASCII), "no characters of 7 bits with no parity"),
        (Line(9600, 0, ASCII), "no characters of 7 bits with even parity"),
    ],
)
@NEEDS_SETTINGS
async def test_a_parity_or_a_width_that_the_tty_lacks_is_told_as_that(pty, line, lacks, capsys):
    port = make(pty[0])
    await port.configure(Line(9600, 4))
    with pytest.raises(PortFailed, match=lacks):
        await port.configure(line)
    await port.stop()
    fresh = make(pty[0])
    await fresh.configure(line)
    await fresh.stop()
    assert re.search(lacks, capsys.readouterr().err)


async def test_ascii_with_8_data_bits_runs_where_7_do_not(pty):
    port = make(pty[0])
    await port.configure(Line(9600, 4, ASCII, ascii_data_bits=8))
    assert port.is_open
    await port.stop()


async def test_a_kernel_that_does_not_tell_what_it_has_set_is_believed_and_that_is_said_once(pty, monkeypatch, capsys):
    path, *_ = pty
    monkeypatch.setattr(serial_kernel, "TCGETS2", 0x802C5499)  # no kernel knows this one
    port = make(path)
    await port.configure(Line(115200, 4))
    assert port.is_open
    await port.configure(Line(9600, 4))
    await port.stop()
    assert capsys.readouterr().err.count("not verified") == 1


def readable(descriptor):
    return bool(select.select([descriptor], [], [], 0.05)[0])


def test_a_tty_wakes_its_reader_with_as_many_bytes_as_are_expected(pty):
    _, slave, master = pty
    tty.setraw(slave)
    wake_at = serial_kernel.WakeAt(slave)
    wake_at.set(5)
    os.write(master, b"1234")
    assert not readable(slave)
    assert serial_kernel.has_come(slave)
    os.write(master, b"5")
    assert readable(slave)
    assert os.read(slave, 9) == b"12345"
    wake_at.set(1)
    os.write(master, b"6")
    assert readable(slave)


def test_a_tty_whose_driver_takes_long_to_be_told_wakes_with_each_byte(pty, monkeypatch):
    _, slave, master = pty
    tty.setraw(slave)
    monkeypatch.setattr(serial_kernel, "_CHEAP_SEC", 0.0)
    serial_kernel.WakeAt(slave).set(5)
    os.write(master, b"1")
    assert readable(slave)


def test_turns_of_the_device_s_own_loop_are_short_while_a_question_is_asked(pty, monkeypatch):
    told = []
    monkeypatch.setattr(DeviceEventLoop, "shorten_turns", lambda loop, short: told.append(short))

    async def ask():
        port = make(pty[0])
        await port.configure(Line(9600, 4))
        assert (await transact(port, 1, READ, 0.02)).error == "TIMEOUT"
        await port.stop()

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(ask())
    assert told == [True, False]
