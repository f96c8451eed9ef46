"""What stands for hardware where this machine has none, or none to spare: shared by the tests of backends."""

import calendar
import contextlib
import fcntl
import functools
import importlib.machinery
import os
import pathlib
import shutil
import struct
import subprocess
import time
import types

import pytest

from hal.linux import clock, libc
from hal.linux.clock import LinuxClock
from hal.linux.storage.card import LinuxCard

MOMENT = calendar.timegm((2031, 2, 28, 23, 59, 58))
LOOP_CTL_ADD = 0x4C80  # linux/loop.h
LOOP_CTL_REMOVE = 0x4C81


def may_mount():
    """Whether this process has the capability CAP_SYS_ADMIN."""
    status = pathlib.Path("/proc/self/status").read_text()
    return bool(int(status.split("CapEff:")[1].split()[0], 16) >> 21 & 1)


NEEDS_ROOT = pytest.mark.skipif(not may_mount(), reason="mounting needs root and CAP_SYS_ADMIN")


def known(kind):
    return any(line.split()[-1] == kind for line in pathlib.Path("/proc/filesystems").read_text().splitlines())


def reason_to_skip(kind):
    tool = "mkfs." + kind
    if not may_mount():
        return "mounting needs root and CAP_SYS_ADMIN"
    if not known(kind):
        return f"this kernel has no {kind}"
    if shutil.which(tool, path=os.environ["PATH"] + ":/sbin:/usr/sbin") is None:
        return f"{tool} is not installed"
    if not os.path.exists("/dev/loop-control"):
        return "this machine has no loop devices"
    return None


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout.strip()


class Slot:
    """A loop device that stands for the slot, and an image that stands for the card."""

    def __init__(self, folder, kind):
        self.image = str(folder / "card.img")
        self.kind = kind
        self.mount_point = str(folder / "mounted card")
        with open(self.image, "wb") as file:
            file.truncate(16 << 20)
        run("mkfs." + kind, self.image)
        # A device of our own: the first free one may be taken by somebody else before a card is put in.
        self._number = 1000 + os.getpid()
        self.device = f"/dev/loop{self._number}"
        self._control(LOOP_CTL_ADD)

    def insert(self, *options):
        run("losetup", *options, self.device, self.image)

    def remove(self):
        run("losetup", "-d", self.device)

    def make(self):
        return LinuxCard(
            LinuxCard.OPTIONS.check({"mountPoint": self.mount_point, "device": self.device, "fileSystem": self.kind}),
            "",
        )

    def clean(self):
        subprocess.run(["umount", "-l", self.mount_point], capture_output=True, check=False)
        subprocess.run(["losetup", "-d", self.device], capture_output=True, check=False)
        with contextlib.suppress(OSError):  # the kernel may still be letting go of it
            self._control(LOOP_CTL_REMOVE)

    def _control(self, command):
        descriptor = os.open("/dev/loop-control", os.O_RDWR)
        try:
            fcntl.ioctl(descriptor, command, self._number)
        except FileExistsError:
            pass  # left by the test before
        finally:
            os.close(descriptor)


class FakeRequest:
    """A requested line: edges that the test tells, values that it reads."""

    def __init__(self, settings):
        self.settings = settings
        self.level = "INACTIVE"
        self.driven = []  # (time, value)
        self.released = False
        self.broken = False
        self._edges = []
        self.fd, self._far = os.pipe()

    def edge(self, at, active):
        self._edges.append(types.SimpleNamespace(timestamp_ns=int(at * 1e9), event_type=active))
        self.level = "ACTIVE" if active else "INACTIVE"
        os.write(self._far, b"!")

    def read_edge_events(self):
        if self.broken:
            raise OSError(19, "No such device")
        os.read(self.fd, 100)
        edges, self._edges = self._edges, []
        return edges

    def get_value(self, line):
        return self.level

    def set_value(self, line, value):
        if self.broken:
            raise OSError(19, "No such device")
        self.driven.append((time.monotonic(), value))

    def release(self):
        self.released = True
        os.close(self.fd)
        os.close(self._far)


class FakeGpiod(types.ModuleType):
    """Module `gpiod`, version 2, with one chip: line 4, which is called BUTTON."""

    def __init__(self, chip):
        super().__init__("gpiod")
        self.__spec__ = importlib.machinery.ModuleSpec("gpiod", None)
        self.path = chip
        self.requests = []
        self.taken = False
        self.EdgeEvent = types.SimpleNamespace(Type=types.SimpleNamespace(RISING_EDGE=True, FALLING_EDGE=False))
        names = {
            "Direction": ("INPUT", "OUTPUT"),
            "Edge": ("BOTH",),
            "Bias": ("PULL_UP", "PULL_DOWN"),
            "Value": ("ACTIVE", "INACTIVE"),
        }
        self.line = types.SimpleNamespace(
            **{name: types.SimpleNamespace(**{value: value for value in values}) for name, values in names.items()}
        )
        self.LineSettings = dict

    @contextlib.contextmanager
    def Chip(self, path):
        def offset(line):
            if line != "BUTTON":
                raise FileNotFoundError(2, "No such file or directory")
            return 4

        yield types.SimpleNamespace(line_offset_from_id=offset)

    def request_lines(self, path, config, consumer, event_buffer_size):
        assert path == self.path
        if self.taken:
            raise OSError(16, "Device or resource busy")
        ((_, settings),) = config.items()
        self.requests.append(FakeRequest(settings))
        return self.requests[-1]


