"""Why the device has started, kept in the state folder from before a restart until after it.

While the device runs, the folder holds a mark with the kernel's boot id. A device that finds the mark of the same boot
was neither stopped nor cut from its power: it crashed, or its watchdog had it killed.
"""

import os

from hal.small_file import make_way, read_whole, write_whole

POWER_ON, CRASH = "POWER_ON", "CRASH"

_FILE = "restart-reason"
_MARK = "running"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"  # proc_sys_kernel(5)
_LONGEST = 64


def keep_reason(state_dir: str, reason: str) -> None:
    """Note the reason, on the medium when this returns. OSError."""
    write_whole(os.path.join(state_dir, _FILE), reason)


def take_reason(state_dir: str) -> str:
    """The reason that was noted, and note it no more; else CRASH where the device was not stopped since the kernel has
    started, and POWER_ON. From here on the device counts as running."""
    reason = forget_reason(state_dir)
    mark = os.path.join(state_dir, _MARK)
    boot = _boot_id()
    crashed = boot != "" and _read(mark) == boot
    try:
        write_whole(mark, boot)
    except OSError:
        pass  # whoever cannot store will hear of it from the settings
    return reason or (CRASH if crashed else POWER_ON)


def note_end(state_dir: str) -> None:
    """The device has been stopped: its next start is no crash."""
    try:
        os.unlink(os.path.join(state_dir, _MARK))
    except OSError:
        pass  # nothing was noted


def forget_reason(state_dir: str) -> str | None:
    """Note no reason any more; return the one that was noted, None where there was none, or none that can be read."""
    path = os.path.join(state_dir, _FILE)
    reason = _read(path)
    try:
        make_way(path)
        os.unlink(path)
    except OSError:
        pass  # there was none, or it cannot be removed: then the next one takes its place
    return reason


def _read(path: str) -> str | None:
    try:
        return read_whole(path)[:_LONGEST]
    except (OSError, ValueError):
        return None


def _boot_id() -> str:
    return _read(_BOOT_ID) or ""
