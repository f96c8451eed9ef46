"""A question and its answer by UDP."""

import asyncio
import errno
import socket

from hal.runtime import in_time, now_ms, receive_datagram, resolve
from hal.runtime.annotations import Callable

DATAGRAM_LIMIT = 512  # bytes of an answer that are read


class NoSuchHost(OSError):
    """No address was found for a host name, or not in time."""


async def datagram_exchange(
    host: str, port: int, payload: bytes, timeout: float, fits: Callable[[bytes], bool]
) -> tuple[bytes, int, int] | None:
    """Send a datagram and wait for one from there that `fits(data)`: (data, when it was sent and came by `now_ms`).

    None where none comes in time. NoSuchHost; OSError where nothing can be sent there.
    """
    end = now_ms() + int(timeout * 1000)
    try:
        found = (await in_time(resolve(host, port), timeout))[0]
    except (OSError, asyncio.TimeoutError):
        raise NoSuchHost(host) from None
    sock = socket.socket(found[0], socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.connect(found[-1])  # the kernel then drops what comes from elsewhere
        sent = now_ms()
        sock.send(payload)
        return await _answer(sock, sent, end, fits)
    finally:
        sock.close()


async def _answer(
    sock: socket.socket, sent: int, end: int, fits: Callable[[bytes], bool]
) -> tuple[bytes, int, int] | None:
    while now_ms() < end:
        try:
            data = await in_time(receive_datagram(sock, DATAGRAM_LIMIT), (end - now_ms()) / 1000)
        except asyncio.TimeoutError:
            break
        except OSError as exc:
            if exc.args[0] != errno.ECONNREFUSED:  # an ICMP message, which anybody can forge: the answer may still come
                raise
        else:
            came = now_ms()
            if fits(data):
                return data, sent, came
        await asyncio.sleep(0.01)  # whoever floods us must not have the event loop
    return None
