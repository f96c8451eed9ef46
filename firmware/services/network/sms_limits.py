"""What keeps a device that sends messages from costing a fortune: so many a day, and no numbers that are dear."""

from firmware.services.errors import Refused
from hal.fields import BadField
from hal.runtime import log
from hal.runtime.annotations import Callable
from hal.small_file import read_whole, write_whole

_OF_NO_COUNTRY = "870 878 881 882 883 979"  # satellites, shared networks, premium rate (ITU-T E.164 annex D)
_PREMIUM = (
    "1900 31900 31906 31909 3290 3389 34803 34806 34807 34905 358600 358700 35990 3690 370900 37190 372900 380900 "
    "38690 3989 4090 41900 41901 41906 42090 43900 43901 43930 43931 449 4590 46900 46939 46944 4782 4870 49137 "
    "49900 7809"
)
DEAR = tuple("+" + start for start in (_OF_NO_COUNTRY + " " + _PREMIUM).split())

_FILE = "sms-count"
_DAY = 86400  # seconds


def require_ordinary(phone: str, allowed: list[str]) -> None:
    """BadField for a premium or satellite number that begins with none of `allowed`."""
    if phone.startswith(DEAR) and not phone.startswith(tuple(allowed)):
        raise BadField("phone: is a premium or satellite number, which setting gsm.smsAllow does not list")


class SmsBudget:
    """So many messages a day, UTC, over restarts. `utc()` is the time in milliseconds, None where it is not known."""

    def __init__(self, state_dir: str, per_day: int, utc: Callable[[], int | None]) -> None:
        self._path = state_dir + "/" + _FILE
        self._per_day = per_day
        self._utc = utc
        self._day, self._count = self._load()

    def require(self) -> None:
        """Refused SMS_LIMIT where no message may be sent any more today."""
        self._turn_day()
        if self._count >= self._per_day:
            now = (self._utc() or 0) // 1000
            message = f"{self._per_day} messages a day may be sent (setting gsm.smsPerDay), and were"
            raise Refused("SMS_LIMIT", message, _DAY - now % _DAY)

    def spend(self, messages: int) -> None:
        """So many messages have been sent, or may have been."""
        self._count += messages
        try:
            write_whole(self._path, f"{self._day} {self._count}\n")
        except OSError as exc:
            log(f"gsm: how many messages were sent cannot be stored: {exc}")

    def _turn_day(self) -> None:
        now = self._utc()
        today = self._day if now is None else now // (_DAY * 1000)
        if today != self._day:
            self._day, self._count = today, 0

    def _load(self) -> tuple[int, int]:
        """(day, count); a file that is damaged counts as no message, for nothing else has come of it."""
        try:
            day, count = read_whole(self._path).split()
            return int(day), max(0, int(count))
        except (OSError, ValueError):
            return 0, 0
