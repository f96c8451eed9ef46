"""When there is no room."""

from hal.contracts import PartError, UpdateRefused

NO_SPACE = 28  # ENOSPC, on all systems


def not_stored(what: str, exc: OSError) -> PartError:
    """What to raise where `what` could not be written: it is too large where the medium is full."""
    if exc.args[0] == NO_SPACE:
        return UpdateRefused("UPDATE_TOO_LARGE", f"{what} cannot be stored: no room is left")
    return PartError(f"{what} cannot be stored: {exc}")
