"""What a WireGuard interface tells of its peers: the kernel's over generic netlink, a program's over its own socket."""

import os
import socket
import struct

from hal.linux.net.netlink import NETLINK_GENERIC, NLM_F_DUMP, attribute, attributes, request

SOCKETS = "/var/run/wireguard"  # where programs such as wireguard-go put theirs, wireguard.com/xplatform

_GENL_ID_CTRL = 0x10  # linux/genetlink.h
_CTRL_CMD_GETFAMILY = 3
_CTRL_ATTR_FAMILY_ID = 1
_CTRL_ATTR_FAMILY_NAME = 2

_WG_CMD_GET_DEVICE = 0  # linux/wireguard.h
_WGDEVICE_A_IFNAME = 2
_WGDEVICE_A_PEERS = 8
_WGPEER_A_LAST_HANDSHAKE_TIME = 6

_GENERIC_HEADER = struct.Struct("=BBxx")  # command, version
_TIME = struct.Struct("=qq")  # struct __kernel_timespec
_ANSWER_SEC = 1.0
_ANSWER_MAX = 1 << 20


def last_handshake(interface: str) -> float | None:
    """When any peer last completed a handshake, in seconds since 1970; None where none has.

    OSError: EPERM without CAP_NET_ADMIN, ENODEV or ENOENT where this is no WireGuard interface.
    """
    path = os.path.join(SOCKETS, interface + ".sock")
    moments = _by_program(path) if os.path.exists(path) else _by_kernel(interface)
    return max((moment for moment in moments if moment > 0), default=None)


def _by_kernel(interface: str) -> list[float]:
    payload = _GENERIC_HEADER.pack(_WG_CMD_GET_DEVICE, 1) + attribute(_WGDEVICE_A_IFNAME, interface.encode() + b"\0")
    moments = []
    for answer in request(NETLINK_GENERIC, _family(), NLM_F_DUMP, payload):
        for kind, peers in attributes(answer[_GENERIC_HEADER.size :]):
            if kind == _WGDEVICE_A_PEERS:
                moments += [_peer_moment(peer) for _, peer in attributes(peers)]
    return moments


def _peer_moment(peer: bytes) -> float:
    for kind, value in attributes(peer):
        if kind == _WGPEER_A_LAST_HANDSHAKE_TIME:
            seconds, nanoseconds = _TIME.unpack(value)
            return seconds + nanoseconds / 1e9
    return 0.0


def _family() -> int:
    """Number of the generic netlink family "wireguard". OSError ENOENT where the kernel lacks it."""
    payload = _GENERIC_HEADER.pack(_CTRL_CMD_GETFAMILY, 1) + attribute(_CTRL_ATTR_FAMILY_NAME, b"wireguard\0")
    for answer in request(NETLINK_GENERIC, _GENL_ID_CTRL, 0, payload):
        for kind, value in attributes(answer[_GENERIC_HEADER.size :]):
            if kind == _CTRL_ATTR_FAMILY_ID:
                return int(struct.unpack("=H", value)[0])
    raise OSError("the kernel tells no family of that name")


def _by_program(path: str) -> list[float]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(_ANSWER_SEC)
        sock.connect(path)
        sock.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n") and len(answer) < _ANSWER_MAX:
            data = sock.recv(65536)
            if not data:
                break
            answer += data
    prefix = b"last_handshake_time_sec="
    return [float(line[len(prefix) :]) for line in answer.splitlines() if line.startswith(prefix)]
