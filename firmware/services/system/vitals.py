"""The state key `system`."""

from firmware.services.problems import Problems
from hal.contracts import System
from hal.runtime import now_ms
from hal.runtime.annotations import Callable
from hal.runtime.memory import MEMORY


class SystemState:
    """`unexpected()` counts unexpected errors since the start."""

    def __init__(
        self,
        system: System,
        problems: Problems,
        started: int,
        unexpected: Callable[[], int],
        clock: Callable[[], int] = now_ms,
    ) -> None:
        self._system = system
        self._problems = problems
        self._started = started
        self._unexpected = unexpected
        self._clock = clock

    def get(self) -> dict:
        """{"uptimeSec", "startReason", "memFree", "memShortages", "cpuTempC", "errors": list of texts}."""
        errors = self._problems.texts()
        count = self._unexpected()
        if count:
            errors.append(f"{count} unexpected errors since start; the log has them")
        return {
            "uptimeSec": (self._clock() - self._started) // 1000,
            "startReason": self._system.start_reason(),
            "memFree": self._system.memory_free(),
            "memShortages": MEMORY.shortages,
            "cpuTempC": self._system.cpu_temperature(),
            "errors": errors,
        }
