"""The state key `system`."""

from firmware.services.problems import Problems
from hal.contracts import System
from hal.runtime import monotonic
from hal.runtime.annotations import Callable


class SystemState:
    """`unexpected()` counts unexpected errors since the start."""

    def __init__(
        self,
        system: System,
        problems: Problems,
        started: float,
        unexpected: Callable[[], int],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._system = system
        self._problems = problems
        self._started = started
        self._unexpected = unexpected
        self._clock = clock

    def get(self) -> dict:
        """{"uptimeSec", "startReason", "memFree", "cpuTempC", "errors": list of texts}."""
        errors = self._problems.texts()
        count = self._unexpected()
        if count:
            errors.append(f"{count} unexpected errors since start; the log has them")
        return {
            "uptimeSec": int(self._clock() - self._started),
            "startReason": self._system.start_reason(),
            "memFree": self._system.memory_free(),
            "cpuTempC": self._system.cpu_temperature(),
            "errors": errors,
        }
