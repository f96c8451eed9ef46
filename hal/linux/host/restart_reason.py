"""Why the device has restarted, kept in the state folder from before the restart until after it."""

import os

from hal.small_file import make_way, read_whole, write_whole

_FILE = "restart-reason"
_LONGEST = 32


def keep_reason(state_dir: str, reason: str) -> None:
    """Note the reason, on the medium when this returns. OSError."""
    write_whole(os.path.join(state_dir, _FILE), reason)


def take_reason(state_dir: str) -> str:
    """The reason that was noted, and note it no more; POWER_ON where there is none, or nothing that can be read."""
    path = os.path.join(state_dir, _FILE)
    try:
        reason = read_whole(path)[:_LONGEST]
    except (OSError, ValueError):
        reason = None
    try:
        make_way(path)
        os.unlink(path)
    except OSError:
        pass  # there was none, or it cannot be removed: then the next one takes its place
    return reason or "POWER_ON"
