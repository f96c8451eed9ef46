"""The device's current state, by key."""

from hal.contracts import PartError
from hal.runtime import log, log_exception


class State:
    """Asks for each key the service that knows it, and only for the keys that are wanted.

    `sources` is key -> function without arguments, plain or async, that gives the key's value.
    """

    def __init__(self, sources: dict):
        self._sources = sources
        self._told: dict = {}  # key -> the last failure logged

    async def get(self, keys) -> dict:
        """Key -> value; a part that the board lacks, or that fails, is null."""
        values = {}
        for key in keys:
            try:
                value = self._sources[key]()
                values[key] = await value if hasattr(value, "send") else value
            except (PartError, OSError) as exc:
                values[key] = None
                self._tell(key, str(exc))
            except Exception as exc:
                values[key] = None
                if self._told.get(key) != str(exc):
                    log_exception(exc)
                self._tell(key, str(exc))
        return values

    def _tell(self, key: str, failure: str) -> None:
        """Log a failure once, not at every look."""
        if self._told.get(key) != failure:
            self._told[key] = failure
            log(f"state {key}: {failure}")
