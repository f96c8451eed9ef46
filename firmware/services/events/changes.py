"""What has changed between two values that a service gave."""

from hal.runtime.annotations import Any


def changes(before: Any, now: Any) -> Any:
    """The members of an object that have changed, of theirs likewise; null stands for one that is gone, and what is no
    object comes whole. An empty object where nothing has changed, and `now` where there was none before."""
    if not isinstance(before, dict) or not isinstance(now, dict):
        return now
    changed = {}
    for name, value in now.items():
        if name not in before:
            changed[name] = value
        elif value != before[name]:
            changed[name] = changes(before[name], value)
    for name in before:
        if name not in now:
            changed[name] = None
    return changed


def search_changes(before: dict | None, now: dict) -> dict:
    """How far a search is, with those of its finds that are new."""
    found = now["foundDevices"]
    known = [] if before is None else before["foundDevices"]
    if len(found) < len(known):  # another search has begun
        known = []
    return dict(now, foundDevices=[device for device in found if device not in known])
