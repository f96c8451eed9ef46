"""Logging in: the check of user name and password, and word of those that were wrong."""

import asyncio

from firmware.services.access.salts import Salts
from firmware.services.access.sessions import Sessions
from firmware.services.access.throttle import Throttle
from firmware.services.errors import Refused
from hal.runtime import constant_time_equal, log, now_ms, sha1_hex
from hal.runtime.annotations import Callable
from hal.trace import LOGINS, trace

LOG_SEC = 60  # wrong logins are logged at most so often, those in between as a number


class Login:
    """Gives salts and turns (user name, hashed password) into a session.

    `user` and `password` are the active setting `protect`; a password of None lets nobody in.
    """

    def __init__(self, user: str, password: str | None, sessions: Sessions, clock: Callable[[], int] = now_ms):
        self._user = user
        self._password = password
        self._sessions = sessions
        self._clock = clock
        self._throttle = Throttle(clock)
        self._salts = Salts(clock)
        self._turn = asyncio.Lock()
        self._failures = 0
        self._last_failure: tuple | None = None  # (address, when)
        self._failures_told = 0
        self._told_at: int | None = None

    def has_password(self) -> bool:
        """Whether anybody can log in at all."""
        return self._password is not None

    def salt(self, address: str) -> str:
        """A salt for one login within 60 s, 40 characters [A-Za-z0-9]. Refused TOO_MANY_ATTEMPTS."""
        return self._salts.give(address)

    async def login(self, address: str, username: str, digest: str) -> str:
        """A session's token for the lower-case hex SHA-1 of user name + password + salt.

        The salt is one that was given to this address; it is used up. A wrong digest could have been made with any of
        them, so it uses none up: somebody else behind the same address may be about to log in. Takes the same time
        whichever part is wrong. Refused BAD_CREDENTIALS or TOO_MANY_ATTEMPTS.
        """
        name_fits = constant_time_equal(_digest(self._user), _digest(username))
        given = digest.lower().encode()
        start = (self._user + (self._password or "")).encode()
        may = name_fits & (self._password is not None)
        async with self._turn:  # the throttle must have counted one login before it is asked about the next
            self._throttle.check(address)
            if not await self._salts.use(address, lambda salt: may & _fits(start, salt, given)):
                self._failed(address)
                raise Refused("BAD_CREDENTIALS", "the user name, the password or the salt is wrong")
            self._throttle.succeeded(address)
        trace(LOGINS, f"login: {self._user} from {address}")
        return self._sessions.open(address)

    def failures(self) -> dict:
        """{"failedLogins", "lastFailedLogin"}: how many since start, and {"address", "secAgo"} of the last or None."""
        last = None
        if self._last_failure is not None:
            address, when = self._last_failure
            last = {"address": address, "secAgo": (self._clock() - when) // 1000}
        return {"failedLogins": self._failures, "lastFailedLogin": last}

    def _failed(self, address: str) -> None:
        self._throttle.failed(address)
        now = self._clock()
        self._failures += 1
        self._last_failure = address, now
        trace(LOGINS, f"login: refused from {address}")
        if self._told_at is None or now - self._told_at >= LOG_SEC * 1000:
            log(f"login: wrong user name, password or salt from {address}; {self._failures - self._failures_told} new")
            self._failures_told = self._failures
            self._told_at = now


def _digest(text: str) -> bytes:
    return sha1_hex(text.encode()).encode()


def _fits(start: bytes, salt: str, given: bytes) -> bool:
    return constant_time_equal(sha1_hex(start + salt.encode()).encode(), given)
