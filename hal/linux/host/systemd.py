"""Requests to systemd by its own commands: they speak D-Bus, and a rule of polkit can allow each to this process."""

import errno
import os
import shutil
import subprocess

RUNNING = "/run/systemd/system"  # there where systemd runs the machine, sd_booted(3)

_ANSWER_SEC = 10
_THAT_ASK = ("systemctl", "hostnamectl")  # for a password; networkctl does not, and knows no such option
_KEPT = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_."


def runs() -> bool:
    """Whether systemd runs this machine."""
    return os.path.isdir(RUNNING) and shutil.which("systemctl") is not None


def ask(command: str, *arguments: str) -> None:
    """Run a command such as networkctl. OSError, whose strerror is its last complaint."""
    words = [command, *(["--no-ask-password"] if command in _THAT_ASK else []), *arguments]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_ANSWER_SEC)
    except subprocess.TimeoutExpired as exc:
        raise OSError(errno.ETIMEDOUT, "systemd does not answer") from exc
    if done.returncode != 0:
        complaints = done.stderr.strip().splitlines() or [f"{command} failed with {done.returncode}"]
        raise OSError(errno.EIO, complaints[-1][:200])  # the lines before it are warnings


def mount_unit(path: str) -> str:
    """Name of the unit that mounts something at an absolute path (systemd.unit(5), string escaping for paths)."""
    name = path.strip("/")
    escaped = "".join(_escaped(character, index) for index, character in enumerate(name))
    return (escaped or "-") + ".mount"


def _escaped(character: str, index: int) -> str:
    if character == "/":
        return "-"
    if character in _KEPT and (character != "." or index > 0):
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode())
