"""A new firmware on trial: it is confirmed when it has been healthy for a while, and gives itself up when it does not
become so. What cannot even do that is given up by what starts it."""

import asyncio

from firmware.services.system.health import Health
from firmware.services.update.kept import Kept
from hal.contracts import PartError, Updater
from hal.runtime import log, log_exception, now_ms
from hal.runtime.annotations import Callable
from hal.runtime.logs import INFO
from hal.service import Service, Trouble

LOOK_SEC = 1.0


class Trial(Service):
    """`kept` holds what the firmware before this one noted; `restart(reason)` has the device start anew."""

    def __init__(self, updater: Updater, health: Health, kept: Kept, restart: Callable[[str], None]):
        self._updater = updater
        self._health = health
        self._kept = kept
        self._restart = restart

    async def start(self) -> None:
        """Watch, where what runs is on trial, which the updater may know a little later."""
        self.spawn(self._run())

    async def _run(self) -> None:
        await self._updater.is_up.wait()
        if self._updater.running()["trial"]:
            await self._watch()

    async def _watch(self) -> None:
        trouble = Trouble("update: the trial")
        began = healthy_since = now_ms()
        while True:
            await asyncio.sleep(LOOK_SEC)
            problems = await self._problems()
            now = now_ms()
            if problems:
                healthy_since = now
            try:
                if now - healthy_since >= self._updater.healthy_sec * 1000:
                    await self._updater.confirm()
                    log("update: the new firmware is healthy and stays", INFO)
                    return
                if now - began >= self._updater.trial_sec * 1000:
                    await self._updater.give_up("it did not become healthy: " + "; ".join(problems or ["not for long"]))
                    self._restart("ROLLED_BACK")
                    return
            except (PartError, OSError) as exc:
                trouble.tell(f"cannot be ended: {exc}")

    async def _problems(self) -> list[str]:
        try:
            return await self._health.problems({name: self._kept.number(name) for name in self._health.now()})
        except Exception as exc:
            log_exception(exc)
            return [f"its health cannot be judged: {exc}"]
