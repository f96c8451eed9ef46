"""The settings: the active area, fixed at start, and the saved area, which becomes active at the next start."""

import asyncio

from firmware.services.errors import Refused
from firmware.services.settings.rules import conflicts
from firmware.services.settings.table import LISTENING, SETTINGS
from hal.fields import BadField, Integer, ListOf, Object
from hal.runtime import log, offload

FORMAT = 1  # of an export; counts up when a key or a field goes or changes its meaning
KEPT = "***"  # what a secret that is set reads as; written, it keeps the secret

_NAME_SHOWN = 40  # characters of an unknown name that an error repeats
_BY_NAME = {field.name: field for field in SETTINGS}


class Settings:
    """Both areas, each a dict of key -> full value, secrets in clear.

    `store` is a DocumentStore. `factory` holds the board's own defaults where they differ from the table's, key ->
    partial value; BadField where it is wrong. `problems` says what of the stored settings could not be used.

    `checks` are functions of (saved area before, after, author) that raise BadField or Refused where a change must not
    be stored; `followers` are called with the same once it is. An `author` is whatever they know somebody by.
    """

    def __init__(self, store, factory: dict, offload=offload):
        self._store = store
        self._offload = offload
        self._lock = asyncio.Lock()
        self._writes: list = []  # (event, task) of each change not yet stored or refused
        self._factory = factory_settings(factory)
        document, problems = store.load()
        self.saved, unusable = _restored(document or {}, self._factory)
        if store.lost:
            self.saved = _closed(self.saved)
            unusable.append(
                "Modbus TCP and the VPN stay off until they are switched on again by hand: the password may "
                "be the factory's, and who may connect is not known any more"
            )
        self.problems = problems + unusable
        self.active = self.saved
        self.checks: list = []
        self.followers: list = []

    def get(self, area: str, keys: "list[str]") -> dict:
        """Values of these keys, of all without any; area is "active" or "saved". Refused UNKNOWN_KEY.

        Secrets are None where unset and "***" where set.
        """
        unknown = [key[:_NAME_SHOWN] for key in keys if key not in _BY_NAME]
        if unknown:
            raise Refused("UNKNOWN_KEY", "no such settings key: " + ", ".join(unknown))
        values = self.active if area == "active" else self.saved
        return {field.name: _shown(field, values[field.name]) for field in SETTINGS if not keys or field.name in keys}

    async def set(self, changes: dict, author=None) -> None:
        """Store changes, key -> value, all or none; an object may be partial. BadField, Refused STORAGE_FAILED.

        The fields of an object that are not named stay; "***" keeps a secret, None clears it; lists are replaced whole.
        """
        await self._change(lambda saved: self._checked(_changed(changes, saved), author), author)

    async def reset(self, author=None) -> None:
        """Take the saved area back to factory defaults, no secret staying on the medium. Refused STORAGE_FAILED."""
        await self._change(lambda saved: self._factory, author, self._store.overwrite)

    def export(self) -> dict:
        """The saved area with the format of exports, secrets left out."""
        exported: dict = {"format": FORMAT}
        for field in SETTINGS:
            exported[field.name] = _public(field, self.saved[field.name])
        return exported

    async def import_(self, mapping: dict, author=None) -> None:
        """Store an export; what it does not name stays, secrets too. BadField names every bad field; STORAGE_FAILED.

        An export of another format may name what is unknown here: that is left out. The rest must be valid.
        """
        changes = mapping
        if isinstance(mapping, dict) and "format" in mapping:
            version = Integer(1, 0x7FFFFFFF).check(mapping["format"], "format")
            changes = {name: mapping[name] for name in mapping if name != "format"}
            if version != FORMAT:
                log(f"settings: an import of format {version}; what this firmware does not know is left out")
                changes = _known(changes)
        await self.set(changes, author)

    async def finish(self) -> None:
        """Wait until every change begun is stored or refused."""
        for event, _ in list(self._writes):
            await event.wait()

    def _checked(self, values: dict, author) -> dict:
        for check in self.checks:
            check(self.saved, values, author)
        return values

    async def _change(self, make, author, store=None) -> None:
        """Store what `make(saved area)` returns. Goes on to its end where the caller is cancelled."""
        done = asyncio.Event()
        outcome: list = []
        commit = self._commit(make, store or self._store.save, author, outcome, done)
        self._writes.append((done, asyncio.create_task(commit)))
        await done.wait()
        if outcome:
            raise outcome[0]

    async def _commit(self, make, store, author, outcome: list, done: asyncio.Event) -> None:
        try:
            async with self._lock:
                values = make(self.saved)
                await self._offload(store, values)
                before, self.saved = self.saved, values
                for follow in self.followers:
                    follow(before, values, author)
                await self._offload(self._store.mark)
        except OSError as exc:
            log(f"settings: could not be stored: {exc}")
            outcome.append(Refused("STORAGE_FAILED", "the settings could not be stored; nothing has changed"))
        except Exception as exc:
            outcome.append(exc)
        finally:
            self._writes = [write for write in self._writes if write[0] is not done]
            done.set()


