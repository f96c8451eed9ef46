"""The one place that knows which Python runs the firmware: CPython 3.11 or later, or MicroPython 1.28 or later.

Everything else imports what differs between the two from here; files on a card from `hal.runtime.files`.
"""

import asyncio
import hashlib
import os
import sys

from hal.runtime.logs import ERROR
from hal.runtime.logs import log as log

MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from hal.runtime.micropython import *  # noqa: F403
else:
    from hal.runtime.cpython import *  # noqa: F403

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def log_exception(exc: BaseException) -> None:
    """Write the traceback of an exception to the log."""
    log(traceback_text(exc), ERROR)  # noqa: F405


def random_bytes(count: int) -> bytes:
    """Bytes from the system's secure random source."""
    return os.urandom(count)


def random_text(length: int) -> str:
    """A secret of so many characters out of [A-Za-z0-9], each equally likely."""
    text = ""
    while len(text) < length:
        for byte in os.urandom(length):
            if byte < 248 and len(text) < length:  # 248 = 4 * 62: the rest would favour some characters
                text += _ALPHANUMERIC[byte % 62]
    return text


def sha1_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-1."""
    return hashlib.sha1(data).digest().hex()


def sha256(data: bytes) -> bytes:
    """SHA-256 digest."""
    return hashlib.sha256(data).digest()


async def wait_until(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event at most so long; True where it was set in time."""
    if event.is_set():
        return True
    if seconds <= 0:
        return False
    try:
        await in_time(event.wait(), seconds)  # noqa: F405
    except asyncio.TimeoutError:
        return event.is_set()
    return True
