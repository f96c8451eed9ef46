"""What the kernel's serial layer offers beyond termios: ioctls of linux/serial.h and asm-generic/ioctls.h.

The numbers and layouts are those of x86, ARM and RISC-V.
"""

import array
import errno
import fcntl
import struct
import termios
import time

TIOCGSERIAL = 0x541E
TIOCSSERIAL = 0x541F
TIOCSERGETLSR = 0x5459
TIOCGRS485 = 0x542E
TIOCSRS485 = 0x542F
TCGETS = 0x5401
TCSETS = 0x5402
TCGETS2 = 0x802C542A

SER_RS485_ENABLED = 1
SER_RS485_RTS_ON_SEND = 2
SER_RS485_RTS_AFTER_SEND = 4

_RS485 = struct.Struct("8I")  # flags, delay before and after sending in ms, padding
_TERMIOS2 = struct.Struct("4IB19s2I")  # iflag, oflag, cflag, lflag, line, characters, input and output rate
_TERMIOS_SIZE = 36  # bytes of struct termios: four words of flags, the line discipline, 19 characters
_CHARACTERS = 17  # index of its first character
_WAKE_AT_MOST = 255  # bytes: VMIN is one
_CHEAP_SEC = 0.0002  # what setting VMIN may take: some USB adapters are told of every setting, others keep it here
_SERIAL_STRUCT_SIZE = 128  # bytes, more than struct serial_struct has on any machine
_SERIAL_FLAGS = 4  # index of its member `flags` among ints
_ASYNC_LOW_LATENCY = 1 << 13
_TIOCSER_TEMT = 1
_CMSPAR = 0o10000000000
_RATE_TOLERANCE = 0.03  # a receiver samples the tenth bit in its middle: more drift and it takes the neighbour
_UNSUPPORTED = (errno.ENOTTY, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


def turn_round_by_kernel(descriptor: int, send_high: bool, before_ms: int, after_ms: int) -> None:
    """Have the UART's driver raise RTS (or lower it) while it sends. OSError, ValueError where it cannot."""
    raw = bytearray(_RS485.size)
    levels = SER_RS485_RTS_ON_SEND | SER_RS485_RTS_AFTER_SEND
    wanted = SER_RS485_ENABLED | (SER_RS485_RTS_ON_SEND if send_high else SER_RS485_RTS_AFTER_SEND)
    try:
        fcntl.ioctl(descriptor, TIOCGRS485, raw)
        flags, *rest = _RS485.unpack(raw)
        raw = bytearray(_RS485.pack((flags & ~levels) | wanted, before_ms, after_ms, *rest[2:]))
        fcntl.ioctl(descriptor, TIOCSRS485, raw)
        fcntl.ioctl(descriptor, TIOCGRS485, raw)  # the driver takes back what it does not support
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            raise ValueError("the driver does not turn the line round, it has no RS-485 mode") from exc
        raise
    flags, before, after, *_ = _RS485.unpack(raw)
    if flags & (SER_RS485_ENABLED | levels) != wanted:
        raise ValueError(f"the driver does not turn the line round with RTS {'high' if send_high else 'low'}")
    if (before, after) != (before_ms, after_ms):
        raise ValueError(f"the driver takes delays of {before} and {after} ms only")


def lower_latency(descriptor: int) -> bool:
    """Have a USB adapter hand over bytes at once instead of collecting them for 16 ms; False where it has no such."""
    raw = bytearray(_SERIAL_STRUCT_SIZE)
    try:
        fcntl.ioctl(descriptor, TIOCGSERIAL, raw)
        flags = struct.unpack_from("i", raw, 4 * _SERIAL_FLAGS)[0]
        struct.pack_into("i", raw, 4 * _SERIAL_FLAGS, flags | _ASYNC_LOW_LATENCY)
        fcntl.ioctl(descriptor, TIOCSSERIAL, raw)
    except OSError as exc:
        if exc.errno not in (*_UNSUPPORTED, errno.EPERM):
            raise
        return False
    return True


def check_settings(descriptor: int, baud_rate: int, data_bits: int, parity: str, stop_bits: int) -> bool:
    """ValueError where the driver has silently set something else than it was told; False where that cannot be read
    back, as on some old kernels and in emulators."""
    raw = bytearray(_TERMIOS2.size)
    try:
        fcntl.ioctl(descriptor, TCGETS2, raw)
    except OSError as exc:
        if exc.errno in _UNSUPPORTED:
            return False
        raise
    cflag, rate = _TERMIOS2.unpack(raw)[2], _TERMIOS2.unpack(raw)[-1]
    if abs(rate - baud_rate) > _RATE_TOLERANCE * baud_rate:
        raise ValueError(f"the hardware runs at {rate} bit/s instead")
    parity_bits = {
        "N": 0,
        "E": termios.PARENB,
        "O": termios.PARENB | termios.PARODD,
        "S": termios.PARENB | _CMSPAR,
        "M": termios.PARENB | termios.PARODD | _CMSPAR,
    }[parity]
    mask = termios.PARENB | _CMSPAR | (termios.PARODD if parity != "N" else 0)
    if cflag & mask != parity_bits:
        raise ValueError(f"the hardware has no parity {parity}")
    if (cflag & termios.CSIZE) != {7: termios.CS7, 8: termios.CS8}[data_bits]:
        raise ValueError(f"the hardware has no characters of {data_bits} bits")
    if bool(cflag & termios.CSTOPB) != (stop_bits == 2):
        raise ValueError(f"the hardware does not send {stop_bits} stop bits")
    return True


class WakeAt:
    """With how many bytes a tty wakes who waits for it: VMIN, which poll(2) honours where VTIME is 0.

    It hands over what it has all the same when it is read. A driver for which the setting is no matter of memory alone
    is left to wake for each byte.
    """

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        raw = bytearray(2 * _TERMIOS_SIZE)  # more than any machine's
        fcntl.ioctl(descriptor, TCGETS, raw)
        self._settings = raw
        self._settings[_CHARACTERS + termios.VTIME] = 0
        self._count = 0
        self._is_cheap = min(self._cost(count) for count in (2, 1, 2, 1)) < _CHEAP_SEC

    def set(self, count: int) -> None:
        """Wake with so many bytes, or with fewer."""
        if count != self._count and self._is_cheap:
            self._put(count)

    def _put(self, count: int) -> None:
        self._count = count
        self._settings[_CHARACTERS + termios.VMIN] = min(count, _WAKE_AT_MOST)
        try:
            fcntl.ioctl(self._descriptor, TCSETS, self._settings)
        except OSError:
            pass  # a tty that is gone is told by the event loop

    def _cost(self, count: int) -> float:
        started = time.perf_counter()
        self._put(count)
        return time.perf_counter() - started


def has_come(descriptor: int) -> bool:
    """Whether bytes wait to be read; False where the tty is gone."""
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
    except OSError:
        return False
    return waiting[0] > 0


def has_left(descriptor: int) -> bool:
    """Whether all that was written is on the wire, to the last bit where the driver tells (TIOCSERGETLSR).

    Where it does not, the queue alone is looked at: the UART may still be sending what it has taken from there.
    """
    queued = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.TIOCOUTQ, queued)
    if queued[0]:
        return False
    status = array.array("i", [0])
    try:
        fcntl.ioctl(descriptor, TIOCSERGETLSR, status)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        return True
    return bool(status[0] & _TIOCSER_TEMT)
