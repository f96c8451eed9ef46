"""The wired network and the VPN as the kernel tells them: /sys/class/net, netdevice(7), netlink(7)."""

import asyncio
import errno
import fcntl
import os
import socket
import struct
import time

from hal.contracts import Network, NotManaged, PartError
from hal.fields import Boolean, Field, Object, Text
from hal.linux.net import wireguard
from hal.linux.net.netlink import LinkWatch
from hal.linux.net.networkd import Networkd
from hal.runtime import log, offload

_SYS = "/sys/class/net"
_ROUTES = "/proc/net/route"
_SIOCGIFADDR = 0x8915  # bits/ioctls.h
_IFF_UP = 0x1  # net/if.h
_IFF_TUN = 0x1  # linux/if_tun.h
_TUN_OR_TAP = 0x3
_BACKLOG = 64


def _managed_is_named(options: dict) -> list[str]:
    return ["interface: must be named where managed is true"] if options["managed"] and not options["interface"] else []


class LinuxNetwork(Network):
    """The interface that the config names, or else the one that carries the default route, or else the loopback."""

    OPTIONS = Object(
        Field("interface", Text(15), "", help="name of the wired interface; empty: the one with the default route"),
        Field("managed", Boolean(), False, help="whether the firmware's settings run it, by systemd-networkd"),
        Field("folder", Text(255, 1), "/var/lib/mc252-network", help="where its files are written"),
        rule=_managed_is_named,
    )

    def __init__(self, options: dict, state_dir: str):
        super().__init__()
        self._interface: str = options["interface"]
        self._networkd = Networkd(options["folder"]) if options["managed"] else None
        self._watch: LinkWatch | None = None

    async def start(self) -> None:
        """Watch for interfaces and addresses that change."""
        try:
            self._watch = LinkWatch(asyncio.get_running_loop(), self._changed)
        except OSError as exc:
            log(f"network: the kernel's events cannot be heard: {exc}")

    async def stop(self) -> None:
        """Watch no more."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def ethernet(self) -> dict:
        """State of the wired interface."""
        name = self._name()
        return {
            "ip": ipv4_address(name),
            "mac": _read(name, "address") or "00:00:00:00:00:00",
            "linkUp": _read(name, "operstate") == "up" or _read(name, "carrier") == "1",
        }

    async def announce(self, host: str, name: str, services: list[tuple[str, int]], about: dict[str, str]) -> None:
        """By Avahi, or else by the library zeroconf."""
        from hal.linux.net.dnssd import announce  # here, since a device that is not announced needs no D-Bus

        await announce(host, name, services, about, self._announced_address)

    def _announced_address(self) -> str | None:
        address = self.ethernet()["ip"]
        return None if address is None or address.startswith("127.") else address

    async def vpn(self, interface: str) -> dict:
        """State of a WireGuard interface, of its absence too."""
        return {
            "up": bool(int(_read(interface, "flags") or "0", 16) & _IFF_UP),
            "interface": interface,
            "ip": ipv4_address(interface),
            "peerHandshakeSec": await offload(_seconds_since_handshake, interface),
        }

    def is_managed(self) -> bool:
        """By the board config."""
        return self._networkd is not None

    async def apply(self, ethernet: dict, tunnel_interface: str, tunnel: dict | None) -> None:
        """Through systemd-networkd, on boards whose config says so."""
        if self._networkd is None:
            raise NotManaged("the network of this board is set up by its own system")
        await offload(self._networkd.apply, self._interface, ethernet, tunnel_interface, tunnel)

    def interface_index(self, interface: str) -> int | None:
        """By if_nametoindex(3)."""
        try:
            return socket.if_nametoindex(interface)
        except OSError:
            return None

    def is_tunnel(self, interface: str) -> bool:
        """WireGuard of the kernel, or a TUN device, which a program such as wireguard-go has made (tuntap.rst)."""
        if "DEVTYPE=wireguard" in (_read(interface, "uevent") or "").splitlines():
            return True
        return int(_read(interface, "tun_flags") or "0", 16) & _TUN_OR_TAP == _IFF_TUN

    def listen_on(self, interface: str, port: int, beside: list) -> socket.socket:
        """A socket bound to the interface (SO_BINDTODEVICE, socket(7)).

        The kernel asks for SO_REUSEPORT on all where several sockets listen on one port. A second server that does not
        ask for it is refused as ever.
        """
        if not self.is_tunnel(interface):
            raise OSError(errno.EINVAL, f"{interface} is no tunnel")
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            for sharing in [sock, *beside]:
                sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind(("0.0.0.0", port))
            sock.listen(_BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock

    def is_own_address(self, address: str) -> bool:
        """Whether a socket can be bound to the address, which takes an address of this machine."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.bind((address, 0))
            except OSError:
                return False
        return True

    async def probe(self) -> str:
        """Which interface it is, its address, and who sets it up."""
        name = self._name()
        if self.interface_index(name) is None:
            raise PartError(f"this machine has no interface {name}")
        address = ipv4_address(name) or "without an address"
        return f"{name} {address}, set up by {'the firmware' if self._networkd is not None else 'the system'}"

    def _name(self) -> str:
        return self._interface or default_interface()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()


def default_interface() -> str:
    """Name of the interface that carries the IPv4 default route (proc(5), /proc/net/route), else "lo"."""
    with open(_ROUTES) as file:
        for line in file.readlines()[1:]:
            columns = line.split()
            if columns[1] == "00000000":
                return columns[0]
    return "lo"


def ipv4_address(name: str) -> str | None:
    """First IPv4 address of an interface, None where it has none."""
    request = struct.pack("16sH14s", name.encode(), socket.AF_INET, b"")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = fcntl.ioctl(sock.fileno(), _SIOCGIFADDR, request)
        except OSError:
            return None
    return socket.inet_ntoa(answer[20:24])


def _seconds_since_handshake(interface: str) -> int | None:
    try:
        moment = wireguard.last_handshake(interface)
    except OSError:  # no WireGuard interface, or it may not be asked: it has none to tell
        return None
    return None if moment is None else max(0, round(time.time() - moment))


def _read(name: str, attribute: str) -> str | None:
    try:
        with open(os.path.join(_SYS, name, attribute)) as file:
            return file.read().strip()
    except OSError:
        return None