def _changed(changes: dict, values: dict) -> dict:
    """The values of all keys with changes made to them; BadField names everything that is wrong."""
    if not isinstance(changes, dict):
        raise BadField("settings: must be an object")
    problems = [f"{name[:_NAME_SHOWN]}: is unknown" for name in changes if name not in _BY_NAME]
    changed = dict(values)
    for field in SETTINGS:
        if field.name in changes:
            try:
                changed[field.name] = _changed_value(field, changes[field.name], values[field.name])
            except BadField as exc:
                problems.extend(exc.problems)
    if not problems:
        found_before = conflicts(values)  # by an older firmware: not what this change is to blame for
        problems = [problem for problem in conflicts(changed) if problem not in found_before]
    if problems:
        raise BadField(problems)
    return changed


def _changed_value(field, change, value):
    kind = field.kind
    if not isinstance(kind, Object):
        return kind.check(change, field.name)
    if isinstance(change, dict):
        kept = [inner.name for inner in kind.fields if inner.secret and change.get(inner.name) == KEPT]
        change = {name: change[name] for name in change if name not in kept}
    return kind.check(change, field.name, value)


def with_factory_login(factory: dict, login: "tuple[str, str] | None") -> dict:
    """A board's own defaults with the (user name, password) that it had when it left the factory, if it had one."""
    return factory if login is None else dict(factory, protect={"username": login[0], "password": login[1]})


def factory_settings(factory: dict) -> dict:
    """All keys as the device leaves the factory, with a board's own defaults, key -> partial value. BadField."""
    return _changed(factory, {field.name: field.default for field in SETTINGS})


def _restored(document: dict, factory: dict) -> "tuple[dict, list[str]]":
    """(values of all keys, problems): what a stored document holds, factory defaults for what it lacks or is bad."""
    problems: list = []
    values = {}
    for field in SETTINGS:
        value = factory[field.name]
        if field.name in document:
            stored = _known_part(field.kind, document[field.name])
            try:
                value = _restored_value(field, stored, value, problems)
            except BadField as exc:
                problems.extend(exc.problems)
        values[field.name] = value
    told = [f"saved setting {problem}; its default is in use" for problem in problems]
    return values, told + [f"saved setting {problem}" for problem in conflicts(values)]


def _restored_value(field, stored, default, problems: list):
    if not isinstance(field.kind, Object) or not isinstance(stored, dict):
        return field.kind.check(stored, field.name)
    good = {}
    for name in stored:
        try:
            good[name] = field.kind.by_name[name].kind.check(stored[name], f"{field.name}.{name}")
        except BadField as exc:
            problems.extend(exc.problems)
    return field.kind.check(good, field.name, default)


def _closed(values: dict) -> dict:
    """The values with everything off that lets strangers connect, HTTP apart."""
    return dict(values, **{key: dict(values[key], enabled=False) for key in LISTENING})


def _known(changes: dict) -> dict:
    """Of changes to settings, those that the table knows."""
    return {name: _known_part(_BY_NAME[name].kind, changes[name]) for name in changes if name in _BY_NAME}


def _known_part(kind, value):
    """A value without members that its kind does not know."""
    if isinstance(kind, Object) and isinstance(value, dict):
        return {name: _known_part(kind.by_name[name].kind, value[name]) for name in value if name in kind.by_name}
    if isinstance(kind, ListOf) and isinstance(value, list):
        return [_known_part(kind.kind, item) for item in value]
    return value


def _shown(field, value):
    """A copy of a value, "***" in place of each secret that is set."""
    if field.secret:
        return None if value is None else KEPT
    if isinstance(field.kind, Object):
        return {inner.name: _shown(inner, value[inner.name]) for inner in field.kind.fields}
    return _copy(value)


def _public(field, value):
    """A copy of a value without its secrets."""
    if isinstance(field.kind, Object):
        return {inner.name: _public(inner, value[inner.name]) for inner in field.kind.fields if not inner.secret}
    return _copy(value)


def _copy(value):
    if isinstance(value, dict):
        return {name: _copy(value[name]) for name in value}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
