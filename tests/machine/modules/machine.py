"""The tests' module `machine`: what a board's is, whose UART is a pty, on MicroPython's unix port.

A folder stands for the hardware, the environment's MACHINE_DIR: `uart1` is the tty of UART 1, `world` the TCP port at
which the simulated Modbus world is told what a pty cannot carry (tests/machine/starter.py), `card` the blocks of the SD
card that is in, `rtc` how far the RTC is from the host's clock, `watchdog` when the watchdog bites, `reset-cause` why
the board was reset.
"""

import io
import json
import os
import select
import socket
import sys
import termios
import time

RESET_CODE = 75  # exit code with which the interpreter asks to be started again, as a board starts

PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5

_FOLDER = os.getenv("MACHINE_DIR") or "."
_POLL, _GET_FILENO, _CLOSE = 3, 10, 4  # requests of a stream's ioctl (py/stream.h)
_RATES = {  # bit/s -> c_cflag (asm-generic/termbits.h)
    75: 0o2, 110: 0o3, 150: 0o5, 300: 0o7, 600: 0o10, 1200: 0o11, 2400: 0o13, 4800: 0o14, 9600: 0o15, 19200: 0o16,
    38400: 0o17, 57600: 0o10001, 115200: 0o10002, 230400: 0o10003,
}  # fmt: skip
_CBAUD, _CSTOPB = 0o10017, 0o100
_VTIME, _VMIN = 5, 6
_CFLAG, _CHARACTERS = 2, 6  # of what tcgetattr gives


class Pin:
    """A pin that remembers its level; `Pin.drive(number, level)` is the world's hand on one."""

    IN, OUT = 0, 1
    PULL_UP, PULL_DOWN = 1, 2
    IRQ_RISING, IRQ_FALLING = 1, 2

    changes: list = []  # (microsecond, number, level) of outputs
    _pins: dict = {}

    def __new__(cls, number, mode=-1, pull=-1, *, value=None):
        pin = cls._pins.get(number)
        if pin is None:
            pin = super().__new__(cls)
            pin._number, pin._handler, pin._trigger = number, None, 0
            pin._level = 1 if pull == cls.PULL_UP else 0
            cls._pins[number] = pin
        if value is not None:
            pin.value(value)
        return pin

    def __init__(self, number, mode=-1, pull=-1, *, value=None):
        pass

    def value(self, *level):
        if not level:
            return self._level
        self._level = int(bool(level[0]))
        Pin.changes = Pin.changes[-63:] + [(time.ticks_us(), self._number, self._level)]
        return None

    __call__ = value

    def irq(self, handler=None, trigger=IRQ_RISING | IRQ_FALLING, hard=False):
        self._handler, self._trigger = handler, trigger
        return self

    @classmethod
    def drive(cls, number, level):
        pin = cls._pins[number]
        before, pin._level = pin._level, int(bool(level))
        edge = cls.IRQ_RISING if level else cls.IRQ_FALLING
        if before != pin._level and pin._handler is not None and pin._trigger & edge:
            pin._handler(pin)


