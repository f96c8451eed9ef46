"""The start command of boards that keep their firmware in two folders: checks what it starts, and starts it.

    python -m hal.linux.update.supervisor --board FILE --state-dir DIR [further arguments of the firmware]

It belongs to the firmware that was installed with the system, which the service cannot write, and so do the keys that
it checks with: whoever takes the service over cannot have code of his own started again.

Under systemd it becomes the firmware (exec), and systemd starts it anew after a crash or a hang. Elsewhere (`make run`)
it stays and does that itself for a firmware on trial, by the protocol that systemd has for it (sd_notify(3)).
"""

import argparse
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time

from firmware import VERSION
from hal.contracts import UpdateRefused
from hal.fields import BadField
from hal.json_text import json_loads
from hal.linux.host.supervisor import RESTART_EXIT
from hal.linux.update.folders import OPTIONS, SYSTEM_VERSION, architecture
from hal.runtime import log
from hal.runtime.logs import ERROR
from hal.update.choice import Chosen, choose
from hal.update.keys import read_keyring
from hal.update.signed import Keyring
from hal.update.slots import SYSTEM, Slots
from hal.update.slots_updater import slots_folder

DEBIAN_MODULES = "/usr/lib/python3/dist-packages"
RESTART_CODE = 75  # exit code of a firmware that wants to be started anew
WATCHDOG_SEC = 20.0  # between two of its WATCHDOG=1

# The firmware runs isolated: no variable and no folder of a user's changes where its modules come from. A slot is its
# own world beside, and nothing is compiled into it; Debian's modules come last, which only root can write.
_BOOT = "import sys; sys.path.insert(0, sys.argv.pop(1)); from firmware.__main__ import main; main()"
_BOOT_SLOT = f"import sys; sys.path.append({DEBIAN_MODULES!r}); " + _BOOT
# One on trial leaves word of how it ends; what is to be told of it is bounded by who reads that.
_BOOT_TRIAL = f"""import sys
sys.path.append({DEBIAN_MODULES!r})
words, folder = sys.argv.pop(1), sys.argv.pop(1)
sys.path.insert(0, folder)
try:
    from firmware.__main__ import main
    main()
except BaseException as exc:
    try:
        with open(words, "w") as file:
            file.write(f"{{type(exc).__name__}}: {{exc}}"[:160])
    except OSError:
        pass
    raise
"""

_HOME = pathlib.Path(__file__).absolute().parents[3]  # of the firmware that was installed with the system
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


def command(slots: Slots | None, chosen: Chosen, arguments: list[str]) -> list[str]:
    """The command that runs the firmware that was chosen."""
    if slots is None or chosen.slot == SYSTEM:
        as_it_is = ["-B"] if sys.flags.dont_write_bytecode else []
        return [sys.executable, "-I", *as_it_is, "-c", _BOOT, str(_HOME), *arguments]
    how = [_BOOT_TRIAL, os.path.abspath(slots.words_path())] if chosen.trial else [_BOOT_SLOT]
    return [sys.executable, "-I", "-S", "-B", "-c", *how, os.path.abspath(slots.path(chosen.slot)), *arguments]


class Watch:
    """Runs the firmware as a child, hears it by the protocol of sd_notify(3), and ends it where it hangs."""

    def __init__(self, ready_sec: float) -> None:
        self._ready_sec = ready_sec
        self._folder = tempfile.TemporaryDirectory(prefix="mc252-")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.bind(self._folder.name + "/notify")
        self._child: subprocess.Popen | None = None
        self.stopping = False
        self.hung = False  # in its last run
        for number in _FORWARDED:
            signal.signal(number, self._forward)

    def run(self, words: list[str]) -> int:
        """Exit code of one run; that of a kill where it hung."""
        environment = dict(
            os.environ,
            NOTIFY_SOCKET=self._folder.name + "/notify",
            WATCHDOG_USEC=str(int(WATCHDOG_SEC * 1e6)),
            **{RESTART_EXIT: str(RESTART_CODE)},
        )
        environment.pop("WATCHDOG_PID", None)
        self.hung = False
        self._child = subprocess.Popen(words, env=environment)
        deadline = time.monotonic() + self._ready_sec
        while self._child.poll() is None:
            said = self._hear(0.1)
            if said:
                deadline = time.monotonic() + WATCHDOG_SEC
            elif time.monotonic() > deadline and not self.stopping:
                log("the firmware hangs and is ended", ERROR)
                self.hung = True
                self._child.kill()
                self._child.wait()
        return self._child.returncode

    def _hear(self, seconds: float) -> bool:
        if not select.select([self._socket], [], [], seconds)[0]:
            return False
        lines = self._socket.recv(4096).split(b"\n")
        return b"READY=1" in lines or b"WATCHDOG=1" in lines

    def _forward(self, number: int, frame: object) -> None:
        self.stopping = self.stopping or number != signal.SIGUSR1
        if self._child is not None and self._child.poll() is None:
            self._child.send_signal(number)


def stay(slots: Slots | None, keyring: Keyring, ready_sec: float, arguments: list[str]) -> int:
    """Run the firmware until it ends by itself or is told to; its exit code."""
    watch = Watch(ready_sec)
    while True:
        chosen = Chosen(SYSTEM, False) if slots is None else choose(slots, keyring, architecture(), VERSION)
        code = watch.run(command(slots, chosen, arguments))
        if watch.stopping or (code != RESTART_CODE and not chosen.trial):
            return code if code >= 0 else 128 - code
        if slots is not None and chosen.trial and watch.hung:
            slots.leave_word("a hang")
        if code != RESTART_CODE:
            log(f"the firmware on trial ended with {code}", ERROR)


def read_options(path: str) -> dict | None:
    """The options of the driver `folders` in a board config, None where the board has another or none."""
    try:
        with open(path) as file:
            part = json_loads(file.read())["updater"]  # type: ignore[index]
        if part["driver"] != "folders":
            return None
        return OPTIONS.check({name: value for name, value in part.items() if name != "driver"}, "updater")
    except (OSError, ValueError, TypeError, KeyError, BadField):
        return None  # the firmware says what is wrong with its board config


def main() -> None:
    """Choose, check and start."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--board", required=True)
    parser.add_argument("--state-dir", required=True)
    known, _ = parser.parse_known_args()
    arguments = sys.argv[1:]
    os.environ[SYSTEM_VERSION] = VERSION
    options = read_options(known.board)
    slots, keyring = None, Keyring({"roots": []})
    if options is not None:
        try:
            keyring = read_keyring(options["keys"])
            slots = Slots(slots_folder(options, known.state_dir))
        except (OSError, BadField, UpdateRefused) as exc:
            log(f"update: the system's own firmware starts: {exc}")
    if "NOTIFY_SOCKET" not in os.environ:
        sys.exit(stay(slots, keyring, options["readySec"] if options else 60, arguments))
    chosen = Chosen(SYSTEM, False) if slots is None else choose(slots, keyring, architecture(), VERSION)
    words = command(slots, chosen, arguments)
    os.execv(words[0], words)


if __name__ == "__main__":
    main()
