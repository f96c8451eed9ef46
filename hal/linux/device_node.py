"""Which device files a board config may name: a part that is soldered on must be there when the firmware starts, one
that can be plugged in may come later."""

import errno
import os
import re

from hal.fields import BadField

_SOLDERED_TTY = re.compile(r"/dev/tty(S|AMA|O|PS|LP|SC|MAX|STM|THS|mxc)[0-9]+")  # what drivers of UARTs call theirs
_MADE_ON_DEMAND = ("/dev/serial/by-id", "/dev/serial/by-path", "/dev/disk/by-id", "/dev/disk/by-path")


def require_soldered(where: str, path: str) -> None:
    """BadField, which begins with `where`, unless the file is there."""
    if not os.path.exists(path):
        raise BadField(f"{where}: {path} is not there; the kernel has no driver for it or the name is wrong")


def require_tty(where: str, path: str) -> None:
    """BadField for a UART that is not there, or a path that no plugging in will make.

    An adapter's path, by its ttyUSB or ttyACM number or by a link that udev makes, may come later.
    """
    if _SOLDERED_TTY.fullmatch(path):
        require_soldered(where, path)
    require_folder(where, path)


def require_folder(where: str, path: str) -> None:
    """BadField unless the folder of a path is there, or is one that udev makes on demand."""
    folder = os.path.dirname(path)
    if folder not in _MADE_ON_DEMAND and not os.path.isdir(folder or "."):
        raise BadField(f"{where}: {path} is not there, nor is the folder {folder}")


def why(exc: Exception) -> str:
    """Why a tty cannot be used, in a few words: the serial library tells it twice, and in its own terms."""
    number = getattr(exc, "errno", None)
    if number in (errno.EAGAIN, errno.EBUSY):
        return "it is in use by another program"
    if number == errno.ENOTTY:
        return "it is no serial port"
    return str(exc) if number is None else os.strerror(number)
