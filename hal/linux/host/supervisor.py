"""Word to the service manager that started this process: systemd, by the protocol of sd_notify(3).

Without a service manager every function does nothing.
"""

import os
import socket
import sys

from hal.contracts import System
from hal.linux.host.restart_reason import keep_reason
from hal.runtime import log

RESTART_EXIT = "MC252_RESTART_EXIT"  # variable: the exit code by which hal/linux/update/supervisor.py starts it anew


class SupervisedSystem(System):
    """A system whose process a service manager may have started and watches."""

    _state_dir: str

    def watchdog_sec(self) -> float | None:
        """What the service manager wants."""
        return watchdog_sec()

    def ready(self) -> None:
        """Tell the service manager."""
        notify("READY=1")

    def feed(self) -> None:
        """Tell the service manager."""
        notify("WATCHDOG=1")

    def restart_firmware(self, reason: str) -> None:
        """End the process where somebody waits to start it anew."""
        code = restart_exit()
        if code is None:
            self.restart(reason)
        else:
            keep_reason(self._state_dir, reason)
            sys.stdout.flush()
            sys.stderr.flush()
            sys.exit(code)


def restart_exit() -> int | None:
    """Exit code after which this process is started anew; None: nobody does that."""
    if RESTART_EXIT in os.environ:
        return int(os.environ[RESTART_EXIT])
    return 0 if "NOTIFY_SOCKET" in os.environ else None  # the unit has Restart=always


def notify(state: str) -> None:
    """Send a state such as "READY=1" to the socket that NOTIFY_SOCKET names."""
    name = os.environ.get("NOTIFY_SOCKET", "")
    if not name.startswith(("/", "@")):
        return
    address = "\0" + name[1:] if name[0] == "@" else name  # @: the abstract namespace, unix(7)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.sendto(state.encode(), address)
    except OSError as exc:
        log(f"the service manager cannot be told {state}: {exc}")


def watchdog_sec() -> float | None:
    """Seconds within which the service manager wants "WATCHDOG=1" again (sd_watchdog_enabled(3)); None: it does not."""
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    meant_for = os.environ.get("WATCHDOG_PID", "")
    if not microseconds.isdecimal() or int(microseconds) == 0 or meant_for not in ("", str(os.getpid())):
        return None
    return int(microseconds) / 1e6
