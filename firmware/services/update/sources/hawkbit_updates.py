"""Takes updates from a hawkBit server: polls, brings, installs, and confirms only what has shown that it is healthy."""

import asyncio

from firmware import VERSION
from firmware.services.errors import Refused
from firmware.services.update.kept import Kept
from firmware.services.update.sources.download import BundleSource, WebStream, web_stream
from firmware.services.update.sources.fetch import Url
from firmware.services.update.sources.hawkbit import Hawkbit
from firmware.services.update.updates import Updates
from hal.contracts import PartError, Updater, UpdateRefused
from hal.runtime import log, random_bytes, wait_until
from hal.runtime.logs import INFO
from hal.service import Pauses, Service, Trouble

JITTER = 10  # percent by which a pause is stretched at most, so that a fleet does not come all at once
TRIAL_LOOK_SEC = 5
FAILURE_PAUSES = (30, 60, 120, 300, 900, 3600)

FOR_NOW = ("UPDATE_SERVER", "UPDATE_CUT_SHORT")  # failures of the way, not of the bundle

_FAILURES = (Refused, UpdateRefused, PartError)


class HawkbitSource(BundleSource):
    """The bundle of one deployment."""

    def __init__(self, server: Hawkbit, url: Url):
        self._server = server
        self._url = url

    async def open(self, name: str, offset: int, validator: str) -> WebStream:
        """The bundle from a byte on."""
        return web_stream(await self._server.open(self._url, offset, validator), offset, name)


class HawkbitUpdates(Service):
    """`updates` brings and installs, `updater` knows what became of it, `kept` holds the action over restarts;
    `attributes` are told the server once."""

    def __init__(self, server: Hawkbit, updates: Updates, updater: Updater, kept: Kept, attributes: dict):
        self._server = server
        self._updates = updates
        self._updater = updater
        self._kept = kept
        self._attributes = attributes
        self._trouble = Trouble("update: hawkBit")
        self._pauses = Pauses(FAILURE_PAUSES)
        self._bringing: asyncio.Task | None = None
        self._action = ""  # that is being brought
        self._wake = asyncio.Event()

    async def start(self) -> None:
        """Begin to poll."""
        self.keep_running(self._run())

    async def _run(self) -> None:
        await self._updater.is_up.wait()
        while True:
            try:
                pause = await self._turn()
                self._pauses.reset()
                self._trouble.end("answers again")
            except _FAILURES as exc:
                self._trouble.tell(str(exc))
                pause = self._pauses.next()
            await wait_until(self._wake, pause + pause * JITTER / 100 * random_bytes(1)[0] / 255)
            self._wake.clear()

    def look_now(self) -> None:
        """Ask the server without waiting for the time that it has named."""
        self._wake.set()

    async def _turn(self) -> float:
        """One look at the server; seconds until the next."""
        if self._kept.text("hawkbitAction") and not await self._tell_outcome():
            return TRIAL_LOOK_SEC
        wish = await self._server.poll()
        if wish["config"] is not None:
            await self._server.tell_config(self._attributes)
        if wish["cancel"] is not None:
            await self._cancel(await self._server.cancel_id(wish["cancel"]))
        elif wish["deployment"] is not None:
            await self._deploy(await self._server.deployment(wish["deployment"]))
        return wish["pollSec"]

    async def _tell_outcome(self) -> bool:
        """Say how the last installation went, once that is known."""
        action, last = self._kept.text("hawkbitAction"), self._updater.last()
        if self._updater.running()["trial"] or self._updates.is_installed:
            return False
        if last["result"] == "DONE":
            await self._close(action, "success", f"{VERSION} runs and is healthy")
        elif not last["result"]:
            await self._kept.keep(hawkbitAction="")  # nothing is known of it any more: it may come again
        else:
            await self._close(action, "failure", f"back from {last['rolledBackFrom']}: {last['error']}")
        return True

    async def _close(self, action: str, finished: str, details: str) -> None:
        """Say how an action has ended, now and whenever the server brings it again."""
        await self._kept.keep(hawkbitAction="", hawkbitDone=action, hawkbitResult=finished, hawkbitDetails=details)
        await self._server.say(action, "closed", finished, details)

    async def _deploy(self, deployment: dict) -> None:
        action = deployment["id"]
        if action == self._kept.text("hawkbitDone"):
            result, details = self._kept.text("hawkbitResult"), self._kept.text("hawkbitDetails")
            await self._server.say(action, "closed", result, details)
        elif deployment["install"] and self._bringing is None and action != self._kept.text("hawkbitAction"):
            running = self._updater.running()
            if deployment["entry"]["version"] != running["version"]:
                self._action = action
                self._bringing = self.spawn(self._bring(deployment))
            elif not running["trial"]:  # a power cut came between its installation and the note of it
                await self._close(action, "success", f"{VERSION} runs already")

    async def _bring(self, deployment: dict) -> None:
        """Bring and install in the background, so that a cancellation is heard meanwhile."""
        try:
            await self._try_to_bring(deployment)
        except _FAILURES as exc:
            self._trouble.tell(str(exc))
        finally:
            self._bringing = None

    async def _try_to_bring(self, deployment: dict) -> None:
        action = deployment["id"]
        await self._server.say(action, "proceeding", "none", f"brings {deployment['entry']['version']}")
        source = HawkbitSource(self._server, deployment["url"])
        status, error = await self._updates.bring(source, deployment["entry"])
        if self._action != action:
            return  # it was cancelled meanwhile
        if status == "DONE":
            status, error = await self._updates.install()
        if status == "DONE":
            await self._kept.keep(hawkbitAction=action)  # not earlier: a power cut leaves nothing to wait for
            self._updates.restart_when_installed()
        elif error in FOR_NOW:
            self._trouble.tell(f"{error}: it is tried again")
        elif error is not None:
            await self._close(action, "failure", error)

    async def _cancel(self, action: str) -> None:
        if self._action == action and self._updates.break_off():
            log(f"update: action {action} was cancelled", INFO)
            self._action = ""
        elif self._kept.text("hawkbitAction") == action or self._updates.is_installing():
            await self._server.say(action, "rejected", "none", "it is installed already", cancel=True)
            return
        await self._server.say(action, "closed", "success", "cancelled", cancel=True)
