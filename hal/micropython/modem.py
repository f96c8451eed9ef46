"""A GSM modem on a UART of the board: hal/gsm speaks to it."""

import asyncio

from hal.contracts import NoModem
from hal.fields import Field, Integer, Object
from hal.gsm.at import AtPort
from hal.gsm.modem import GsmModem
from hal.micropython.uart import hear
from hal.runtime import now_ms, run_task
from hal.runtime.annotations import Any, Callable

_BUFFER = 1024  # bytes each way: the longest command is a message of 10 parts, sent one by one


class UartAtPort(AtPort):
    """AT commands on a UART."""

    def __init__(self, uart: Any, unsolicited: Callable[[str], None], gone: Callable[[], None]):
        super().__init__(unsolicited, gone)
        self._uart = uart
        self._hearing = run_task(self._hear())

    async def _hear(self) -> None:
        try:
            await hear(self._uart, self._received)
        except OSError:
            self._vanish()

    def _send(self, data: bytes) -> None:
        self._uart.write(data)

    def _release(self) -> None:
        if self._hearing is not asyncio.current_task():
            self._hearing.cancel()
        self._uart.deinit()


class UartModem(GsmModem):
    """A modem on a UART that takes AT commands. It cannot be told from one that is switched off."""

    OPTIONS = Object(
        Field("uart", Integer(0, 15), help="number of the UART, another one than that of the line"),
        Field("tx", Integer(0, 255), help="number of the pin on which it sends"),
        Field("rx", Integer(0, 255), help="number of the pin on which it hears"),
        Field("baudRate", Integer(1200, 921600), 115200, unit="bit/s"),
    )

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_ms):
        import machine  # here, so that what the driver takes can be told where there is none

        super().__init__(state_dir, clock)
        self._machine = machine
        self._options = options

    def _open(self, unsolicited: Callable[[str], None], gone: Callable[[], None]) -> AtPort:
        options = self._options
        pins = {"tx": options["tx"], "rx": options["rx"], "txbuf": _BUFFER, "rxbuf": _BUFFER}
        try:
            uart = self._machine.UART(options["uart"], baudrate=options["baudRate"], **pins)
        except (OSError, ValueError) as exc:
            raise NoModem(f"the modem's UART {options['uart']} cannot be opened: {exc}") from exc
        return UartAtPort(uart, unsolicited, gone)
