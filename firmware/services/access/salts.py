"""Salts for logins, which no table holds: nobody can push out somebody else's."""

import asyncio

from firmware.services.errors import Refused
from hal.runtime import MICROPYTHON, now_ms, random_bytes, sha256
from hal.runtime.annotations import Callable

SALT_LENGTH = 40
SALT_SEC = 60
SALTS_A_SECOND = 64 if MICROPYTHON else 128  # different ones for an address; a login tries all of the last minute
USED_LIMIT = 128  # pairs of address and second that are remembered, of which one address has at most SALT_SEC

_MANY = 16  # salts of one second, after which a login gives way to others


class Salts:
    """A salt is a keyed digest of an address, the second in which it was given and a number within that second.

    A client does not send its salt back, so a login tries those that its address may have been given: as many numbers
    as salts were asked for in each second, by whomever. Only those that were used are remembered. Where even these are
    too many, the oldest salts of everybody end early, so that none serves twice.
    """

    def __init__(self, clock: Callable[[], int] = now_ms):
        self._clock = clock
        self._key = random_bytes(32)
        self._given: dict[int, int] = {}  # second -> numbers given in it
        self._used: dict[tuple[str, int], int] = {}  # (address, second) -> the numbers used, a bit for each
        self._ended = -1  # salts up to this second serve no more

    def give(self, address: str) -> str:
        """A salt for one login within 60 s, 40 characters. Refused TOO_MANY_ATTEMPTS: it has used up this second's."""
        second = self._forget_old()
        count = self._given.get(second, 0)
        used = self._used.get((address, second), 0)
        for tried in range(SALTS_A_SECOND):
            number = (count + tried) % SALTS_A_SECOND
            if second > self._ended and not used >> number & 1:
                self._given[second] = count + 1
                return self._salt(address, second, number)
        raise Refused("TOO_MANY_ATTEMPTS", "too many logins; try again in 1 s", 1)

    async def use(self, address: str, fits: Callable[[str], bool]) -> bool:
        """Whether `fits(salt)` is true of a salt of this address that was not used yet; that one serves no more.

        All of them are tried, so that the time it takes does not tell which one fits; after a flood of requests for
        salts these are many, and others get their turn in between. Calls must not overlap.
        """
        self._forget_old()
        fitting = None
        for second, count in list(self._given.items()):
            used = self._used.get((address, second), 0)
            for number in range(min(count, SALTS_A_SECOND)):
                if fits(self._salt(address, second, number)) and not used >> number & 1:
                    fitting = second, number
            if count > _MANY:
                await asyncio.sleep(0)
        if fitting is None:
            return False
        self._remember((address, fitting[0]), fitting[1])
        return True

    def _salt(self, address: str, second: int, number: int) -> str:
        return sha256(self._key + f"{second}.{number} {address}".encode()).hex()[:SALT_LENGTH]

    def _remember(self, place: tuple, number: int) -> None:
        self._used[place] = self._used.get(place, 0) | 1 << number
        if len(self._used) > USED_LIMIT:
            self._ended = min(second for _, second in self._used)
            self._forget_old()

    def _forget_old(self) -> int:
        """Forget what serves no more; return the second that it is."""
        now: int = self._clock() // 1000
        self._ended = max(self._ended, now - SALT_SEC)
        self._given = {second: count for second, count in self._given.items() if second > self._ended}
        self._used = {place: bits for place, bits in self._used.items() if place[1] > self._ended}
        return now
