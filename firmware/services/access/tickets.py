"""Tickets: what lets a client in once that cannot send its token, such as a browser's EventSource."""

from hal.runtime import now_ms, random_text, sha256
from hal.runtime.annotations import Callable

TICKET_SEC = 30
TICKET_LENGTH = 48
_LIMIT = 16  # the oldest gives way


class Tickets:
    """Tickets that were given out and not used yet. They are kept as their SHA-256, as tokens are."""

    def __init__(self, clock: Callable[[], int] = now_ms):
        self._clock = clock
        self._waiting: dict = {}  # SHA-256 of a ticket -> (millisecond of its end, what it admits)

    def issue(self, admission: "Admission") -> str:
        """A ticket, good once within TICKET_SEC."""
        self._forget_ended()
        while len(self._waiting) >= _LIMIT:
            del self._waiting[min(self._waiting, key=lambda key: self._waiting[key][0])]
        ticket = random_text(TICKET_LENGTH)
        self._waiting[sha256(ticket.encode())] = (self._clock() + TICKET_SEC * 1000, admission)
        return ticket

    def redeem(self, ticket: str) -> "Admission | None":
        """What a ticket admits, and no second time; None where it is none, was used, or what it came from has ended."""
        self._forget_ended()
        kept = self._waiting.pop(sha256(ticket.encode()), None)
        if kept is None or not kept[1].lasts():
            return None
        admission: Admission = kept[1]
        return admission

    def _forget_ended(self) -> None:
        now = self._clock()
        for key in [key for key, (end, _) in self._waiting.items() if end <= now]:
            del self._waiting[key]


class Admission:
    """At which level somebody was let in; `lasts()` says whether what let him in is still so."""

    def __init__(self, level: int, lasts: Callable[[], bool]):
        self.level = level
        self.lasts = lasts
