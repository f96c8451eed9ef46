"""A GSM modem on a tty of Linux: pyserial opens it, hal/gsm speaks to it."""

import asyncio
import fcntl
import os
import termios

import serial

from hal.contracts import NoModem
from hal.fields import Field, Integer, Object, Text
from hal.gsm.at import AtPort
from hal.gsm.modem import GsmModem
from hal.linux.device_node import require_tty, why
from hal.runtime import now_ms
from hal.runtime.annotations import Callable

_READ_MAX = 4096


class TtyAtPort(AtPort):
    """AT commands on a tty. NoModem where it cannot be opened."""

    def __init__(self, path: str, baud_rate: int, unsolicited: Callable[[str], None], gone: Callable[[], None]):
        super().__init__(unsolicited, gone)
        try:
            self._serial = serial.Serial(path, baud_rate, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError, termios.error) as exc:
            raise NoModem(f"the modem's port {path} cannot be opened: {why(exc)}") from exc
        self._descriptor = self._serial.fileno()
        fcntl.ioctl(self._descriptor, termios.TIOCEXCL)  # keeps out those too who do not ask for a lock
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    def _send(self, data: bytes) -> None:
        try:
            os.write(self._descriptor, data)
        except BlockingIOError:
            pass  # a modem that takes nothing will not answer either, and that is told

    def _release(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        self._serial.close()

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, _READ_MAX)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self._received(data)
        else:
            self._vanish()


class AtModem(GsmModem):
    """A modem on a tty that takes AT commands. It may be plugged in later, and be pulled out."""

    OPTIONS = Object(
        Field("port", Text(255, 1), help="path of the tty for AT commands, best one from /dev/serial/by-id"),
        Field("baudRate", Integer(1200, 4000000), 115200, help="bit/s; modems on USB do not care"),
    )

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_ms):
        super().__init__(state_dir, clock)
        self._path = options["port"]
        self._baud_rate = options["baudRate"]
        require_tty("modem.port", self._path)

    def _open(self, unsolicited: Callable[[str], None], gone: Callable[[], None]) -> AtPort:
        return TtyAtPort(self._path, self._baud_rate, unsolicited, gone)
