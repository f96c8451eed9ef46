"""Values of the settings keys: changed, restored from what was stored, made fit to be shown."""

from firmware.services.settings.rules import conflicts
from firmware.services.settings.table import LISTENING, SETTINGS
from hal.fields import BadField, Field, Kind, ListOf, Object
from hal.runtime.annotations import Any

KEPT = "***"  # what a secret that is set reads as; written, it keeps the secret
NAME_SHOWN = 40  # characters of an unknown name that an error repeats
BY_NAME = {field.name: field for field in SETTINGS}


def changed(changes: dict, values: dict) -> dict:
    """The values of all keys with changes made to them; BadField names everything that is wrong."""
    if not isinstance(changes, dict):
        raise BadField("settings: must be an object")
    problems = [f"{name[:NAME_SHOWN]}: is unknown" for name in changes if name not in BY_NAME]
    after = dict(values)
    for field in SETTINGS:
        if field.name in changes:
            try:
                after[field.name] = changed_value(field, changes[field.name], values[field.name])
            except BadField as exc:
                problems.extend(exc.problems)
    if not problems:
        found_before = conflicts(values)  # by an older firmware: not what this change is to blame for
        problems = [problem for problem in conflicts(after) if problem not in found_before]
    if problems:
        raise BadField(problems)
    return after


def changed_value(field: Field, change: object, value: Any) -> Any:
    """The value of one key with a change made to it, which may be partial. BadField."""
    kind = field.kind
    if not isinstance(kind, Object):
        return kind.check(change, field.name)
    if isinstance(change, dict):
        kept = [inner.name for inner in kind.fields if inner.secret and change.get(inner.name) == KEPT]
        change = {name: change[name] for name in change if name not in kept}
    return kind.check(change, field.name, value)


def with_factory_login(factory: dict, login: tuple[str, str] | None) -> dict:
    """A board's own defaults with the (user name, password) that it had when it left the factory, if it had one."""
    return factory if login is None else dict(factory, protect={"username": login[0], "password": login[1]})


def factory_settings(factory: dict) -> dict:
    """All keys as the device leaves the factory, with a board's own defaults, key -> partial value. BadField."""
    return changed(factory, {field.name: field.default for field in SETTINGS})


def restored(document: dict, factory: dict) -> tuple[dict, list[str]]:
    """(values of all keys, problems): what a stored document holds, factory defaults for what it lacks or is bad."""
    problems: list = []
    values = {}
    for field in SETTINGS:
        value = factory[field.name]
        if field.name in document:
            stored = known_part(field.kind, document[field.name])
            try:
                value = _restored_value(field, stored, value, problems)
            except BadField as exc:
                problems.extend(exc.problems)
        values[field.name] = value
    told = [f"saved setting {problem}; its default is in use" for problem in problems]
    return values, told + [f"saved setting {problem}" for problem in conflicts(values)]


def stored_notices(document: dict) -> dict:
    """The notices that a stored document holds, key -> text."""
    notices = document.get("notices")
    if not isinstance(notices, dict):
        return {}
    return {key: notices[key] for key in notices if key in BY_NAME and isinstance(notices[key], str)}


def _restored_value(field: Field, stored: object, default: Any, problems: list) -> Any:
    if not isinstance(field.kind, Object) or not isinstance(stored, dict):
        return field.kind.check(stored, field.name)
    good = {}
    for name in stored:
        try:
            good[name] = field.kind.by_name[name].kind.check(stored[name], f"{field.name}.{name}")
        except BadField as exc:
            problems.extend(exc.problems)
    return field.kind.check(good, field.name, default)


def closed(values: dict) -> dict:
    """The values with everything off that lets strangers connect, HTTP apart."""
    return dict(values, **{key: dict(values[key], enabled=False) for key in LISTENING})


def known_part(kind: Kind, value: object) -> Any:
    """A value without the members that its kind does not know."""
    if isinstance(kind, Object) and isinstance(value, dict):
        return {name: known_part(kind.by_name[name].kind, value[name]) for name in value if name in kind.by_name}
    if isinstance(kind, ListOf) and isinstance(value, list):
        return [known_part(kind.kind, item) for item in value]
    return value


def shown(field: Field, value: Any) -> Any:
    """A copy of a key's value, "***" in place of each secret that is set."""
    if field.secret:
        return None if value is None else KEPT
    if isinstance(field.kind, Object):
        return {inner.name: shown(inner, value[inner.name]) for inner in field.kind.fields}
    return _copy(value)


def public(field: Field, value: Any) -> Any:
    """A copy of a key's value without its secrets."""
    if isinstance(field.kind, Object):
        return {inner.name: public(inner, value[inner.name]) for inner in field.kind.fields if not inner.secret}
    return _copy(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(value[name]) for name in value}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
