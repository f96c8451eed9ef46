"""The session table: who is logged in."""

from hal.runtime import now_ms, random_text, sha256
from hal.runtime.annotations import Callable

TOKEN_LENGTH = 48
SESSIONS_LIMIT = 32


class Sessions:
    """Tokens and until when they live.

    The table is bounded: when it is full, the address with most sessions loses the one that it has not used for
    longest, so that a client which logs in again and again ends its own sessions and not those of others.
    Tokens are kept as their SHA-256 only: looking one up takes a time that says nothing about the others.
    """

    def __init__(self, ttl_sec: int, clock: Callable[[], int] = now_ms):
        self.ttl_sec = ttl_sec
        self._clock = clock
        self._ends: dict[bytes, int] = {}  # SHA-256 of a token -> millisecond of its end
        self._addresses: dict[bytes, str] = {}  # SHA-256 of a token -> where it was opened from

    def open(self, address: str = "") -> str:
        """A new session's token, 48 characters [A-Za-z0-9], for somebody who calls from an address."""
        self._forget_ended()
        if len(self._ends) >= SESSIONS_LIMIT:
            self._make_room()
        token = random_text(TOKEN_LENGTH)
        key = sha256(token.encode())
        self._ends[key] = self._clock() + self.ttl_sec * 1000
        self._addresses[key] = address
        return token

    def use(self, token: str) -> bool:
        """Whether a token is alive; using it renews its time to live."""
        key = sha256(token.encode())
        end = self._ends.get(key)
        now = self._clock()
        if end is None or end <= now:
            return False
        self._ends[key] = now + self.ttl_sec * 1000
        return True

    def is_alive(self, token: str) -> bool:
        """Whether a token is alive; asking does not renew it."""
        end = self._ends.get(sha256(token.encode()))
        return end is not None and end > self._clock()

    def close(self, token: str) -> None:
        """End a session at once."""
        self._end(sha256(token.encode()))

    def close_others(self, token: str | None) -> None:
        """End all sessions at once but that of a token."""
        kept = None if token is None else sha256(token.encode())
        for key in list(self._ends):
            if key != kept:
                self._end(key)

    def count(self) -> int:
        """Sessions alive now."""
        self._forget_ended()
        return len(self._ends)

    def _make_room(self) -> None:
        addresses = list(self._addresses.values())
        self._end(min(self._ends, key=lambda key: (-addresses.count(self._addresses[key]), self._ends[key])))

    def _forget_ended(self) -> None:
        now = self._clock()
        for key in [key for key, end in self._ends.items() if end <= now]:
            self._end(key)

    def _end(self, key: bytes) -> None:
        self._ends.pop(key, None)
        self._addresses.pop(key, None)
