"""Updates of the firmware: finds, downloads, checks, decides and tells; the board's updater installs.

A new firmware is on trial until it has been healthy for a while; one that is not gives itself up, one that cannot even
do that is given up by what starts it (hal/update/slots.py, or RAUC).
"""

import asyncio

from firmware.services import shapes
from firmware.services.card.absent import NoCardFiles
from firmware.services.errors import Refused
from firmware.services.system.health import Health
from firmware.services.update.absent import NoUpdates
from firmware.services.update.budget import Budget
from firmware.services.update.kept import Kept
from firmware.services.update.quiet import QuietHours
from firmware.services.update.sources.download import BundleSource, Download, Source
from firmware.services.update.sources.index import check_index, choose
from firmware.services.update.times import Times
from hal.contracts import PartError, Updater, UpdateRefused
from hal.runtime import log, log_exception, offload, wait_until
from hal.runtime.annotations import Any, Callable, Coroutine
from hal.runtime.memory import MEMORY

WAITS = "waits until tomorrow: the bytes that may come over GSM in a day are spent"
WAITS_WITHOUT_CLOCK = WAITS.replace("tomorrow", "it has run for a day, for its clock is not set")
ANSWER_SEC = 20  # a request is answered after so long at the latest; what it has begun goes on

_FAILURES = (Refused, UpdateRefused, PartError)


