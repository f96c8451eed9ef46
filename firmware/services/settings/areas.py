"""The settings: the active area, fixed at start, and the saved area, which becomes active at the next start."""

import asyncio

from firmware.services import shapes
from firmware.services.errors import Refused
from firmware.services.problems import Problems
from firmware.services.settings.document_store import DocumentStore
from firmware.services.settings.imports import FORMAT, importable, unwrapped
from firmware.services.settings.table import SETTINGS
from firmware.services.settings.values import (
    BY_NAME,
    NAME_SHOWN,
    changed,
    closed,
    factory_settings,
    public,
    restored,
    shown,
    stored_notices,
)
from hal.fields import BadField
from hal.runtime import log, offload
from hal.runtime.annotations import Any, Awaitable, Callable
from hal.runtime.logs import ERROR
from hal.service import Service
from hal.trace import CHANGES, trace


class Settings(Service):
    """Both areas, each a dict of key -> full value, secrets in clear.

    `store` is a DocumentStore. `factory` holds the board's own defaults where they differ from the table's, key ->
    partial value; BadField where it is wrong. `problems` says what of the stored settings could not be used.

    `unmanaged` says of keys that this board does not have, or that are not the firmware's to set, why: key -> text.
    `notices` says of keys, key -> text, what an import could not take as it was; it is kept over restarts until the key
    is set again.

    `checks` are functions of (saved area before, after, author) that raise BadField or Refused where a change must not
    be stored; `followers` are called with the same once it is. An `author` is whatever they know somebody by.
    """

    def __init__(
        self,
        store: DocumentStore,
        factory: dict,
        unmanaged: dict[str, str] | None = None,
        offload: Callable[..., Awaitable[Any]] = offload,
    ):
        self._store = store
        self._offload = offload
        self._lock = asyncio.Lock()
        self._writes: list[
            tuple[asyncio.Event, asyncio.Task]
        ] = []  # (event, task) of each change not yet stored or refused
        self._factory = factory_settings(factory)
        self._unmanaged = unmanaged or {}
        document, problems = store.load()
        self.saved, unusable = restored(document or {}, self._factory)
        self.notices = stored_notices(document or {})
        self.lost = store.lost  # whether there were settings that could not be read
        if self.lost:
            self.saved = closed(self.saved)
            unusable.append(
                "Modbus TCP and the VPN stay off until they are switched on again by hand: the password may "
                "be the factory's, and who may connect is not known any more"
            )
        self.problems = problems + unusable
        self.active: shapes.Area = self.saved  # type: ignore[assignment] # it has been checked by the table
        self._problems: Problems | None = None
        self.checks: list[Callable[[dict, dict, Any], None]] = []
        self.followers: list[Callable[[dict, dict, Any], None]] = []

    def report_to(self, problems: Problems) -> None:
        """Report what is wrong with the settings, now and after each change."""
        for problem in self.problems:
            problems.report("settings: " + problem, problem)
        self._problems = problems
        self._tell({}, self.notices)

    def get(self, area: str, keys: list[str]) -> dict:
        """Values of these keys, of all without any; area is "active" or "saved". Refused UNKNOWN_KEY.

        Secrets are None where unset and "***" where set.
        """
        unknown = [key[:NAME_SHOWN] for key in keys if key not in BY_NAME]
        if unknown:
            raise Refused("UNKNOWN_KEY", "no such settings key: " + ", ".join(unknown))
        values = dict(self.active) if area == "active" else self.saved
        return {field.name: shown(field, values[field.name]) for field in SETTINGS if not keys or field.name in keys}

    async def set(self, changes: dict, author: object = None) -> None:
        """Store changes, key -> value, all or none; an object may be partial. BadField, Refused STORAGE_FAILED.

        The fields of an object that are not named stay; "***" keeps a secret, None clears it; lists are replaced whole.
        """

        def make(saved: dict) -> tuple[dict, dict]:
            return self._checked(changed(changes, saved), author), self._notices_but(changes)

        await self._change(make, author)

    async def reset(self, author: object = None) -> None:
        """Take the saved area back to factory defaults, no secret staying on the medium. Refused STORAGE_FAILED."""
        await self._change(lambda saved: (self._factory, {}), author, self._store.overwrite)

    def export(self) -> dict:
        """The saved area with the format of exports, secrets left out."""
        exported: dict = {"format": FORMAT}
        for field in SETTINGS:
            exported[field.name] = public(field, self.saved[field.name])
        return exported

    async def import_(self, mapping: dict, author: object = None) -> list[str]:
        """Store an export; what it does not name stays, secrets too. BadField names every bad field; STORAGE_FAILED.

        An export of another format may name what is unknown here: that is left out. What cannot work without its secret
        is switched off, and what this board does not manage stays as it is: the result says so, and so do `notices`.
        The rest must be valid.
        """
        changes = unwrapped(mapping)
        told: list[str] = []

        def make(saved: dict) -> tuple[dict, dict]:
            taken, notices = importable(changes, saved, self._unmanaged)
            told.extend(notices[key] for key in sorted(notices))
            return self._checked(changed(taken, saved), author), dict(self._notices_but(changes), **notices)

        await self._change(make, author)
        return told

    async def finish(self) -> None:
        """Wait until every change begun is stored or refused."""
        for event, _ in list(self._writes):
            await event.wait()

    async def stop(self) -> None:
        """As `finish`."""
        await self.finish()
        await super().stop()

    def _checked(self, values: dict, author: object) -> dict:
        for check in self.checks:
            check(self.saved, values, author)
        for key in sorted(self._unmanaged):
            if values[key] not in (self.saved[key], self._factory[key]):
                raise BadField(f"{key}: {self._unmanaged[key]}")
        return values

    def _tell(self, before: dict, after: dict) -> None:
        if self._problems is not None:
            for key in before:
                if key not in after:
                    self._problems.withdraw("notice " + key)
            for key in after:
                self._problems.report("notice " + key, after[key])

    def _notices_but(self, changes: dict) -> dict:
        return {key: self.notices[key] for key in self.notices if key not in changes}

    async def _change(
        self,
        make: Callable[[dict], tuple[dict, dict]],
        author: object,
        store: Callable[[dict], None] | None = None,
    ) -> None:
        """Store what `make(saved area)` returns, values and notices; to its end where the caller is cancelled."""
        done = asyncio.Event()
        outcome: list[Exception] = []
        commit = self._commit(make, store or self._store.save, author, outcome, done)
        self._writes.append((done, self.spawn(commit)))
        await done.wait()
        if outcome:
            raise outcome[0]

    async def _commit(
        self,
        make: Callable[[dict], tuple[dict, dict]],
        store: Callable[[dict], None],
        author: object,
        outcome: list[Exception],
        done: asyncio.Event,
    ) -> None:
        try:
            async with self._lock:
                values, notices = make(self.saved)
                await self._offload(store, dict(values, notices=notices) if notices else values)
                before, self.saved = self.saved, values
                changed_keys = [field.name for field in SETTINGS if before[field.name] != values[field.name]]
                trace(CHANGES, "settings: changed " + ", ".join(changed_keys))
                self._tell(self.notices, notices)
                self.notices = notices
                for follow in self.followers:
                    follow(before, values, author)
                await self._offload(self._store.mark)
        except OSError as exc:
            log(f"settings: could not be stored: {exc}", ERROR)
            outcome.append(Refused("STORAGE_FAILED", "the settings could not be stored; nothing has changed"))
        except Exception as exc:
            outcome.append(exc)
        finally:
            self._writes = [write for write in self._writes if write[0] is not done]
            done.set()
