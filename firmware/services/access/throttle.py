"""The throttle against guessing: by address, and by what all addresses together may try."""

from firmware.services.errors import Refused
from hal.ip_addresses import source_of
from hal.runtime import MICROPYTHON, now_ms
from hal.runtime.annotations import Callable

FREE_TRIES = 5  # wrong logins of an address before it has to wait
FIRST_PAUSE = 2  # seconds; doubles with every further wrong login
LONGEST_PAUSE = 900
FORGET_SEC = 1800  # wrong logins are forgotten after so long without another
ADDRESSES_LIMIT = 32 if MICROPYTHON else 256
ALL_FREE_TRIES = 30  # wrong logins of many addresses together before they have to wait
ALL_PAUSE = 4  # seconds: then all together have one more try
KNOWN_LIMIT = 16


class Throttle:
    """Counts wrong logins by source address and makes an address wait, longer each time.

    An address that is counted is never forgotten for the sake of another one. Beside that, all addresses together may
    try only so much: those that have been wrong before, and those that have not, each for themselves, so that guesses
    from many addresses do not keep out who comes for the first time. Who has logged in before depends on neither.
    """

    def __init__(self, clock: Callable[[], int] = now_ms):
        self._clock = clock
        self._entries: dict[
            int | str, list[int]
        ] = {}  # source -> [wrong logins, millisecond of the last, barred until]
        self._known: list[int | str] = []  # sources that have logged in, the last one at the end
        self._all_wrong = _Tries(clock())  # of all addresses that have been wrong before
        self._all_new = _Tries(clock())

    def check(self, address: str) -> None:
        """Refused TOO_MANY_ATTEMPTS while the address has to wait."""
        source = source_of(address)
        entry = self._entries.get(source)
        now = self._clock()
        wait = entry[2] - now if entry else 0
        if wait > 0:
            raise _too_many("too many wrong logins", wait // 1000 + 1)
        if source not in self._known and not self._tries_of(source).left(now):
            raise _too_many("too many wrong logins by all addresses together", ALL_PAUSE)

    def failed(self, address: str) -> None:
        """Count a wrong login."""
        now = self._clock()
        source = source_of(address)
        self._tries_of(source).take(now)
        entry = self._entries.get(source)
        if entry is None or now - entry[1] > FORGET_SEC * 1000:
            if entry is None and not self._has_room(now):
                return
            entry = self._entries[source] = [0, now, now]
        entry[0] += 1
        entry[1] = now
        if entry[0] >= FREE_TRIES:
            entry[2] = now + 1000 * min(FIRST_PAUSE << min(entry[0] - FREE_TRIES, 10), LONGEST_PAUSE)

    def succeeded(self, address: str) -> None:
        """Forget an address's wrong logins."""
        source = source_of(address)
        self._entries.pop(source, None)
        self._known = [known for known in self._known if known != source][1 - KNOWN_LIMIT :] + [source]

    def _tries_of(self, source: int | str) -> "_Tries":
        """Whoever would not fit into the table may have been wrong before."""
        is_new = source not in self._entries and len(self._entries) < ADDRESSES_LIMIT
        return self._all_new if is_new else self._all_wrong

    def _has_room(self, now: int) -> bool:
        """Whether one more address can be counted, those forgotten that have kept still for long."""
        if len(self._entries) >= ADDRESSES_LIMIT:
            self._entries = {
                source: entry for source, entry in self._entries.items() if now - entry[1] <= FORGET_SEC * 1000
            }
        return len(self._entries) < ADDRESSES_LIMIT


class _Tries:
    """How many wrong logins are left; they come back one by one."""

    def __init__(self, now: int):
        self._left = ALL_FREE_TRIES
        self._counted_at = now

    def left(self, now: int) -> int:
        """How many there are now."""
        gained = (now - self._counted_at) // (ALL_PAUSE * 1000)
        self._left = min(ALL_FREE_TRIES, self._left + gained)
        self._counted_at += gained * ALL_PAUSE * 1000
        return self._left

    def take(self, now: int) -> None:
        """One has been used."""
        self._left = max(0, self.left(now) - 1)


def _too_many(why: str, seconds: int) -> Refused:
    return Refused("TOO_MANY_ATTEMPTS", f"{why}; try again in {seconds} s", seconds)
