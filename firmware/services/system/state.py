"""The device's current state, by key."""

from hal.contracts import PartError
from hal.runtime import log_exception
from hal.service import Trouble


class State:
    """Asks for each key the service that knows it, and only for the keys that are wanted.

    `sources` is key -> function without arguments, plain or async, that gives the key's value.
    """

    def __init__(self, sources: dict):
        self._sources = sources
        self._troubles = {key: Trouble(f"state {key}") for key in sources}

    async def get(self, keys) -> dict:
        """Key -> value; a part that the board lacks, or that fails, is null."""
        values = {}
        for key in keys:
            try:
                value = self._sources[key]()
                values[key] = await value if hasattr(value, "send") else value
            except (PartError, OSError) as exc:
                values[key] = None
                self._troubles[key].tell(str(exc))
            except Exception as exc:
                values[key] = None
                if self._troubles[key].tell(str(exc)):
                    log_exception(exc)
        return values
