"""The wired network and the VPN as the kernel tells them: /sys/class/net and the interface ioctls of netdevice(7)."""

import fcntl
import os
import socket
import struct

from hal.contracts import Network
from hal.fields import Field, Object, Text

_SYS = "/sys/class/net"
_SIOCGIFADDR = 0x8915  # bits/ioctls.h


class LinuxNetwork(Network):
    """The interface that the config names, or else the one that carries the default route, or else the loopback."""

    OPTIONS = Object(
        Field("interface", Text(15), "", help="name of the wired interface; empty: the one with the default route"),
    )

    def __init__(self, options: dict, state_dir: str):
        self._interface = options["interface"]

    def ethernet(self) -> dict:
        """State of the wired interface."""
        name = self._interface or default_interface()
        return {
            "ip": ipv4_address(name),
            "mac": _read(name, "address") or "00:00:00:00:00:00",
            "linkUp": _read(name, "operstate") == "up" or _read(name, "carrier") == "1",
        }

    def vpn(self) -> "dict | None":
        """No VPN is managed here."""
        return None

    async def probe(self) -> str:
        """Which interface it is, and its address."""
        name = self._interface or default_interface()
        return f"{name} {ipv4_address(name) or 'without an address'}"


def default_interface() -> str:
    """Name of the interface that carries the IPv4 default route (proc(5), /proc/net/route), else "lo"."""
    with open("/proc/net/route") as file:
        for line in file.readlines()[1:]:
            columns = line.split()
            if columns[1] == "00000000":
                return columns[0]
    return "lo"


def ipv4_address(name: str) -> "str | None":
    """First IPv4 address of an interface, None where it has none."""
    request = struct.pack("16sH14s", name.encode(), socket.AF_INET, b"")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _read(name: str, attribute: str) -> "str | None":
    try:
        with open(os.path.join(_SYS, name, attribute)) as file:
            return file.read().strip()
    except OSError:
        return None
