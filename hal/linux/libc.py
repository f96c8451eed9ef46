"""System calls that Python's library lacks. Each raises OSError as the kernel's errno has it."""

import ctypes
import errno
import os

MS_RDONLY = 1  # sys/mount.h
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_NOATIME = 1024
MNT_DETACH = 2

_RB_AUTOBOOT = 0x01234567  # sys/reboot.h
_ADJ_TICK = 0x4000  # sys/timex.h
_TIMEX_SIZE = 512  # more than struct timex takes on any machine

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2)."""
    _check(_libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data.encode()), target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(target.encode(), flags), target)


def sync_file_system(path: str) -> None:
    """syncfs(2) of the file system that holds a path."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.syncfs(descriptor), path)
    finally:
        os.close(descriptor)


def reboot() -> None:
    """reboot(2): the machine restarts at once, without stopping anything or writing anything out."""
    _check(_libc.reboot(ctypes.c_int(_RB_AUTOBOOT)), "reboot")


def may_set_clock() -> bool:
    """Whether this process may set the system clock; the clock is left alone.

    adjtimex(2) looks at the privilege before it looks at the tick's length, and 0 is no length that it takes.
    """
    timex = ctypes.create_string_buffer(_TIMEX_SIZE)
    ctypes.c_uint.from_buffer(timex).value = _ADJ_TICK
    _libc.adjtimex(timex)
    return ctypes.get_errno() == errno.EINVAL


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
