"""Activation: a licence that the maker has signed for this device, or the cloud's word that it is active."""

import asyncio

from firmware.services.errors import Refused
from firmware.services.gateway.callback import CloudConnections
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.settings.document_store import DocumentStore
from firmware.services.time.local_time import iso
from firmware.services.update import licence
from firmware.services.update.absent import CloudActivation, short
from firmware.services.update.times import Times
from hal.contracts import Updater
from hal.runtime import log, offload

KEEP_SEC = 600  # between two looks at whether the highest time is worth a write


class Activation(CloudActivation):
    """`registers` are the device's own Modbus registers, by which the cloud activates, `cloud` is its connection."""

    def __init__(
        self,
        updater: Updater,
        times: Times,
        identity: dict,
        registers: OwnRegisters,
        cloud: CloudConnections,
        store: DocumentStore,
    ):
        super().__init__(registers, cloud)
        self._updater = updater
        self._times = times
        self._identity = identity
        self._store = store
        self._licence: dict | None = None

    async def start(self) -> None:
        """Check the licence that was kept, and begin to keep the time."""
        self.keep_running(self._keep_time())
        document = (await offload(self._store.load))[0]
        if document is None:
            return
        try:
            self._licence = self._check(document)
        except Refused as exc:
            log(f"licence: {exc}")

    def is_active(self, feature: str | None = None) -> bool:
        """Whether a licence is in force now, and has a feature where one is named."""
        held = self._licence
        if held is None or licence.is_expired(held, self._times.latest()):
            return False
        return feature is None or feature in held["features"]

    def state(self) -> dict:
        """The state key `activation`: {"activated", "code", "features", "expires"}."""
        asked = super().state()
        held = self._licence if self.is_active() else None
        return {
            "activated": asked["activated"] or held is not None,
            "code": asked["code"],
            "features": held["features"] if held else [],
            "expires": iso(held["expires"] * 1000) + "Z" if held and held["expires"] is not None else None,
        }

    async def activate(self, text: str) -> dict:
        """Take a licence: {"activated", "features", "expires"}. Refused BAD_LICENCE, STORAGE_FAILED."""
        document = licence.read_text(text)
        held = self._check(document)
        try:
            await offload(self._store.save, document)
        except OSError as exc:
            raise Refused("STORAGE_FAILED", f"the licence cannot be stored: {exc}") from exc
        self._licence = held
        return short(self.state())

    async def _keep_time(self) -> None:
        while True:
            await self._times.keep()
            await asyncio.sleep(KEEP_SEC)

    def _check(self, document: object) -> dict:
        return licence.check(document, self._updater, self._times.moment(), self._identity, self._times.latest())
