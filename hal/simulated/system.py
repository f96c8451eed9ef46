"""The simulated board itself: its identity, its restart, and the control socket by which its hardware is handled."""

import asyncio
import contextlib
import os
import signal
import sys

from hal.configured_system import ConfiguredSystem
from hal.contracts import NotPermitted
from hal.linux.host.device_key import public_key
from hal.linux.host.supervisor import SupervisedSystem
from hal.runtime import log_exception

CONTROL_SOCKET = "control"
_REASON_FILE = "restart-reason"
_LINE_LIMIT = 4096


class SimulatedSystem(SupervisedSystem, ConfiguredSystem):
    """A process on a development machine.

    In the state directory it keeps its key pair, the reason of its last restart and the control socket: a Unix socket
    that takes lines such as `button press` (a part of the board, then a command of that part) and answers each with a
    line that begins with `ok` or `error`.
    """

    def __init__(self, options: dict, state_dir: str):
        super().__init__(options, state_dir)
        self._server: asyncio.AbstractServer | None = None
        self._parts: dict = {}
        self._reason = self._take_reason()

    def notice(self) -> "str | None":
        """The factory login, which is no secret on a simulated board."""
        login = self.factory_login()
        return None if login is None else f"login {login[0]} / {login[1]}"

    def memory_free(self) -> "int | None":
        """Bytes that the host's kernel thinks can be allocated."""
        with open("/proc/meminfo") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return None

    def start_reason(self) -> str:
        """POWER_ON, or what the last restart was told."""
        return self._reason

    def restart(self, reason: str) -> None:
        """Execute the process anew, under the same process id."""
        with open(os.path.join(self._state_dir, _REASON_FILE), "w") as file:
            file.write(reason)
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            os.execv(sys.executable, [sys.executable, "-m", "firmware", *sys.argv[1:]])
        except OSError as exc:
            raise NotPermitted(f"cannot execute the firmware anew: {exc}") from exc

    async def attach(self, board) -> None:
        """Open the control socket and take SIGUSR1 for a press of the button."""
        self._parts = {name: part for name, part in board.parts.items() if part is not None}
        if board.button is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, board.button.press)
        path = os.path.join(self._state_dir, CONTROL_SOCKET)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LINE_LIMIT)
        os.chmod(path, 0o600)

    async def stop(self) -> None:
        """Close the control socket."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _public_key(self) -> "str | None":
        return public_key(self._state_dir)

    def _take_reason(self) -> str:
        path = os.path.join(self._state_dir, _REASON_FILE)
        try:
            with open(path) as file:
                reason = file.read(32)
            os.unlink(path)
        except OSError:
            return "POWER_ON"
        return reason or "POWER_ON"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write((await self._answer(line.decode(errors="replace")) + "\n").encode())
                await writer.drain()
        except (ValueError, OSError, asyncio.CancelledError):
            pass  # a line over the limit, a client that is gone, or the end of the process
        finally:
            writer.close()

    async def _answer(self, line: str) -> str:
        words = line.split()
        if not words or words[0] not in self._parts:
            return "error: the first word must be a part of the board: " + ", ".join(sorted(self._parts))
        try:
            return "ok " + await self._parts[words[0]].control(words[1:])
        except ValueError as exc:
            return f"error: {exc}"
        except Exception as exc:
            log_exception(exc)
            return f"error: {type(exc).__name__}"
