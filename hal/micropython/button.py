"""A push button on a pin."""

import asyncio

from hal.contracts import Button
from hal.debounce import Debounce
from hal.fields import Boolean, Field, Integer, Object
from hal.runtime import now_ms
from hal.runtime.annotations import Any

_EDGES_KEPT = 64  # between two looks; of more the last one counts, for its level stays
_LOOK_SEC = 0.05


class PinButton(Button):
    """The button on a pin whose edges interrupt, so that none is missed; what they mean is looked at now and then.

    asyncio.ThreadSafeFlag would wake the loop at once, but what a port polls beside its sockets, it polls all the time.
    """

    OPTIONS = Object(
        Field("pin", Integer(0, 255), help="number of the pin"),
        Field("activeLow", Boolean(), True, help="whether the pin is low while the button is pressed"),
        Field("pull", Boolean(), True, help="whether the board has no resistor of its own that pulls the pin"),
    )

    def __init__(self, options: dict, state_dir: str, clock: Any = now_ms):
        import machine  # here, so that what the driver takes can be told where there is none

        super().__init__()
        self._kind = machine.Pin
        self._options = options
        self._clock = clock
        self._pin: Any = None
        self._edges: list = []  # (millisecond, whether it was pressed then)

    async def start(self) -> None:
        """Listen to the pin from now on."""
        kind, pull = self._kind, None
        if self._options["pull"]:
            pull = kind.PULL_UP if self._options["activeLow"] else kind.PULL_DOWN
        self._pin = (
            kind(self._options["pin"], kind.IN, pull) if pull is not None else kind(self._options["pin"], kind.IN)
        )
        self._pin.irq(self._interrupt, kind.IRQ_RISING | kind.IRQ_FALLING)
        self.keep_running(self._watch(Debounce(self._is_pressed())))

    async def stop(self) -> None:
        """Listen no more."""
        await super().stop()
        if self._pin is not None:
            self._pin.irq(None)
            self._pin = None

    async def probe(self) -> str:
        """The pin and its level."""
        if self._pin is None:
            await self.start()
        return f"pin {self._options['pin']}, {'pressed' if self._is_pressed() else 'not pressed'}"

    def _is_pressed(self) -> bool:
        return bool(self._pin.value()) is not self._options["activeLow"]

    def _interrupt(self, pin: Any) -> None:
        if len(self._edges) == _EDGES_KEPT:
            self._edges.pop()
        self._edges.append((self._clock(), self._is_pressed()))

    async def _watch(self, debounce: Debounce) -> None:
        while True:
            await asyncio.sleep(_LOOK_SEC)
            edges = self._edges
            self._edges = []  # what interrupts before this line is among `edges`
            for at, pressed in edges:
                if debounce.edge(at, pressed):
                    self._press()
            if debounce.settle(self._clock()):
                self._press()

    def _press(self) -> None:
        if self.on_press is not None:
            self.on_press()