class UART(io.IOBase):
    """A UART on a pty, which knows no bits: when a frame has left is reckoned."""

    reads = 0  # how often one was read

    def __init__(self, number, baudrate=115200, **settings):
        try:
            self._file = open(f"{_FOLDER}/uart{number}", "r+b")  # noqa: SIM115 - it is open as long as the UART is
        except OSError:
            raise ValueError(f"UART({number}) doesn't exist") from None
        self._poll = select.poll()
        self._poll.register(self._file, select.POLLIN)
        self._sent_until = time.ticks_us()
        self._told = None
        self.init(baudrate, **settings)

    def init(self, baudrate=115200, bits=8, parity=None, stop=1, *, tx=-1, rx=-1, txbuf=256, rxbuf=256):
        if baudrate not in _RATES:
            raise ValueError(f"this UART does not run at {baudrate} bit/s")
        self.txbuf = txbuf
        self._character_us = (1 + bits + (parity is not None) + stop) * 1000000 // baudrate + 1
        termios.setraw(self._file.fileno())
        attributes = termios.tcgetattr(self._file.fileno())
        flags = attributes[_CFLAG] & ~(_CBAUD | _CSTOPB)
        attributes[_CFLAG] = flags | _RATES[baudrate] | (_CSTOPB if stop == 2 else 0)
        attributes[_CHARACTERS][_VTIME] = attributes[_CHARACTERS][_VMIN] = 0  # reading never waits
        attributes[4] = attributes[5] = _RATES[baudrate]
        termios.tcsetattr(self._file.fileno(), termios.TCSANOW, attributes)
        self._tell_world({"cmd": "line", "parity": {None: "N", 0: "E", 1: "O"}[parity], "dataBits": bits})

    def _tell_world(self, command):
        if command == self._told:
            return
        self._told = command
        try:
            with open(_FOLDER + "/world") as file:
                port = int(file.read())
        except OSError:
            return  # the test plays the other end
        sock = socket.socket()
        sock.connect(socket.getaddrinfo("127.0.0.1", port)[0][-1])
        sock.write(json.dumps(command) + "\n")
        sock.readline()
        sock.close()

    def deinit(self):
        self._file.close()

    def any(self):
        return 1024 if self._poll.poll(0) else 0  # nobody tells how many: reading gives fewer

    def read(self, count):
        UART.reads += count > 0
        data = self._file.read(count)
        if not data and count:
            raise OSError(5)  # the other end is gone
        return data

    def write(self, data):
        if len(data) > self.txbuf:
            raise OSError(11)  # it would wait
        now = time.ticks_us()
        start = self._sent_until if time.ticks_diff(self._sent_until, now) > 0 else now
        self._sent_until = time.ticks_add(start, len(data) * self._character_us)
        return self._file.write(data)

    def txdone(self):
        return time.ticks_diff(self._sent_until, time.ticks_us()) <= 0

    def ioctl(self, request, argument):
        return self._file.fileno() if request == _GET_FILENO else 0


class SDCard:
    """A card whose blocks are those of the file `card`, in the slot as long as that is there."""

    def __init__(self, slot=1, **settings):
        self._path = f"{_FOLDER}/card"
        self._size = self._blocks()

    def _blocks(self):
        try:
            return os.stat(self._path)[6] // 512
        except OSError:
            raise OSError(19) from None

    def readblocks(self, block, buffer):
        self._blocks()
        with open(self._path, "rb") as file:
            file.seek(block * 512)
            file.readinto(buffer)

    def writeblocks(self, block, buffer):
        self._blocks()
        with open(self._path, "r+b") as file:
            file.seek(block * 512)
            file.write(buffer)

    def ioctl(self, request, argument):
        return {4: self._size, 5: 512}.get(request, 0)

    def deinit(self):
        pass


def make_card(blocks):
    """Put a new card with FAT into the slot."""
    import vfs

    with open(f"{_FOLDER}/card", "wb") as file:
        file.seek(blocks * 512 - 1)
        file.write(b"\0")
    vfs.VfsFat.mkfs(SDCard())


class RTC:
    """A clock whose battery is full: it keeps its distance from the host's, in whole seconds."""

    def datetime(self, *fields):
        if fields:
            year, month, day, _, hour, minute, second, _ = fields[0]
            told = time.mktime((year, month, day, hour, minute, second, 0, 0))
            _write("rtc", str(told - time.time() // 1))
            return None
        now = time.gmtime(int(time.time() + float(_read("rtc") or 0)))
        return now[:3] + (now[6],) + now[3:6] + (0,)


class WDT:
    """A watchdog; the starter looks whether it bites."""

    def __init__(self, id=0, timeout=5000):
        if not 0 < timeout <= 8388:
            raise ValueError("timeout exceeds 8388")
        self._timeout = timeout
        self.feed()

    def feed(self):
        _write("watchdog", str(time.time() + self._timeout / 1000))


def __getattr__(name):
    if name == "SPI":
        from spi_card import SPI  # here, for few boards have something on one

        return SPI
    raise AttributeError(name)


def unique_id():
    return bytes.fromhex(_read("unique-id") or "a0b765123456")


def reset_cause():
    return int(_read("reset-cause") or PWRON_RESET)


def reset():
    """Start again: the starter does it."""
    _write("reset-cause", str(HARD_RESET))
    sys.exit(RESET_CODE)


def _read(name):
    try:
        with open(f"{_FOLDER}/{name}") as file:
            return file.read()
    except OSError:
        return ""


def _write(name, text):
    with open(f"{_FOLDER}/{name}", "w") as file:
        file.write(text)
