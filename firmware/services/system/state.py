"""The device's current state, by key."""

import asyncio

from firmware.services.errors import Refused
from hal.contracts import PartError
from hal.runtime import in_time, log_exception
from hal.runtime.annotations import Any, Callable
from hal.service import Trouble

SOURCE_SEC = 3.0  # for a service to tell its state

_NAME_SHOWN = 40  # characters of an unknown key that an error repeats


class State:
    """Asks for each key the service that knows it, and only for the keys that are wanted.

    `sources` is key -> function without arguments, plain or async, that gives the key's value.
    """

    def __init__(self, sources: dict[str, Callable[[], Any]]):
        self._sources = sources
        self._troubles = {key: Trouble(f"state {key}") for key in sources}

    def names(self) -> list[str]:
        """All keys."""
        return list(self._sources)

    def check_keys(self, keys: list[str], others: tuple = ()) -> None:
        """Refused UNKNOWN_KEY for one that is none; `others` are known to who asks."""
        for key in keys:
            if key not in self._sources:
                known = ", ".join(list(self._sources) + list(others))
                raise Refused("UNKNOWN_KEY", f"no such state key: {key[:_NAME_SHOWN]}; known are {known}")

    async def get(self, keys: list[str]) -> dict:
        """Key -> value, of all keys without any; what the board lacks, or what fails, is null. Refused UNKNOWN_KEY."""
        self.check_keys(keys)
        values = {}
        for key in keys or self._sources:
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
