"""The front-panel button: a press lets everybody in for some minutes."""

from hal.runtime import log, now_ms
from hal.runtime.annotations import Callable
from hal.runtime.logs import INFO


class ButtonAccess:
    """Counts the time since the last press, which the board's part tells of by `press`."""

    def __init__(self, minutes: int, clock: Callable[[], int] = now_ms):
        self._seconds = minutes * 60
        self._clock = clock
        self._until: int | None = None

    def press(self) -> None:
        """The button was pressed: the time begins anew."""
        self._until = self._clock() + self._seconds * 1000
        log(f"button: access without login for {self._seconds // 60} min", INFO)

    def seconds_left(self) -> int:
        """Whole seconds for which guests have level 1, 0 when they have not."""
        if self._until is None:
            return 0
        left = self._until - self._clock()
        return left // 1000 + 1 if left > 0 else 0
