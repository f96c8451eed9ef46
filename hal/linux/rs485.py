"""An RS-485 port on a tty: pyserial opens it, pymodbus carries the bytes and makes the frames.

This is the one module of the firmware that imports pymodbus's client side. Its transaction manager is not used: it
hands late answers to the next question (hal/rs485.py does the matching).
"""

import asyncio
import termios

import serial
from pymodbus.framer.ascii import FramerAscii
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.transport.serialtransport import SerialTransport

from hal.fields import Field, Object, Text
from hal.framing import ASCII, Line
from hal.rs485 import PortFailed, Rs485Port
from hal.runtime import monotonic

_DECODER = DecodePDU(False)
_RTU = FramerRTU(_DECODER)
_ASCII = FramerAscii(_DECODER)


class _Receiver(asyncio.Protocol):
    """Passes on what pymodbus's serial transport tells."""

    def __init__(self, port: "TtyPort"):
        self._port = port

    def data_received(self, data: bytes) -> None:
        self._port._received(data)

    def connection_lost(self, exc: "Exception | None") -> None:
        self._port._lost(str(exc or "closed"))


class TtyPort(Rs485Port):
    """An RS-485 port on a tty whose adapter turns the line round by itself."""

    OPTIONS = Object(Field("port", Text(255, 1), help="path of the tty, best one from /dev/serial/by-id"))

    def __init__(self, options: dict, state_dir: str, clock=monotonic):
        super().__init__(clock)
        self.path = options["port"]
        self._transport: SerialTransport | None = None

    def tty_settings(self, line: Line) -> dict:
        """pyserial's names for a line's settings."""
        return {
            "baudrate": line.baud_rate,
            "bytesize": line.data_bits,
            "parity": line.parity,
            "stopbits": line.stop_bits,
        }

    async def _open(self, line: Line) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport = SerialTransport(loop, _Receiver(self), self.path, timeout=0, **self.tty_settings(line))
        except (OSError, ValueError, termios.error) as exc:
            raise PortFailed(f"cannot open {self.path}: {exc}") from exc
        self._transport = transport
        transport.setup()

    async def _apply(self, line: Line) -> None:
        assert self._transport is not None
        try:
            self._transport.sync_serial.apply_settings(self.tty_settings(line))
        except (OSError, ValueError, termios.error) as exc:
            if isinstance(exc, serial.SerialException):
                self._lost(str(exc))
            raise PortFailed(f"{self.path} refuses {line.baud_rate} bit/s, format {line.char_format}: {exc}") from exc

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
            self._transport.intern_write_ready()  # now, not in the loop's next turn: the silence is over

    def _encode(self, frame_mode: int, uid: int, pdu: bytes) -> bytes:
        return (_ASCII if frame_mode == ASCII else _RTU).encode(pdu, uid, 0)

    def _crc(self, data: bytes) -> bytes:
        return FramerRTU.compute_CRC(data).to_bytes(2, "big")

    def _lrc(self, data: bytes) -> bytes:
        return bytes([FramerAscii.compute_LRC(data)])