class Updates(NoUpdates):
    """The work of both endpoints and the state key `fwUpdate`.

    `times` knows what time it may be, `budget` what may be downloaded, `kept` the number of the last index, `card` the
    files on the card; `health` looks at what runs, `quiet` knows the quiet hours, `restart(reason)` starts anew.
    """

    def __init__(
        self,
        updater: Updater,
        settings: shapes.Area,
        identity: dict,
        times: Times,
        budget: Budget,
        kept: Kept,
        card: NoCardFiles,
        health: Health,
        quiet: QuietHours,
        restart: Callable[[str], None],
    ):
        self._updater = updater
        self._download_setting = settings["download"]
        self._channel = settings["firmware"]["channel"]
        self._auto = settings["firmware"]["autoUpdate"]
        self._mac = identity["mac"]
        self._times = times
        self._budget = budget
        self._kept = kept
        self._card = card
        self._health = health
        self._quiet = quiet
        self.ask_server: Callable[[], None] | None = None  # where a server decides on updates: has it asked now
        self._restart = restart
        self._work: asyncio.Task | None = None  # what is under way
        self._work_ended = asyncio.Event()
        self._status, self._progress = "IDLE", 0
        self._error: str | None = None
        self._message: str | None = None
        self._available: str | None = None
        self.is_installed = False  # another firmware, which the next start begins with

    async def start(self) -> None:
        """A bundle that was downloaded before a restart is still ready, or goes on when it is asked for."""
        record = self._download().record()
        version = record.get("version")
        if version == self._updater.running()["version"]:  # a power cut came right after its installation
            await offload(self._download().discard)
        elif record:
            self._available = version
            if self._download().is_whole():
                self._status, self._progress = "READY", 100
        if self._download_setting["enabled"] and self._auto:
            self.keep_running(self._look_by_itself())

    async def stop(self) -> None:
        """Break a download off; it goes on after the next start. An installation is finished."""
        if self._work is not None and self.is_installing():
            await self._work_ended.wait()
        await super().stop()

    def state(self) -> dict:
        """The state key `fwUpdate`."""
        last = self._updater.last()
        return {
            "status": self._status,
            "progress": self._progress,
            "availableVer": self._available,
            "errorCode": self._error,
            "message": self._waiting() if self._budget.waits else self._message,
            "trial": self._updater.running()["trial"],
            "lastResult": last["result"] or None,
            "lastError": last["error"] or None,
            "rolledBackFrom": last["rolledBackFrom"] or None,
        }

    def _waiting(self) -> str:
        return WAITS if self._budget.has_clock() else WAITS_WITHOUT_CLOCK

    # The two commands

    async def download(self, allow_older: bool = False) -> tuple[str, str | None]:
        """Look for a newer bundle and bring it: (status, error's code with ERROR).

        DONE: it is there or on its way, or there is none; BUSY: something is under way already.
        """
        setting = self._download_setting
        if not setting["enabled"] or not (setting["url"] or self.ask_server):
            raise Refused("UPDATE_DISABLED", "setting download says neither where updates come from nor that they may")
        self._updater.check_up()
        if self.ask_server is not None:
            self.ask_server()
            return "DONE", None
        return await self._do(self._find_and_bring(allow_older))

    async def program(self, allow_older: bool = False) -> tuple[str, str | None]:
        """Install the bundle that is ready: the result as of `download`. UpdateRefused UPDATE_ON_TRIAL.

        After DONE it is installed, or that is under way: the caller then calls `restart_when_installed`.
        """
        return await self._program(allow_older, ANSWER_SEC)

    async def install(self) -> tuple[str, str | None]:
        """Install the bundle that is ready, however long it takes: the result as of `program`."""
        return await self._program(False, None)

    def restart_when_installed(self) -> None:
        """Start into what was installed, once it is."""
        self.spawn(self._restart_into_it())

    async def _restart_into_it(self) -> None:
        if self._work is not None:
            await self._work_ended.wait()
        if self.is_installed:
            self._restart("UPDATE")

    async def _program(self, allow_older: bool, seconds: float | None) -> tuple[str, str | None]:
        self._updater.check_up()
        self._updater.check_not_on_trial()  # before anything: a bundle that is ready stays so
        if self._work is None and not self._download().is_whole():
            raise Refused("UPDATE_NONE", "no update is ready: download one first")
        return await self._do(self._install(allow_older), seconds)

    async def bring(self, source: BundleSource, entry: dict) -> tuple[str, str | None]:
        """Bring one bundle, however long it takes: the result as of `download`."""
        return await self._do(self._bring(source, entry, False), None)

    def is_installing(self) -> bool:
        """Whether a bundle is being installed."""
        return self._work is not None and self._status == "PROGRAMMING"

    def break_off(self) -> bool:
        """End a download that is under way; False where there is none, or where it is installed already."""
        if self._work is None or self.is_installing():
            return False
        self._work.cancel()
        return True

    async def _do(self, work: Coroutine[Any, Any, None], seconds: float | None = ANSWER_SEC) -> tuple[str, str | None]:
        if self._work is not None:
            work.close()
            return "BUSY", None
        self._work_ended = asyncio.Event()
        self._work = self.spawn(self._run_work(work))
        if seconds is None:
            await self._work_ended.wait()
        else:
            await wait_until(self._work_ended, seconds)
        return ("ERROR", self._error) if self._status == "ERROR" else ("DONE", None)

    async def _run_work(self, work: Coroutine[Any, Any, None]) -> None:
        self._error = self._message = None
        try:
            await work
        except _FAILURES as exc:
            self._fail(exc.code, str(exc))
        except asyncio.CancelledError:
            self._status = "IDLE"
            raise
        except MemoryError:
            MEMORY.ran_out("an update")
            self._fail("NO_MEMORY", "there is not enough memory for this now; try again")
        except Exception as exc:
            log_exception(exc)
            self._fail("INTERNAL", "an unexpected error, written to the device's log")
        finally:
            self._work = None
            self._work_ended.set()

    def _fail(self, code: str, message: str) -> None:
        log(f"update: {code}: {message}")
        self._status, self._progress, self._error, self._message = "ERROR", 0, code, message

    # Without being asked

    async def _look_by_itself(self) -> None:
        """Once a day, at this device's own minute of the quiet hours, bring and install what is new."""
        while True:
            await asyncio.sleep(self._quiet.seconds_until())
            try:
                await self.download()
                while self._work is not None:
                    await self._work_ended.wait()
                if self._status == "READY" and (await self.install())[0] == "DONE":
                    self.restart_when_installed()
            except _FAILURES as exc:
                log(f"update: {exc}")

    # Finding and bringing

    async def _find_and_bring(self, allow_older: bool) -> None:
        self._status, self._progress = "CHECKING", 0
        source = Source(self._download_setting["url"], self._card)
        entry = await self._find(source)
        if entry is None:
            self._available = None
            self._status = "IDLE"
            return
        await self._bring(source, entry, allow_older)

    async def _bring(self, source: BundleSource, entry: dict, allow_older: bool) -> None:
        self._available = entry["version"]
        self._status = "DOWNLOADING"
        download = self._download()
        await download.fetch(source, entry, self._updater.room(), self._tell)
        try:
            await self._updater.inspect(download.path, self._times.moment(), allow_older)
        except UpdateRefused:
            await offload(download.discard)
            raise
        self._status, self._progress = "READY", 100

    async def _find(self, source: Source) -> dict | None:
        document = await source.index()
        payload = self._updater.open_document(document, "index", self._times.moment())
        index = check_index(payload, self._kept.number("indexSerial"), self._times.latest())
        await self._times.keep()
        await self._kept.keep(indexSerial=index["serial"])
        device = dict(self._updater.device(), mac=self._mac, version=self._updater.running()["version"])
        return choose(index, device, self._channel, self._times.latest(), self._updater.last()["rolledBackFrom"])

    async def _install(self, allow_older: bool) -> None:
        self._status, self._progress = "PROGRAMMING", 0
        await self._kept.keep(**self._health.now())
        download = self._download()
        try:
            await self._updater.install(download.path, self._times.moment(), allow_older, self._tell)
        except UpdateRefused:
            await offload(download.discard)
            raise
        await offload(download.discard)
        self._progress = 100
        self.is_installed = True

    def _tell(self, percent: int) -> None:
        self._progress = percent

    def _download(self) -> Download:
        return Download(self._updater.download_path(), self._budget)
