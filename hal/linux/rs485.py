"""An RS-485 port on a tty: pyserial opens it and sets its format, bytes go straight to its descriptor and from it.

pymodbus's client side is not used: its transaction manager hands late answers to the next question (hal/rs485/port.py
does the matching), its transport asks the tty several times for each byte, and importing it costs megabytes.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import termios

import serial

from hal.contracts import PartError
from hal.fields import Boolean, Choice, Field, Integer, Nullable, Object, Text
from hal.linux import serial_kernel
from hal.linux.device_node import require_tty, why
from hal.linux.gpio.lines import LINE_FIELDS, Pin, check_line, output_pin
from hal.rs485.framing import Line
from hal.rs485.port import PortFailed, Rs485Port
from hal.runtime import log, now_us
from hal.runtime.annotations import Callable

_PARITIES = {"N": "no", "E": "even", "O": "odd", "S": "space"}
_READ_SIZE = 4096  # bytes, what a tty holds
_DRAIN_LIMIT = 0.1  # seconds beyond the time on the wire that a frame may take to leave
_DRAIN_POLL = 0.0001  # seconds, the shortest pause between looks at whether it has left


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
        self._tty: serial.Serial | None = None
        self._descriptor = -1  # of the open tty
        self._is_unverified = False  # whether the log tells that the settings cannot be read back
        self._wake_at: serial_kernel.WakeAt | None = None
        self._mute: Callable[[int, float], None] | None = None
        self._shorten_turns: Callable[[bool], None] | None = None
        self._pin: Pin | None = None
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
        settings = self._termios_settings(line)
        try:
            self._tty = serial.serial_for_url(self.path, exclusive=True, timeout=0, write_timeout=0, **settings)
            self._descriptor = self._tty.fileno()
            self._prepare(self._descriptor)
            self._check(settings)
        except (OSError, ValueError, termios.error, PartError) as exc:
            raise PortFailed(f"cannot open {self.path}: {_reason(exc, settings)}") from exc
        loop = asyncio.get_running_loop()
        loop.add_reader(self._descriptor, self._read)
        self._mute = getattr(loop, "mute", None)  # the device's own loop has it, and this
        self._shorten_turns = getattr(loop, "shorten_turns", None)

    def _prepare(self, descriptor: int) -> None:
        """What is set once, when the port has been opened."""
        fcntl.ioctl(descriptor, termios.TIOCEXCL)  # keeps out those too who do not ask for a lock
        direction = self._options["direction"]
        if direction == "kernel":
            before, after = self._options["delayBeforeMs"], self._options["delayAfterMs"]
            serial_kernel.turn_round_by_kernel(descriptor, self._options["sendHigh"], before, after)
        if direction == "gpio":
            self._pin = output_pin(self._options["directionLine"])
        if self._options["lowLatency"]:
            serial_kernel.lower_latency(descriptor)

    def _termios_settings(self, line: Line) -> dict:
        """The settings to ask the driver for: mark parity as a second stop bit, which is the same on the wire."""
        settings = self.tty_settings(line)
        if settings["parity"] == "M":
            settings.update(parity="N", stopbits=2)
        return settings

    async def _apply(self, line: Line) -> None:
        tty = self._tty
        assert tty is not None
        before = tty.get_settings()
        settings = self._termios_settings(line)
        try:
            tty.apply_settings(settings)
            self._check(settings)
        except (OSError, ValueError, termios.error) as exc:
            if isinstance(exc, serial.SerialException):
                self._lost(str(exc))
            else:
                self._restore(tty, before)
            asked = f"{line.baud_rate} bit/s, format {line.char_format}"
            raise PortFailed(f"{self.path} refuses {asked}: {_reason(exc, settings)}") from exc

    def _restore(self, tty: serial.Serial, settings: dict) -> None:
        try:
            tty.apply_settings(settings)
            self._wake_at = serial_kernel.WakeAt(self._descriptor)
        except (OSError, ValueError, termios.error) as exc:
            self._lost(f"its settings cannot be restored: {exc}")

    def _check(self, settings: dict) -> None:
        """ValueError where the driver runs the line otherwise than it was told."""
        fields = settings["baudrate"], settings["bytesize"], settings["parity"], settings["stopbits"]
        if not serial_kernel.check_settings(self._descriptor, *fields) and not self._is_unverified:
            self._is_unverified = True
            log("rs485: the kernel does not tell what it has set; rate and format are not verified")
        self._wake_at = serial_kernel.WakeAt(self._descriptor)

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
        tty, self._tty = self._tty, None
        if tty is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            with contextlib.suppress(OSError):  # the tty may be gone
                fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
            tty.close()

    def _write(self, data: bytes) -> None:
        if self._tty is None:
            return
        if self._releasing is not None:
            self._releasing.cancel()
        try:
            if self._pin is not None:
                self._pin.drive(True)
            if os.write(self._descriptor, data) < len(data):
                raise OSError("it takes no whole frame")
        except OSError as exc:
            self._lost(str(exc))
            return
        if self._pin is not None:
            assert self.line is not None
            wire_time = len(data) * self.line.char_time
            self._releasing = self.spawn(self._release(self._pin, self._descriptor, wire_time, self.line.char_time))

    def _expect(self, count: int, pause_us: int = 0) -> None:
        if self._wake_at is not None:
            self._wake_at.set(count)
            if pause_us and self._mute is not None:
                self._mute(self._descriptor, pause_us / 1000000)

    def _goes_first(self, first: bool) -> None:
        if self._shorten_turns is not None:
            self._shorten_turns(first)

    def _read(self) -> None:
        """Bytes have come, or the tty has gone."""
        try:
            data = os.read(self._descriptor, _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as exc:
            self._lost(str(exc))
            return
        if data:
            self._received(data)
        else:
            self._lost("hung up")

    def _poll(self) -> None:
        if self._tty is not None and serial_kernel.has_come(self._descriptor):
            self._read()

    async def _release(self, pin: Pin, descriptor: int, wire_time: float, char_time: float) -> None:
        """Take the pin back as soon as the last bit has left."""
        deadline = self._now() + int((wire_time + _DRAIN_LIMIT) * 1000000)
        await asyncio.sleep(wire_time)
        try:
            while not serial_kernel.has_left(descriptor):
                if self._now() > deadline:
                    log("rs485: a frame does not leave the port")
                    break
                await asyncio.sleep(max(char_time / 4, _DRAIN_POLL))
            pin.drive(False)
        except OSError as exc:
            self._lost(str(exc))


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
