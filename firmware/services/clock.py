"""The device's time: UTC inside, local time outside, set by hand or from time servers."""

import asyncio

from firmware.services import sntp
from firmware.services.errors import Refused
from firmware.services.local_time import LocalTime, iso, parse_moment
from hal.contracts import NotPermitted
from hal.runtime import log, log_exception

FIRST_SYNC_SEC = 2  # after start
RETRY_SEC = 30  # after a failure; doubles up to the period
BARRED_CODES = ("DENY", "RSTR")  # kisses after which a server must not be asked again (RFC 4330 section 8)


class ClockService:
    """`clock` is the board's part or None. `settings` is the active area: timeGmt, tsMode, tsManual and ntp."""

    def __init__(self, clock, settings: dict, ntp_port: int = sntp.PORT):
        self._clock = clock
        self._local = LocalTime(settings["timeGmt"], settings["tsMode"], settings["tsManual"])
        self._ntp = settings["ntp"]
        self._ntp_port = ntp_port
        self._source = "RTC"
        self._last_sync: float | None = None
        self._barred: list = []  # servers that do not want to be asked
        self._turn = asyncio.Lock()
        self._task: asyncio.Task | None = None

    async def start(self) -> None:
        """Begin to ask the time servers regularly, where the settings want it."""
        if self._clock is not None and self._ntp["enabled"]:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def state(self) -> "dict | None":
        """The state key `time`: {"utc", "local", "source" RTC|MANUAL|SNTP, "lastSync"}."""
        if self._clock is None:
            return None
        now = self._clock.now()
        return {
            "utc": iso(now) + "Z",
            "local": self._local.local_iso(now),
            "source": self._source,
            "lastSync": None if self._last_sync is None else iso(self._last_sync) + "Z",
        }

    def local_iso(self, utc: float) -> str:
        """Local time of a moment in seconds UTC, ISO 8601 without a zone."""
        return self._local.local_iso(utc)

    def utc_iso_ago(self, age: float) -> "str | None":
        """UTC time of so many seconds ago, ISO 8601; None without a clock."""
        return None if self._clock is None else iso(self._clock.now() - age) + "Z"

    def set(self, text: str) -> None:
        """Set system clock and RTC to an ISO 8601 moment. BadField, Refused NO_CLOCK, NotPermitted."""
        moment = parse_moment(text, self._local)
        self._needed().set(moment)
        self._source = "MANUAL"

    async def sync(self) -> dict:
        """Set the clock from the first time server that answers: {"status", "errorCode", "offsetMs"}.

        errorCode is NO_SERVER, NOT_PERMITTED or that of the last server's SntpError. Refused NO_CLOCK.
        """
        clock = self._needed()
        async with self._turn:
            error = "NO_SERVER"
            for server in (self._ntp["server1"], self._ntp["server2"]):
                if not server or server in self._barred:
                    continue
                try:
                    offset = await sntp.ask(server, clock.now, self._ntp_port)
                    clock.set(clock.now() + offset)
                except sntp.SntpError as exc:
                    error = exc.code
                    self._bar(server, exc)
                except NotPermitted:
                    return {"status": "ERROR", "errorCode": "NOT_PERMITTED", "offsetMs": None}
                else:
                    self._source = "SNTP"
                    self._last_sync = clock.now()
                    return {"status": "DONE", "errorCode": None, "offsetMs": round(offset * 1000)}
            return {"status": "ERROR", "errorCode": error, "offsetMs": None}

    def _bar(self, server: str, exc: sntp.SntpError) -> None:
        log(f"ntp: {server}: {exc.code} {exc}")
        if exc.code == "KISS_OF_DEATH" and str(exc) in BARRED_CODES:
            self._barred.append(server)

    def _needed(self):
        if self._clock is None:
            raise Refused("NO_CLOCK", "this board has no clock")
        return self._clock

    async def _run(self) -> None:
        period = self._ntp["periodMin"] * 60
        pause = RETRY_SEC
        await asyncio.sleep(FIRST_SYNC_SEC)
        while True:
            try:
                done = (await self.sync())["status"] == "DONE"
            except Exception as exc:
                log_exception(exc)
                done = False
            wait = period if done else min(pause, period)
            pause = RETRY_SEC if done else min(2 * pause, period)
            await asyncio.sleep(wait)
