"""Addresses of host names (RFC 1035) without waiting in the event loop, which socket.getaddrinfo does on boards."""

import asyncio
import os
import socket

SERVERS: list = []  # (address, port) of those to ask, which the board's network sets; none: the port finds its own way
TRY_SEC = 2.0  # for one server to answer
TRIES = 2  # of each server
_LIMIT = 512  # bytes of an answer, section 2.3.4
_A, _IN = 1, 1
_RECURSION_DESIRED = 0x0100


async def lookup(host: str) -> str:
    """The first IPv4 address of a host name. OSError where there is none, or nobody says."""
    for _ in range(TRIES):
        for server in SERVERS:
            try:
                return await asyncio.wait_for(_ask(server, host), TRY_SEC)
            except asyncio.TimeoutError:
                pass
    raise OSError(f"no name server answers for {host}")


async def _ask(server: tuple, host: str) -> str:
    question = _question(host)
    number = os.urandom(2)
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(socket.getaddrinfo(server[0], server[1])[0][-1])  # then nobody else's datagrams come
        header = number + _RECURSION_DESIRED.to_bytes(2, "big") + b"\x00\x01" + bytes(6)
        sock.send(header + question)
        while True:
            try:
                data = sock.recv(_LIMIT)
            except OSError:  # nothing yet, or a message that the server is not there: it may still come
                data = b""
            if data[:2] == number and data[2:3] >= b"\x80" and data[12 : 12 + len(question)] == question:
                return _first_address(data, 12 + len(question), host)
            await asyncio.sleep(0.01)
    finally:
        sock.close()


def _question(host: str) -> bytes:
    """The question for an address (section 4.1.2). OSError where a name is none."""
    name = b""
    for label in host.rstrip(".").split("."):
        text = label.encode()
        if not 1 <= len(text) <= 63:
            raise OSError(f"{host[:64]}: is no host name")
        name += bytes((len(text),)) + text
    return name + bytes((0, 0, _A, 0, _IN))


def _first_address(data: bytes, position: int, host: str) -> str:
    """The first address among the answers (section 4.1.3). OSError."""
    count = data[6] << 8 | data[7]
    for _ in range(count if data[3] & 15 == 0 else 0):
        position = _after_name(data, position)
        fields = data[position : position + 10]
        if len(fields) < 10:
            break
        size = fields[8] << 8 | fields[9]
        value = data[position + 10 : position + 10 + size]
        if fields[1] == _A and fields[3] == _IN and len(value) == 4:
            return ".".join([str(byte) for byte in value])
        position += 10 + size
    raise OSError(f"{host}: has no address")


def _after_name(data: bytes, position: int) -> int:
    """Where a name ends, be it whole or a pointer (section 4.1.4)."""
    while position < len(data) and data[position]:
        if data[position] >= 0xC0:
            return position + 2
        position += data[position] + 1
    return position + 1
