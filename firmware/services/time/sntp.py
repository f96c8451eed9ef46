"""SNTP, client side (RFC 4330)."""

from firmware.services.time.local_time import LATEST
from hal.runtime import random_bytes
from hal.runtime.datagrams import NoSuchHost, datagram_exchange

PORT = 123
PACKET = 48  # bytes
TIMEOUT_SEC = 3
ERA = 1 << 32  # seconds; NTP's first era ends in 2036
UNIX_EPOCH = 2208988800  # seconds from 1900 to 1970
PIVOT = 946684800 + UNIX_EPOCH  # 2000 in NTP's first era: a smaller number is of the second era
GRANULARITY = 100  # milliseconds by which the two clocks together may misjudge how long an exchange took
LONGEST_ROOT_DISTANCE = (
    16 << 16
)  # seconds / 65536 of root delay and dispersion beyond which a server's time is worth nothing


class SntpError(Exception):
    """A server gave no time. `code` is "DNS", "TIMEOUT", "BAD_ANSWER", "NOT_SYNCHRONISED" or "KISS_OF_DEATH"."""

    def __init__(self, code: str, message: str = ""):
        super().__init__(message or code)
        self.code = code


def request(cookie: bytes) -> bytes:
    """A request: version 4, mode 3, 8 random bytes in place of the transmit timestamp, which the server repeats.

    A random one cannot be guessed by somebody who does not see the request, and tells nothing of this clock.
    """
    return bytes([0x23]) + bytes(39) + cookie


def unix_time(data: bytes) -> int:
    """Milliseconds since 1970 of an NTP timestamp of 8 bytes, from 2000 to 2136 (RFC 4330 section 3)."""
    seconds = int.from_bytes(data[:4], "big")
    if seconds < PIVOT:
        seconds += ERA
    return (seconds - UNIX_EPOCH) * 1000 + (int.from_bytes(data[4:8], "big") * 1000 + ERA // 2) // ERA


def belongs(data: bytes, cookie: bytes) -> bool:
    """Whether a datagram is an answer to our request: long enough, and it repeats our timestamp."""
    return len(data) >= PACKET and data[24:32] == cookie


def server_times(data: bytes) -> tuple[int, int]:
    """(receive, transmit) of the server, milliseconds since 1970, after the checks of RFC 4330 section 5; SntpError."""
    leap, version, mode, stratum = data[0] >> 6, data[0] >> 3 & 7, data[0] & 7, data[1]
    if mode != 4 or version not in (3, 4):
        raise SntpError("BAD_ANSWER", f"mode {mode}, version {version}")
    if stratum == 0:
        raise SntpError("KISS_OF_DEATH", "".join(chr(byte) for byte in data[12:16] if 32 < byte < 127))
    if leap == 3 or stratum > 15:
        raise SntpError("NOT_SYNCHRONISED")
    if data[40:48] == bytes(8) or data[32:40] == bytes(8):
        raise SntpError("BAD_ANSWER", "a timestamp is zero")
    root_delay = int.from_bytes(data[4:8], "big")
    if root_delay >= 1 << 31:
        root_delay -= 1 << 32  # a signed number
    if abs(root_delay) // 2 + int.from_bytes(data[8:12], "big") > LONGEST_ROOT_DISTANCE:
        raise SntpError("NOT_SYNCHRONISED", "the server's own source is too far away")
    received, sent = unix_time(data[32:40]), unix_time(data[40:48])
    if sent > LATEST:
        raise SntpError("BAD_ANSWER", "after 2099")
    if sent < received:
        raise SntpError("BAD_ANSWER", "sent before it was received")
    return received, sent


def offset_and_delay(left: int, received: int, sent: int, back: int) -> tuple[int, int]:
    """(t, d) of RFC 4330 section 5: how far the server is ahead of the clock of `left` and `back`, and the round trip.

    SntpError where the server had the request for longer than we waited.
    """
    delay = (back - left) - (sent - received)
    if delay < -GRANULARITY:
        raise SntpError("BAD_ANSWER", "sent later than it came")
    return ((received - left) + (sent - back)) // 2, delay


async def ask(host: str, port: int = PORT) -> int:
    """Milliseconds since 1970, by the server, at the zero of `hal.runtime.now_ms`. SntpError.

    Measured against a clock that nobody sets while the answer is on its way.
    """
    cookie = random_bytes(8)
    try:
        found = await datagram_exchange(host, port, request(cookie), TIMEOUT_SEC, lambda data: belongs(data, cookie))
    except NoSuchHost:
        raise SntpError("DNS", "no address was found") from None
    except OSError as exc:
        raise SntpError("TIMEOUT", f"nothing can be sent there: {exc}") from None
    if found is None:
        raise SntpError("TIMEOUT", "no answer")
    data, left, back = found
    received, sent = server_times(data)
    return offset_and_delay(left, received, sent, back)[0]
