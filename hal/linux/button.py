"""A push button on a GPIO line."""

import asyncio

from hal.contracts import Button
from hal.debounce import Debounce
from hal.fields import Object
from hal.linux.gpio.lines import LINE_FIELDS, Pin, PinFailed, check_line, edge_pin
from hal.runtime import log, now_ms
from hal.runtime.annotations import Callable
from hal.runtime.logs import INFO
from hal.service import Pauses


class GpioButton(Button):
    """The button on a GPIO line; a line that somebody else holds is tried again."""

    OPTIONS = Object(*LINE_FIELDS)

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_ms):
        super().__init__()
        check_line("button", options)
        self._options = options
        self._clock = clock
        self._pin: Pin | None = None
        self._debounce = Debounce(False)
        self._timer: asyncio.TimerHandle | None = None
        self._retrying: asyncio.Task | None = None

    async def start(self) -> None:
        """Listen to the line from now on, or as soon as it can be had."""
        try:
            self._listen()
        except PinFailed as exc:
            self._fail(exc)

    async def stop(self) -> None:
        """Give the line back."""
        await super().stop()
        self._retrying = None
        self._let_go()

    async def probe(self) -> str:
        """The line and its level."""
        try:
            pin = self._pin or edge_pin(self._options)
            try:
                return f"GPIO line {self._options['line']}, {'pressed' if pin.is_active() else 'not pressed'}"
            finally:
                if pin is not self._pin:
                    pin.release()
        except OSError as exc:
            raise PinFailed(f"GPIO line {self._options['line']} fails: {exc}") from exc

    def _listen(self) -> None:
        pin = edge_pin(self._options)
        try:
            self._debounce = Debounce(pin.is_active())
        except OSError as exc:
            pin.release()
            raise PinFailed(f"GPIO line {self._options['line']} fails: {exc}") from exc
        self._pin = pin
        asyncio.get_running_loop().add_reader(pin.fileno(), self._hear)

    def _hear(self) -> None:
        assert self._pin is not None
        try:
            edges = self._pin.edges()
        except OSError as exc:
            self._let_go()
            self._fail(exc)
            return
        for at, pressed in edges:
            if self._debounce.edge(at, pressed):
                self._press()
        self._await_settling()

    def _settle(self) -> None:
        # The loop calls readers before timers, so all edges up to now have been heard.
        self._timer = None
        if self._debounce.settle(self._clock()):
            self._press()
        self._await_settling()

    def _await_settling(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._debounce.due()
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(due - self._clock(), 1) / 1000, self._settle)

    def _press(self) -> None:
        if self.on_press is not None:
            self.on_press()

    def _let_go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pin, self._pin = self._pin, None
        if pin is not None:
            asyncio.get_running_loop().remove_reader(pin.fileno())
            pin.release()

    def _fail(self, exc: Exception) -> None:
        log(f"button: {exc}")
        if self._retrying is None:
            self._retrying = self.spawn(self._retry())

    async def _retry(self) -> None:
        pauses = Pauses()
        while True:
            await asyncio.sleep(pauses.next())
            try:
                self._listen()
            except PinFailed:
                continue
            log("button: GPIO line found again", INFO)
            self._retrying = None
            return
