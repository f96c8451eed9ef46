"""The session table: who is logged in."""

from hal.runtime import monotonic, random_text, sha256

TOKEN_LENGTH = 48
SESSIONS_LIMIT = 32


class Sessions:
    """Tokens and until when they live. The table is bounded: when it is full, the session longest unused goes.

    Tokens are kept as their SHA-256 only: looking one up takes a time that says nothing about the others.
    """

    def __init__(self, ttl_sec: int, clock=monotonic):
        self.ttl_sec = ttl_sec
        self._clock = clock
        self._ends: dict = {}  # SHA-256 of a token -> monotonic time of its end

    def open(self) -> str:
        """A new session's token, 48 characters [A-Za-z0-9]."""
        self._forget_ended()
        if len(self._ends) >= SESSIONS_LIMIT:
            del self._ends[min(self._ends, key=lambda key: self._ends[key])]
        token = random_text(TOKEN_LENGTH)
        self._ends[sha256(token.encode())] = self._clock() + self.ttl_sec
        return token

    def use(self, token: str) -> bool:
        """Whether a token is alive; using it renews its time to live."""
        key = sha256(token.encode())
        end = self._ends.get(key)
        now = self._clock()
        if end is None or end <= now:
            return False
        self._ends[key] = now + self.ttl_sec
        return True

    def close(self, token: str) -> None:
        """End a session at once."""
        self._ends.pop(sha256(token.encode()), None)

    def count(self) -> int:
        """Sessions alive now."""
        self._forget_ended()
        return len(self._ends)

    def _forget_ended(self) -> None:
        now = self._clock()
        for key in [key for key, end in self._ends.items() if end <= now]:
            del self._ends[key]
