"""The ptys of the simulated world: the master's end of an RS-485 line each."""

import fcntl
import os
import struct
import termios
import tty
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it brings pymodbus with it, which whoever waits for the ptys does not wait for
    from hal.simulated.world.line import Line

_TCGETS2 = 0x802C542A  # asm-generic: the one ioctl that tells any baud rate as a number
_TERMIOS2 = struct.Struct("4I20x2I")


class Port:
    """A pty whose slave end is the master's serial port, under a symlink that stays the same."""

    def __init__(self, link: str):
        self.line: Line  # set once the devices are there
        self.master = -1  # -1 while unplugged
        self._slave = -1
        self._link = link
        self._path = ""

    def plug(self) -> str:
        """Make the pty, if there is none; its path."""
        if self.master < 0:
            self.master, self._slave = os.openpty()
            os.set_blocking(self.master, False)
            _make_raw(self._slave)
            self._path = os.ttyname(self._slave)
            self._point_link()
        return self._path

    def unplug(self) -> None:
        """Take the pty away: whoever has it open sees a hang-up."""
        if self.master < 0:
            return
        if os.path.islink(self._link) and os.readlink(self._link) == self._path:
            os.unlink(self._link)
        os.close(self._slave)
        os.close(self.master)
        self.master = self._slave = -1

    def read(self) -> bytes:
        """What the other end has written."""
        return os.read(self.master, 4096)

    def write(self, data: bytes) -> None:
        """Hand bytes to the other end; those that nobody takes are lost, as in a UART that overruns."""
        try:
            os.write(self.master, data)
        except BlockingIOError:
            pass

    def setting(self) -> tuple[int, int]:
        """Baud rate and stop bits that the other end has set."""
        fields = _TERMIOS2.unpack(fcntl.ioctl(self.master, _TCGETS2, bytes(_TERMIOS2.size)))
        return fields[5], 2 if fields[2] & termios.CSTOPB else 1

    def _point_link(self) -> None:
        fresh = self._link + ".new"
        if os.path.lexists(fresh):
            os.unlink(fresh)
        os.symlink(self._path, fresh)
        os.replace(fresh, self._link)


def _make_raw(slave: int) -> None:
    """Let all bytes through unchanged, 9600 baud, 8 data bits, no parity, 1 stop bit."""
    tty.setraw(slave)
    settings = termios.tcgetattr(slave)
    settings[4] = settings[5] = termios.B9600
    termios.tcsetattr(slave, termios.TCSANOW, settings)
