"""Questions to the kernel over netlink(7): messages, attributes, and word of changes to interfaces and addresses."""

import asyncio
import os
import socket
import struct

from hal.runtime.annotations import Callable

NETLINK_ROUTE = 0  # linux/netlink.h
NETLINK_GENERIC = 16

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300

_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_NLM_F_MULTI = 0x2
_NLA_TYPE_MASK = 0x3FFF

_RTM_DELLINK = 17  # linux/rtnetlink.h
_RTMGRP_LINK = 0x1
_RTMGRP_IPV4_IFADDR = 0x10

_HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, type
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
_RECEIVE_MAX = 65536
_ANSWER_SEC = 1.0
_BURST = 64  # events read at once


def request(protocol: int, kind: int, flags: int, payload: bytes) -> list[bytes]:
    """The payloads of the kernel's answers to one message. OSError with the kernel's error number."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol) as sock:
        sock.settimeout(_ANSWER_SEC)
        sock.bind((0, 0))
        sock.send(_HEADER.pack(_HEADER.size + len(payload), kind, flags | NLM_F_REQUEST, 1, 0) + payload)
        answers: list[bytes] = []
        while _collect(sock.recv(_RECEIVE_MAX), answers):
            pass
        return answers


def _collect(data: bytes, answers: list[bytes]) -> bool:
    """Take the messages of one datagram; whether more are to come."""
    more = True
    while len(data) >= _HEADER.size:
        length, kind, flags, _, _ = _HEADER.unpack_from(data)
        payload = data[_HEADER.size : length]
        if kind == _NLMSG_ERROR:
            number = struct.unpack_from("=i", payload)[0]
            if number:
                raise OSError(-number, os.strerror(-number))
            return False
        if kind == _NLMSG_DONE:
            return False
        answers.append(payload)
        more = bool(flags & _NLM_F_MULTI)
        data = data[_padded(length) :]
    return more


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_padded(length) - length)


def attributes(data: bytes) -> list[tuple[int, bytes]]:
    """(type, value) of each attribute in a run of them."""
    found = []
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            break
        found.append((kind & _NLA_TYPE_MASK, data[_ATTRIBUTE.size : length]))
        data = data[_padded(length) :]
    return found


def _padded(length: int) -> int:
    return (length + 3) & ~3


def delete_link(name: str) -> None:
    """Delete a virtual network interface. OSError: where there is none; EPERM without CAP_NET_ADMIN."""
    index = socket.if_nametoindex(name)
    request(NETLINK_ROUTE, _RTM_DELLINK, NLM_F_ACK, _LINK.pack(0, 0, index, 0, 0))


class LinkWatch:
    """Calls `changed` on the event loop when an interface or an IPv4 address comes, goes or changes."""

    def __init__(self, loop: asyncio.AbstractEventLoop, changed: Callable[[], None]):
        self._loop = loop
        self._changed = changed
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, NETLINK_ROUTE
        )
        self._socket.bind((0, _RTMGRP_LINK | _RTMGRP_IPV4_IFADDR))
        loop.add_reader(self._socket.fileno(), self._hear)

    def close(self) -> None:
        """Listen no more."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _hear(self) -> None:
        for _ in range(_BURST):
            try:
                self._socket.recv(_RECEIVE_MAX)
            except BlockingIOError:
                break
            except OSError:  # ENOBUFS: events were lost, so anything may have changed
                continue
        self._changed()
