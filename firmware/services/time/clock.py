"""The device's time: UTC inside, local time outside, set by hand or from time servers."""

import asyncio

from firmware.services import shapes
from firmware.services.time import sntp
from firmware.services.time.absent import NoClock
from firmware.services.time.local_time import DAY, iso, parse_moment
from firmware.services.time.sun import NOON, sun_times
from hal.contracts import Clock, PartError
from hal.runtime import log, log_exception, now_ms
from hal.runtime.annotations import Callable
from hal.service import Pauses

NEVER_SET = 1704067200000  # 1 January 2024: clocks that were never set begin long before
FIRST_SYNC_SEC = 2  # after start
RETRY_SEC = 30  # after a failure; doubles up to the period
RETRIES = 16  # doubled so often it is longer than any period
LONGEST_SLEEP_SEC = 3600  # MicroPython's timers do not reach a week
KISS_FAREWELL = ("DENY", "RSTR")  # kisses after which a server must not be asked again (RFC 4330 section 8)
KISS_SLOWER = "RATE"  # it was asked too often


class ClockService(NoClock):
    """`clock` is the board's part. `settings` is the active area: timeGmt, tsMode, tsManual, astro and ntp."""

    def __init__(
        self,
        clock: Clock,
        settings: shapes.Area,
        ntp_port: int = sntp.PORT,
        clock_ms: Callable[[], int] = now_ms,
    ):
        super().__init__(settings)
        self._clock = clock
        self._astro = settings["astro"]
        self._ntp = settings["ntp"]
        self._ntp_port = ntp_port
        self._source = "RTC"
        self._last_sync: int | None = None
        self._now_ms = clock_ms
        self._barred: dict[
            str, int | None
        ] = {}  # server that does not want to be asked -> until which millisecond; None: for good
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Begin to ask the time servers regularly, where the settings want it."""
        if self._ntp["enabled"]:
            self.keep_running(self._run())

    def state(self) -> dict | None:
        """The state key `time`: {"utc", "local", "source" RTC|MANUAL|SNTP, "lastSync", "sunrise", "sunset"}."""
        now = self._clock.now()
        sunrise, sunset = self._sun_times(now)
        return {
            "utc": iso(now) + "Z",
            "local": self._local.local_iso(now),
            "source": self._source,
            "lastSync": None if self._last_sync is None else iso(self._last_sync) + "Z",
            "sunrise": sunrise,
            "sunset": sunset,
        }

    def _sun_times(self, now: int) -> tuple[str | None, str | None]:
        """Sunrise and sunset of today in local time; None where the setting astro tells no place, or there are none."""
        if not self._astro["latitude"] and not self._astro["longitude"]:
            return None, None
        offset = self._local.offset(now)
        day = (now + offset) // DAY
        noon = (
            NOON * 1000 - int(self._astro["longitude"] * 240000) + offset
        )  # by the Sun; it is of the day before or after far from
        day -= noon // DAY  # where the zone's clocks are right
        times = sun_times(day, self._astro["latitude"], self._astro["longitude"])
        if times is None:
            return None, None
        rise, set_ = (day * DAY + seconds * 1000 for seconds in times)
        return self._local.local_iso(rise), self._local.local_iso(set_)

    def utc_iso_ago(self, age: float) -> str | None:
        """UTC time of so many seconds ago, ISO 8601."""
        return iso(self._clock.now() - int(age * 1000)) + "Z"

    def utc(self) -> int | None:
        """Milliseconds since 1970, None where the clock was never set."""
        now = self._clock.now()
        return None if now < NEVER_SET else now

    def minute_of_day(self) -> int | None:
        """Minutes since midnight, local time; None where the clock was never set."""
        now = self.utc()
        if now is None:
            return None
        text = self._local.local_iso(now)
        return int(text[11:13]) * 60 + int(text[14:16])

    def set(self, text: str) -> None:
        """Set system clock and RTC to an ISO 8601 moment. BadField, PartError."""
        moment = parse_moment(text, self._local)
        self._clock.set(moment)
        self._source = "MANUAL"

    async def sync(self) -> tuple[str | None, int | None]:
        """Set the clock from the first time server that answers: (None, milliseconds that it was behind).

        Where none does (error, None): NO_SERVER, NOT_PERMITTED, PART_FAILED or that of the last server's SntpError. A
        server that has sent a kiss of death is not asked but counted as one that has sent it again.
        """
        async with self._turn:
            code = "NO_SERVER"
            for server in (self._ntp["server1"], self._ntp["server2"]):
                if not server:
                    continue
                try:
                    return None, await self._take(server)
                except sntp.SntpError as exc:
                    code = exc.code
                    log(f"ntp: {server}: {exc.code} {exc}")
                except PartError as exc:
                    code = exc.code
                    log(f"ntp: the clock cannot be set: {exc}")
                    break
            return code, None

    async def _take(self, server: str) -> int:
        """Set the clock from a server; milliseconds that it was behind. SntpError, PartError."""
        if self._is_barred(server):
            raise sntp.SntpError("KISS_OF_DEATH", "is not asked, as it has wished")
        try:
            zero = await sntp.ask(server, self._ntp_port)
        except sntp.SntpError as exc:
            self._bar(server, exc)
            raise
        behind = zero + now_ms() - self._clock.now()
        self._clock.set(zero + now_ms())
        self._source = "SNTP"
        self._last_sync = self._clock.now()
        return behind

    def _is_barred(self, server: str) -> bool:
        if server not in self._barred:
            return False
        until = self._barred[server]
        return until is None or self._now_ms() < until

    def _bar(self, server: str, exc: sntp.SntpError) -> None:
        if exc.code == "KISS_OF_DEATH" and str(exc) in KISS_FAREWELL:
            self._barred[server] = None
        elif exc.code == "KISS_OF_DEATH" and str(exc) == KISS_SLOWER:
            self._barred[server] = self._now_ms() + self._ntp["periodMin"] * 60000

    async def _run(self) -> None:
        period = self._ntp["periodMin"] * 60
        pauses = Pauses(tuple(min(RETRY_SEC * 2**tries, period) for tries in range(RETRIES)))
        await asyncio.sleep(FIRST_SYNC_SEC)
        while True:
            try:
                done = (await self.sync())[0] is None
            except Exception as exc:
                log_exception(exc)
                done = False
            if done:
                pauses.reset()
            await _rest(period if done else pauses.next())


async def _rest(seconds: float) -> None:
    """Sleep for however long."""
    while seconds > 0:
        await asyncio.sleep(min(seconds, LONGEST_SLEEP_SEC))
        seconds -= LONGEST_SLEEP_SEC
