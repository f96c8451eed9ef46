"""Logging in: salts, the password check, and the throttle against guessing."""

from firmware.services.access.sessions import Sessions
from firmware.services.errors import Refused
from hal.runtime import constant_time_equal, monotonic, random_text, sha1_hex

SALT_LENGTH = 40
SALT_SEC = 60
SALTS_LIMIT = 64
SALTS_PER_ADDRESS = 8  # so that one address cannot push out the salts of the others
FREE_TRIES = 5  # wrong logins of an address before it has to wait
FIRST_PAUSE = 2  # seconds; doubles with every further wrong login
LONGEST_PAUSE = 900
FORGET_SEC = 1800  # wrong logins are forgotten after so long without another
ADDRESSES_LIMIT = 128


class Throttle:
    """Counts wrong logins by source address and makes an address wait, longer each time."""

    def __init__(self, clock=monotonic):
        self._clock = clock
        self._entries: dict = {}  # address -> [wrong logins, time of the last, barred until]

    def check(self, address: str) -> None:
        """Refused TOO_MANY_ATTEMPTS while the address has to wait."""
        entry = self._entries.get(_network(address))
        wait = entry[2] - self._clock() if entry else 0
        if wait > 0:
            seconds = int(wait) + 1
            raise Refused("TOO_MANY_ATTEMPTS", f"too many wrong logins; try again in {seconds} s", seconds)

    def failed(self, address: str) -> None:
        """Count a wrong login."""
        now = self._clock()
        network = _network(address)
        entry = self._entries.get(network)
        if entry is None or now - entry[1] > FORGET_SEC:
            self._make_room()
            entry = self._entries[network] = [0, now, now]
        entry[0] += 1
        entry[1] = now
        if entry[0] >= FREE_TRIES:
            entry[2] = now + min(FIRST_PAUSE << min(entry[0] - FREE_TRIES, 10), LONGEST_PAUSE)

    def succeeded(self, address: str) -> None:
        """Forget an address's wrong logins."""
        self._entries.pop(_network(address), None)

    def _make_room(self) -> None:
        if len(self._entries) >= ADDRESSES_LIMIT:
            del self._entries[min(self._entries, key=self._end_of)]

    def _end_of(self, network: str) -> tuple:
        return self._entries[network][2], self._entries[network][1]


def _network(address: str) -> str:
    """What is throttled together: an IPv4 address, or the /64 of an IPv6 address, which one host owns as a whole."""
    if ":" not in address or address[:7].lower() == "::ffff:":
        return address
    head, _, tail = address.partition("::")
    groups = head.split(":") if head else []
    if tail or address[-2:] == "::":
        rest = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(rest)) + rest
    return ":".join(groups[:4])


class Login:
    """Gives salts and turns (user name, hashed password) into a session.

    `user` and `password` are the active setting `protect`; a password of None lets nobody in.
    """

    def __init__(self, user: str, password: "str | None", sessions: Sessions, clock=monotonic):
        self._user = user
        self._password = password
        self._sessions = sessions
        self._clock = clock
        self._throttle = Throttle(clock)
        self._salts: list = []  # (salt, address, end), oldest first

    def salt(self, address: str) -> str:
        """A salt for one login within 60 s, 40 characters [A-Za-z0-9]."""
        self._forget_old()
        own = [entry for entry in self._salts if entry[1] == address]
        if len(own) >= SALTS_PER_ADDRESS:
            self._salts.remove(own[0])
        elif len(self._salts) >= SALTS_LIMIT:
            del self._salts[0]
        salt = random_text(SALT_LENGTH)
        self._salts.append((salt, address, self._clock() + SALT_SEC))
        return salt

    def login(self, address: str, username: str, digest: str) -> dict:
        """{"authType", "token", "ttlSec"} for the lower-case hex SHA-1 of user name + password + salt.

        Every salt given to this address and not used yet is tried, and the one that fits is used up. A wrong digest
        could have been made with any of them, so it uses them all up. Takes the same time whichever part is wrong.
        Refused BAD_CREDENTIALS or TOO_MANY_ATTEMPTS.
        """
        self._throttle.check(address)
        self._forget_old()
        own = [entry for entry in self._salts if entry[1] == address]
        given = digest.lower().encode()
        fitting = None
        for entry in own:
            if self._fits(username, given, entry[0]):
                fitting = entry
        if not own:
            self._fits(username, given, "")
        if fitting is None:
            for entry in own:
                self._salts.remove(entry)
            self._throttle.failed(address)
            raise Refused("BAD_CREDENTIALS", "the user name, the password or the salt is wrong")
        self._salts.remove(fitting)
        self._throttle.succeeded(address)
        return {"authType": "Bearer", "token": self._sessions.open(), "ttlSec": self._sessions.ttl_sec}

    def _fits(self, username: str, given: bytes, salt: str) -> bool:
        expected = sha1_hex((self._user + (self._password or "") + salt).encode()).encode()
        same_digest = constant_time_equal(expected, given)
        same_name = constant_time_equal(sha1_hex(self._user.encode()).encode(), sha1_hex(username.encode()).encode())
        return same_digest & same_name & (self._password is not None) & (salt != "")

    def _forget_old(self) -> None:
        now = self._clock()
        self._salts = [entry for entry in self._salts if entry[2] > now]
