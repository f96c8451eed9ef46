"""The throttle against guessing: by address, and by what all addresses together may try."""

from firmware.services.errors import Refused
from hal.ip_addresses import source_of
from hal.runtime import MICROPYTHON, monotonic

FREE_TRIES = 5  # wrong logins of an address before it has to wait
FIRST_PAUSE = 2  # seconds; doubles with every further wrong login
LONGEST_PAUSE = 900
FORGET_SEC = 1800  # wrong logins are forgotten after so long without another
ADDRESSES_LIMIT = 32 if MICROPYTHON else 128
ALL_FREE_TRIES = 30  # wrong logins of all addresses together before strangers have to wait
ALL_PAUSE = 4  # seconds: then all together have one more try
KNOWN_LIMIT = 16


class Throttle:
    """Counts wrong logins by source address and makes an address wait, longer each time.

    An address that is counted is never forgotten for the sake of another one. Whoever does not fit into the table has
    only what all addresses together may try; addresses that have logged in do not depend on that, so that a flood of
    guesses does not keep them out.
    """

    def __init__(self, clock=monotonic):
        self._clock = clock
        self._entries: dict = {}  # source -> [wrong logins, time of the last, barred until]
        self._known: list = []  # sources that have logged in, the last one at the end
        self._left = ALL_FREE_TRIES  # what all together have left
        self._counted_at = clock()  # when it was counted last

    def check(self, address: str) -> None:
        """Refused TOO_MANY_ATTEMPTS while the address has to wait."""
        source = source_of(address)
        entry = self._entries.get(source)
        now = self._clock()
        wait = entry[2] - now if entry else 0
        if wait > 0:
            raise _too_many("too many wrong logins", int(wait) + 1)
        if self._left_now(now) < 1 and source not in self._known:
            raise _too_many("too many wrong logins by all addresses together", ALL_PAUSE)

    def failed(self, address: str) -> None:
        """Count a wrong login."""
        now = self._clock()
        self._left = max(0, self._left_now(now) - 1)
        source = source_of(address)
        entry = self._entries.get(source)
        if entry is None or now - entry[1] > FORGET_SEC:
            if entry is None and not self._has_room(now):
                return
            entry = self._entries[source] = [0, now, now]
        entry[0] += 1
        entry[1] = now
        if entry[0] >= FREE_TRIES:
            entry[2] = now + min(FIRST_PAUSE << min(entry[0] - FREE_TRIES, 10), LONGEST_PAUSE)

    def succeeded(self, address: str) -> None:
        """Forget an address's wrong logins."""
        source = source_of(address)
        self._entries.pop(source, None)
        self._known = [known for known in self._known if known != source][1 - KNOWN_LIMIT :] + [source]

    def _left_now(self, now) -> int:
        gained = int((now - self._counted_at) / ALL_PAUSE)
        self._left = min(ALL_FREE_TRIES, self._left + gained)
        self._counted_at += gained * ALL_PAUSE
        return self._left

    def _has_room(self, now) -> bool:
        """Whether one more address can be counted, those forgotten that have kept still for long."""
        if len(self._entries) >= ADDRESSES_LIMIT:
            self._entries = {source: entry for source, entry in self._entries.items() if now - entry[1] <= FORGET_SEC}
        return len(self._entries) < ADDRESSES_LIMIT


def _too_many(why: str, seconds: int) -> Refused:
    return Refused("TOO_MANY_ATTEMPTS", f"{why}; try again in {seconds} s", seconds)
