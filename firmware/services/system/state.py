"""The device's current state, by key."""

import asyncio

from hal.contracts import PartError
from hal.runtime import in_time, log_exception
from hal.service import Trouble

SOURCE_SEC = 3.0  # for a service to tell its state


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
                values[key] = await in_time(value, SOURCE_SEC) if hasattr(value, "send") else value
            except asyncio.TimeoutError:
                values[key] = None
                self._troubles[key].tell(f"no answer within {SOURCE_SEC:g} s")
            except (PartError, OSError) as exc:
                values[key] = None
                self._troubles[key].tell(str(exc))
            except Exception as exc:
                values[key] = None
                if self._troubles[key].tell(str(exc)):
                    log_exception(exc)
        return values
