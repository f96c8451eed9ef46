"""What is mounted where, and word from the kernel when that or the block devices change."""

import asyncio
import os
import re
import select
import socket
import threading
from typing import NamedTuple

from hal.runtime import log
from hal.runtime.annotations import Callable

MOUNTS = "/proc/self/mountinfo"

_UEVENT_PROTOCOL = 15  # NETLINK_KOBJECT_UEVENT, linux/netlink.h
_KERNEL_EVENTS = 1  # multicast group of what the kernel itself tells
_EVENT_MAX = 8192
_BURST = 64  # events read at once
_OCTAL = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One mounted file system: its number, the device's (major, minor), and whether it is read-only."""

    number: int
    device: tuple[int, int]
    kind: str
    read_only: bool


def mounted_at(path: str) -> Mount | None:
    """What is mounted at a path, the last one on top; what only waits to mount something (autofs) counts as nothing."""
    found = None
    with open(MOUNTS) as file:
        for line in file:
            words = line.split()
            if _OCTAL.sub(lambda match: chr(int(match[1], 8)), words[4]) != path:
                continue
            after = words.index("-")
            major, _, minor = words[2].partition(":")
            read_only = "ro" in words[5].split(",") or "ro" in words[after + 3].split(",")
            mount = Mount(int(words[0]), (int(major), int(minor)), words[after + 1], read_only)
            found = None if mount.kind == "autofs" else mount
    return found


class Watch:
    """Calls `changed` on the event loop when a block device comes, goes or changes, or something is mounted or not."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]):
        self._loop = loop
        self._changed = changed
        self._mounts = os.open(MOUNTS, os.O_RDONLY | os.O_CLOEXEC)
        self._stopping = os.eventfd(0)
        # A change of this file is told to the first that polls it and to no other. The event loop polls through two
        # layers, of which the first one would take it from the second; so a thread waits.
        self._thread = threading.Thread(target=self._hear_mounts, daemon=True)
        self._thread.start()
        self._events: socket.socket | None = None
        try:
            self._events = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, _UEVENT_PROTOCOL)
            self._events.bind((0, _KERNEL_EVENTS))
            loop.add_reader(self._events.fileno(), self._hear_devices)
        except OSError as exc:
            log(f"SD card: the kernel's device events cannot be heard: {exc}")
            self._close_events()

    def close(self) -> None:
        """Listen no more."""
        os.eventfd_write(self._stopping, 1)
        self._thread.join()
        os.close(self._mounts)
        os.close(self._stopping)
        self._close_events()

    def _close_events(self) -> None:
        events, self._events = self._events, None
        if events is not None:
            self._loop.remove_reader(events.fileno())
            events.close()

    def _hear_mounts(self) -> None:
        poll = select.poll()
        poll.register(self._mounts, select.POLLPRI)
        poll.register(self._stopping, select.POLLIN)
        while self._stopping not in [descriptor for descriptor, _ in poll.poll()]:
            self._loop.call_soon_threadsafe(self._changed)

    def _hear_devices(self) -> None:
        assert self._events is not None
        for _ in range(_BURST):
            try:
                event = self._events.recv(_EVENT_MAX)
            except BlockingIOError:
                return
            except OSError:  # ENOBUFS: events were lost, so anything may have changed
                event = b"\0SUBSYSTEM=block\0"
            if b"\0SUBSYSTEM=block\0" in event:
                self._changed()
