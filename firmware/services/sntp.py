"""SNTP, client side (RFC 4330)."""

from hal.runtime import datagram_exchange, monotonic, random_bytes

PORT = 123
PACKET = 48  # bytes
TIMEOUT_SEC = 3
ERA = 1 << 32  # seconds; NTP's first era ends in 2036
UNIX_EPOCH = 2208988800  # seconds from 1900 to 1970
PIVOT = 946684800 + UNIX_EPOCH  # 2000 in NTP's first era: a smaller number is of the second era
LONGEST_ROOT_DISTANCE = 16.0  # seconds of root delay and dispersion beyond which a server's time is worth nothing


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


def unix_time(data: bytes) -> float:
    """Seconds since 1970 of an NTP timestamp of 8 bytes, from 2000 to 2136 (RFC 4330 section 3)."""
    seconds = int.from_bytes(data[:4], "big")
    if seconds < PIVOT:
        seconds += ERA
    return seconds - UNIX_EPOCH + int.from_bytes(data[4:8], "big") / ERA


def belongs(data: bytes, cookie: bytes) -> bool:
    """Whether a datagram is an answer to our request: long enough, and it repeats our timestamp."""
    return len(data) >= PACKET and data[24:32] == cookie


def server_times(data: bytes) -> "tuple[float, float]":
    """(receive, transmit) of the server in seconds since 1970, after the checks of RFC 4330 section 5; SntpError."""
    leap, version, mode, stratum = data[0] >> 6, data[0] >> 3 & 7, data[0] & 7, data[1]
    if mode != 4 or version not in (3, 4):
        raise SntpError("BAD_ANSWER", f"mode {mode}, version {version}")
    if stratum == 0:
        raise SntpError("KISS_OF_DEATH", "".join(chr(byte) for byte in data[12:16] if 32 < byte < 127))
    if leap == 3 or stratum > 15:
        raise SntpError("NOT_SYNCHRONISED")
    if data[40:48] == bytes(8) or data[32:40] == bytes(8):
        raise SntpError("BAD_ANSWER", "a timestamp is zero")
    root_delay = int.from_bytes(data[4:8], "big") / 65536
    if root_delay >= 32768:
        root_delay -= 65536  # a signed number
    if abs(root_delay) / 2 + int.from_bytes(data[8:12], "big") / 65536 > LONGEST_ROOT_DISTANCE:
        raise SntpError("NOT_SYNCHRONISED", "the server's own source is too far away")
    received, sent = unix_time(data[32:40]), unix_time(data[40:48])
    if sent < received:
        raise SntpError("BAD_ANSWER", "sent before it was received")
    return received, sent


async def ask(host: str, now, port: int = PORT, timeout: float = TIMEOUT_SEC, clock=monotonic) -> float:
    """Seconds that `now()`, the clock in seconds since 1970, is behind the server (section 5, t). SntpError."""
    cookie = random_bytes(8)
    left_at, left_mono = now(), clock()
    try:
        data = await datagram_exchange(host, port, request(cookie), timeout, lambda data: belongs(data, cookie))
    except OSError:
        raise SntpError("DNS", host) from None
    if data is None:
        raise SntpError("TIMEOUT", host)
    back_at = left_at + clock() - left_mono  # the clock may have been set meanwhile; the monotonic one was not
    received, sent = server_times(data)
    return (received - left_at + sent - back_at) / 2