class FakeGpiod1(types.ModuleType):
    """Module `gpiod`, version 1, with the same chip; its requests are told in the words of version 2."""

    LINE_REQ_EV_BOTH_EDGES, LINE_REQ_DIR_OUT = 1, 2
    LINE_REQ_FLAG_ACTIVE_LOW, LINE_REQ_FLAG_BIAS_PULL_UP, LINE_REQ_FLAG_BIAS_PULL_DOWN = 4, 8, 16
    LineEvent = types.SimpleNamespace(RISING_EDGE=True, FALLING_EDGE=False)

    def __init__(self, path):
        super().__init__("gpiod")
        self.__spec__ = importlib.machinery.ModuleSpec("gpiod", None)
        self.path = path
        self.requests = []
        self.taken = False
        self.open_chips = 0
        self.Chip = functools.partial(FakeChip1, self)
        self.Chip.OPEN_BY_PATH = "by path"


class FakeChip1:
    """A chip that is open until somebody closes it."""

    def __init__(self, library, path, how):
        assert (path, how) == (library.path, "by path")
        self._library = library
        library.open_chips += 1

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self._library.open_chips -= 1

    def find_line(self, name):
        return FakeLine1(self._library) if name == "BUTTON" else None

    def get_line(self, offset):
        return FakeLine1(self._library)


class FakeLine1:
    """A line of a chip, which may be requested."""

    def __init__(self, library):
        self._library = library

    def request(self, consumer, kind, flags, default_vals=(0,), *, default_val=0):
        if not isinstance(
            default_vals, tuple
        ):  # by its place it is LineBulk's sequence; only by its name it is one value
            raise TypeError("Number of default values is not the same as the number of lines")
        library = self._library
        if library.taken:
            raise OSError(16, "Device or resource busy")
        settings = {"active_low": bool(flags & library.LINE_REQ_FLAG_ACTIVE_LOW)}
        if kind == library.LINE_REQ_DIR_OUT:
            settings.update(direction="OUTPUT", output_value="ACTIVE" if default_val else "INACTIVE")
        else:
            pulls = {library.LINE_REQ_FLAG_BIAS_PULL_UP: "PULL_UP", library.LINE_REQ_FLAG_BIAS_PULL_DOWN: "PULL_DOWN"}
            settings.update(direction="INPUT", edge_detection="BOTH", bias=pulls[flags & ~4])
        self._request = FakeRequest(settings)
        library.requests.append(self._request)

    def event_get_fd(self):
        return self._request.fd

    def event_read_multiple(self):
        return [
            types.SimpleNamespace(
                type=event.event_type, sec=event.timestamp_ns // 10**9, nsec=event.timestamp_ns % 10**9
            )
            for event in self._request.read_edge_events()
        ]

    def get_value(self):
        return int(self._request.get_value("BUTTON") == "ACTIVE")

    def set_value(self, value):
        self._request.set_value("BUTTON", "ACTIVE" if value else "INACTIVE")

    def release(self):
        self._request.release()


class FakeTime:
    """A system clock and an RTC that are set by nobody but the test."""

    def __init__(self, monkeypatch, tmp_path):
        self.rtc = str(tmp_path / "rtc0")
        (tmp_path / "rtc0").write_text("")
        self.now = float(MOMENT)
        self.registers = struct.pack("9i", 58, 59, 23, 28, 1, 131, 0, 0, 0)
        self.error = None
        self.allowed = True
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)
        monkeypatch.setattr(libc, "may_set_clock", lambda: self.allowed)
        monkeypatch.setattr(clock.time, "clock_settime", self.settime)
        monkeypatch.setattr(clock.time, "time", lambda: self.now)

    def settime(self, number, seconds):
        assert number == time.CLOCK_REALTIME
        if not self.allowed:
            raise PermissionError(1, "Operation not permitted")
        self.now = seconds

    def ioctl(self, descriptor, number, raw):
        if self.error is not None:
            raise self.error
        if number == 0x80247009:
            raw[:] = self.registers
        else:
            assert number == 0x4024700A
            self.registers = bytes(raw)

    def clock(self, **options):
        return LinuxClock(LinuxClock.OPTIONS.check({"rtc": self.rtc, **options}), "")
