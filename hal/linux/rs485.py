"""An RS-485 port on a tty: pyserial opens it, pymodbus carries the bytes and makes the frames.

This is the one module of the firmware that imports pymodbus's client side. Its transaction manager is not used: it
hands late answers to the next question (hal/rs485/port.py does the matching).
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import termios

import serial
from pymodbus.framer.ascii import FramerAscii
from pymodbus.framer.rtu import FramerRTU
from pymodbus.pdu import DecodePDU
from pymodbus.transport.serialtransport import SerialTransport

from hal.contracts import PartError
from hal.fields import Boolean, Choice, Field, Integer, Nullable, Object, Text
from hal.linux import serial_kernel
from hal.linux.device_node import require_tty, why
from hal.linux.gpio import LINE_FIELDS, OutputPin, check_line
from hal.rs485.framing import ASCII, Line
from hal.rs485.port import PortFailed, Rs485Port
from hal.runtime import log, now_us
from hal.runtime.annotations import Callable

_DECODER = DecodePDU(False)
_RTU = FramerRTU(_DECODER)
_ASCII = FramerAscii(_DECODER)

_PARITIES = {"N": "no", "E": "even", "O": "odd", "S": "space"}
_DRAIN_LIMIT = 0.1  # seconds beyond the time on the wire that a frame may take to leave
_DRAIN_POLL = 0.0001  # seconds, the shortest pause between looks at whether it has left


class _Receiver(asyncio.Protocol):
    """Passes on what pymodbus's serial transport tells."""

    def __init__(self, port: "TtyPort"):
        self._port = port

    def data_received(self, data: bytes) -> None:
        self._port._received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._port._lost(str(exc or "closed"))


def _direction_rule(options: dict) -> list[str]:
    problems = []
    if options["direction"] == "gpio" and options["directionLine"] is None:
        problems.append('directionLine: is missing; the direction "gpio" needs it')
    if options["direction"] != "gpio" and options["directionLine"] is not None:
        problems.append('directionLine: belongs to the direction "gpio" and to no other')
    if options["direction"] != "kernel" and (options["delayBeforeMs"] or options["delayAfterMs"]):
        problems.append('delayBeforeMs, delayAfterMs: belong to the direction "kernel"')
    return problems


