"""An RS-485 port on a UART of the board."""

import asyncio

from hal.fields import Boolean, Choice, Field, Integer, Nullable, Object
from hal.micropython.uart import hear, take
from hal.rs485.framing import Line
from hal.rs485.port import PortFailed, Rs485Port
from hal.runtime import log, now_us
from hal.runtime.annotations import Any
from hal.runtime.memory import MEMORY

SEND_BUFFER = 520  # bytes: a whole ASCII frame, so that writing never waits
RECEIVE_BUFFER = 1024
PIECE_LIMIT = 4  # bytes that UARTs hand over together, as an RP2's does; more were waiting for the event loop

_PARITIES = {"N": None, "E": 0, "O": 1}
_DRAIN_LIMIT_US = 100000  # beyond the time on the wire that a frame may take to leave


def _direction_rule(options: dict) -> list[str]:
    if (options["direction"] == "pin") is (options["directionPin"] is not None):
        return []
    return ['directionPin: belongs to the direction "pin" and to no other, which needs it']


class UartPort(Rs485Port):
    """An RS-485 port on a UART.

    Who turns the line round is `direction`: "none", the transceiver does; "pin", a pin does that goes active before a
    frame and inactive when its last bit has left. No port of MicroPython has a UART that does it by itself.
    """

    OPTIONS = Object(
        Field("uart", Integer(0, 15), help="number of the UART"),
        Field("tx", Integer(0, 255), help="number of the pin on which it sends"),
        Field("rx", Integer(0, 255), help="number of the pin on which it hears"),
        Field("direction", Choice("none", "pin"), "none", help="who switches between sending and hearing"),
        Field("directionPin", Nullable(Integer(0, 255)), None, help='"pin": its number'),
        Field("sendHigh", Boolean(), True, help='"pin": whether it is high while sending'),
        Field(
            "lowestRate",
            Integer(1, 9600),
            75,
            unit="bit/s",
            help="the lowest rate that the UART's clock can be divided to",
        ),
        rule=_direction_rule,
    )

    def __init__(self, options: dict, state_dir: str, clock: Any = now_us):
        import machine  # here, so that what the driver takes can be told where there is none

        super().__init__(clock)
        self._machine = machine
        self._options = options
        self._uart: Any = None
        self._pin: Any = None
        self._hearing: asyncio.Task | None = None
        self._releasing: asyncio.Task | None = None
        self._lacking = 1  # bytes that make it worth to look again
        self._piece = 1  # bytes that came together when they were waited for
        self._rested = False  # whether what comes next was not waited for

    async def _open(self, line: Line) -> None:
        options = self._options
        if options["directionPin"] is not None:
            pin = self._machine.Pin
            self._pin = pin(options["directionPin"], pin.OUT, value=not options["sendHigh"])
        try:
            self._uart = self._machine.UART(options["uart"], **self._settings(line))
        except (OSError, ValueError) as exc:
            raise PortFailed(f"UART {options['uart']} cannot be opened: {exc}") from exc
        self._hearing = self.spawn(self._hear(self._uart))

    def _settings(self, line: Line) -> dict:
        """What UART() takes: mark parity is a second stop bit, which is the same on the wire. ValueError."""
        options = self._options
        if line.baud_rate < options["lowestRate"]:
            raise ValueError(f"it runs at {options['lowestRate']} bit/s and above")
        if line.parity == "S":
            raise ValueError("it has no space parity")
        parity, stop_bits = (None, 2) if line.parity == "M" else (_PARITIES[line.parity], line.stop_bits)
        return {
            "baudrate": line.baud_rate,
            "bits": line.data_bits,
            "parity": parity,
            "stop": stop_bits,
            "tx": options["tx"],
            "rx": options["rx"],
            "txbuf": SEND_BUFFER,
            "rxbuf": RECEIVE_BUFFER,
        }

    async def _apply(self, line: Line) -> None:
        assert self._uart is not None and self.line is not None
        try:
            self._uart.init(**self._settings(line))
        except (OSError, ValueError) as exc:
            self._uart.init(**self._settings(self.line))
            raise PortFailed(f"the UART refuses {line.baud_rate} bit/s, format {line.char_format}: {exc}") from exc

    def _close(self) -> None:
        for task in (self._hearing, self._releasing):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        self._hearing = self._releasing = None
        self._turn_round(False)
        self._pin = None
        uart, self._uart = self._uart, None
        if uart is not None:
            uart.deinit()

    def _turn_round(self, sending: bool) -> None:
        if self._pin is not None:
            self._pin.value(sending is self._options["sendHigh"])

    async def _hear(self, uart: Any) -> None:
        try:
            await hear(uart, self._received, self._rest)
        except OSError as exc:
            self._lost(str(exc))

    def _expect(self, count: int, pause_us: int = 0) -> None:
        self._lacking = count

    def _rest(self) -> float:
        """Seconds within which what is lacking cannot have come."""
        count = self._lacking - self._piece  # the rest of a piece may be there already and not be seen
        self._rested = count > 0 and self.line is not None
        if not self._rested:
            return 0
        assert self.line is not None
        return self.line.wire_us(count) // 1000 / 1000

    def _received(self, data: bytes) -> None:
        if not self._rested:
            self._piece = min(len(data), PIECE_LIMIT)
        super()._received(data)

    def _poll(self) -> None:
        if self._uart is None:
            return
        try:
            take(self._uart, self._received)
        except OSError as exc:
            self._lost(str(exc))

    def _write(self, data: bytes) -> None:
        if self._uart is None:
            return
        if self._releasing is not None:
            self._releasing.cancel()
        self._turn_round(True)
        try:
            self._uart.write(data)
        except OSError as exc:
            self._lost(str(exc))
            return
        if self._pin is not None:
            assert self.line is not None
            self._releasing = self.spawn(self._release(self._uart, self.line.wire_us(len(data))))

    async def _release(self, uart: Any, wire_us: int) -> None:
        """Take the pin back as soon as the last bit has left."""
        try:
            await self._left(uart, wire_us)
        except MemoryError:  # the line must be let go all the same
            MEMORY.ran_out("a frame that leaves the port")
        self._turn_round(False)

    async def _left(self, uart: Any, wire_us: int) -> None:
        left = self._now() + wire_us
        await asyncio.sleep(wire_us // 1000 / 1000)
        while not uart.txdone():
            if self._now() > left + _DRAIN_LIMIT_US:
                log("rs485: a frame does not leave the port")
                break
            await asyncio.sleep(0)
