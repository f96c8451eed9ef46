"""What of an export another device can take."""

from firmware.services.settings.values import BY_NAME, changed_value, known_part
from hal.fields import BadField, Field, Integer, Object
from hal.runtime import log
from hal.runtime.annotations import Any

FORMAT = 1  # of an export; counts up when a key or a field goes or changes its meaning


def unwrapped(mapping: dict) -> dict:
    """The changes that an export asks for, key -> value. BadField for a format that is none.

    Of another format only what this firmware knows.
    """
    if not isinstance(mapping, dict) or "format" not in mapping:
        return mapping
    version = Integer(1, 0x7FFFFFFF).check(mapping["format"], "format")
    changes = {name: mapping[name] for name in mapping if name != "format"}
    if version == FORMAT:
        return changes
    log(f"settings: an import of format {version}; what this firmware does not know is left out")
    return {name: known_part(BY_NAME[name].kind, changes[name]) for name in changes if name in BY_NAME}


def importable(changes: dict, saved: dict, unmanaged: dict) -> tuple[dict, dict]:
    """(changes that can be made, notices key -> text): without `unmanaged` keys, key -> why, and with what lacks the
    secret that it needs, which no export holds, switched off."""
    taken: dict = {}
    notices: dict = {}
    if not isinstance(changes, dict):
        return changes, notices
    for key in changes:
        taken[key] = changes[key]
        if key in unmanaged:
            del taken[key]
            if key in BY_NAME and _differs(BY_NAME[key], changes[key], saved[key]):
                notices[key] = f"{key}: not taken over: {unmanaged[key]}"
        elif key in BY_NAME and _missing_secrets(BY_NAME[key], changes[key], saved[key]):
            missing = ", ".join(_missing_secrets(BY_NAME[key], changes[key], saved[key]))
            taken[key] = dict(changes[key], enabled=False)
            notices[key] = f"{key}: switched off, for {missing} is missing: exports hold no secrets"
    return taken, notices


def _differs(field: Field, change: object, value: object) -> bool:
    try:
        return changed_value(field, change, value) != value
    except BadField:
        return True


def _missing_secrets(field: Field, change: object, value: Any) -> list[str]:
    """Names of secrets that are neither given nor saved and are all that keeps a change from being made."""
    if not isinstance(field.kind, Object) or not isinstance(change, dict) or change.get("enabled") is not True:
        return []
    try:
        changed_value(field, change, value)
    except BadField as exc:
        absent = [f.name for f in field.kind.fields if f.secret and f.name not in change and value[f.name] is None]
        named = [problem.split(":")[0].partition(".")[2] for problem in exc.problems]
        return named if all(name in absent for name in named) else []
    return []