class TtyPort(Rs485Port):
    """An RS-485 port on a tty. An adapter that can be plugged in may come later, by its /dev/serial path anywhere.

    Who turns the line round is `direction`: "none", the adapter does; "kernel", the UART's driver does with RTS;
    "gpio", a pin does that goes active before a frame and inactive when its last bit has left. The serial library
    never does: a write may be split, and the pin would drop in the middle of a frame.
    """

    OPTIONS = Object(
        Field("port", Text(255, 1), help="path of the tty, best one from /dev/serial/by-id"),
        Field("direction", Choice("none", "kernel", "gpio"), "none", help="who switches between sending and hearing"),
        Field("sendHigh", Boolean(), True, help='"kernel": whether RTS is high while sending'),
        Field("delayBeforeMs", Integer(0, 100), 0, help='"kernel": from RTS to the first bit'),
        Field("delayAfterMs", Integer(0, 100), 0, help='"kernel": from the last bit to RTS'),
        Field("directionLine", Nullable(Object(*LINE_FIELDS)), None, help='"gpio": the line, active while sending'),
        Field("lowLatency", Boolean(), True, help="have USB adapters hand over bytes at once, where they can"),
        rule=_direction_rule,
    )

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_us):
        super().__init__(clock)
        self.path = options["port"]
        self._options = options
        self._transport: SerialTransport | None = None
        self._pin: OutputPin | None = None
        self._releasing: asyncio.Task | None = None
        require_tty("rs485.port", self.path)
        if options["direction"] == "gpio":
            check_line("rs485.directionLine", options["directionLine"])

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
        settings = self._termios_settings(line)
        try:
            transport = SerialTransport(loop, _Receiver(self), self.path, timeout=0, **settings)
            self._transport = transport
            self._prepare(transport.sync_serial.fileno())
            _check(transport, settings)
        except (OSError, ValueError, termios.error, PartError) as exc:
            raise PortFailed(f"cannot open {self.path}: {_reason(exc, settings)}") from exc
        transport.setup()

    def _prepare(self, descriptor: int) -> None:
        """What is set once, when the port has been opened."""
        fcntl.ioctl(descriptor, termios.TIOCEXCL)  # keeps out those too who do not ask for a lock
        direction = self._options["direction"]
        if direction == "kernel":
            before, after = self._options["delayBeforeMs"], self._options["delayAfterMs"]
            serial_kernel.turn_round_by_kernel(descriptor, self._options["sendHigh"], before, after)
        if direction == "gpio":
            self._pin = OutputPin(self._options["directionLine"])
        if self._options["lowLatency"]:
            serial_kernel.lower_latency(descriptor)

    def _termios_settings(self, line: Line) -> dict:
        """The settings to ask the driver for: mark parity as a second stop bit, which is the same on the wire."""
        settings = self.tty_settings(line)
        if settings["parity"] == "M":
            settings.update(parity="N", stopbits=2)
        return settings

    async def _apply(self, line: Line) -> None:
        transport = self._transport
        assert transport is not None
        before = transport.sync_serial.get_settings()
        settings = self._termios_settings(line)
        try:
            transport.sync_serial.apply_settings(settings)
            _check(transport, settings)
        except (OSError, ValueError, termios.error) as exc:
            if isinstance(exc, serial.SerialException):
                self._lost(str(exc))
            else:
                self._restore(transport, before)
            asked = f"{line.baud_rate} bit/s, format {line.char_format}"
            raise PortFailed(f"{self.path} refuses {asked}: {_reason(exc, settings)}") from exc

    def _restore(self, transport: SerialTransport, settings: dict) -> None:
        try:
            transport.sync_serial.apply_settings(settings)
        except (OSError, ValueError, termios.error) as exc:
            self._lost(f"its settings cannot be restored: {exc}")

    def _close(self) -> None:
        if self._releasing is not None:
            self._releasing.cancel()
            self._releasing = None
        pin, self._pin = self._pin, None
        if pin is not None:
            try:
                pin.release()
            except OSError as exc:
                log(f"rs485: the direction pin fails: {exc}")
        transport, self._transport = self._transport, None
        if transport is not None and transport.sync_serial is not None:  # it has none when it has closed itself
            with contextlib.suppress(OSError):  # the tty may be gone
                fcntl.ioctl(transport.sync_serial.fileno(), termios.TIOCNXCL)
            transport.close()

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._pin is None:
            self._transport.write(data)
            self._transport.intern_write_ready()  # now, not in the loop's next turn: the silence is over
            return
        assert self.line is not None
        descriptor = self._transport.sync_serial.fileno()
        if self._releasing is not None:
            self._releasing.cancel()
        try:
            self._pin.drive(True)
            if os.write(descriptor, data) < len(data):
                raise OSError("it takes no whole frame")
        except OSError as exc:
            self._lost(str(exc))
            return
        wire_time = len(data) * self.line.char_time
        self._releasing = self.spawn(self._release(self._pin, descriptor, wire_time, self.line.char_time))

    def _poll(self) -> None:
        transport = self._transport
        if transport is None:
            return
        with contextlib.suppress(OSError):  # the tty may be gone: the event loop tells
            if transport.sync_serial.in_waiting:
                transport.intern_read_ready()

    async def _release(self, pin: OutputPin, descriptor: int, wire_time: float, char_time: float) -> None:
        """Take the pin back as soon as the last bit has left."""
        deadline = self._clock() + int((wire_time + _DRAIN_LIMIT) * 1000000)
        await asyncio.sleep(wire_time)
        try:
            while not serial_kernel.has_left(descriptor):
                if self._clock() > deadline:
                    log("rs485: a frame does not leave the port")
                    break
                await asyncio.sleep(max(char_time / 4, _DRAIN_POLL))
            pin.drive(False)
        except OSError as exc:
            self._lost(str(exc))

    def _encode(self, frame_mode: int, uid: int, pdu: bytes) -> bytes:
        return (_ASCII if frame_mode == ASCII else _RTU).encode(pdu, uid, 0)

    def _crc(self, data: bytes) -> bytes:
        return FramerRTU.compute_CRC(data).to_bytes(2, "big")

    def _lrc(self, data: bytes) -> bytes:
        return bytes([FramerAscii.compute_LRC(data)])


def _reason(exc: Exception, settings: dict) -> str:
    """Why a tty does not run as it was told. One that lacks a parity or a width says no more than that the argument is
    invalid."""
    number = exc.args[0] if isinstance(exc, termios.error) and exc.args else getattr(exc, "errno", None)
    if number != errno.EINVAL:
        return why(exc)
    bits, parity = settings["bytesize"], _PARITIES[settings["parity"]]
    if (bits, parity) == (8, "no"):
        return f"the hardware does not run at {settings['baudrate']} bit/s"
    return f"the hardware has no characters of {bits} bits with {parity} parity"


def _check(transport: SerialTransport, settings: dict) -> None:
    """ValueError where the driver runs the line otherwise than it was told."""
    serial_kernel.check_settings(
        transport.sync_serial.fileno(),
        settings["baudrate"],
        settings["bytesize"],
        settings["parity"],
        settings["stopbits"],
    )
