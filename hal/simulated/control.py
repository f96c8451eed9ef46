"""The control socket of a simulated board: a Unix socket in the state directory by which its hardware is handled.

It takes lines such as `button press`, a part of the board and then a command of that part, and answers each with a
line that begins with `ok` or `error`. A simulated part joins when it is made; the simulated system opens the socket.
"""

import asyncio
import contextlib
import os

from hal.runtime import log_exception
from hal.runtime.annotations import Awaitable, Callable
from hal.small_file import make_way

SOCKET = "control"
_LINE_LIMIT = 4096

_boards: dict = {}  # state directory -> {name of a part: what carries its commands out}


def join(state_dir: str, part: str, control: Callable[[list[str]], Awaitable[str]]) -> None:
    """Have a part take commands: `await control(words)` is the answer, ValueError where it knows none such."""
    _boards.setdefault(state_dir, {})[part] = control


class ControlSocket:
    """Hands the lines that come in to the parts of the board in a state directory."""

    def __init__(self, state_dir: str):
        self._parts = _boards.setdefault(state_dir, {})
        self._path = os.path.join(state_dir, SOCKET)
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Take commands from now on. OSError."""
        make_way(self._path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        self._server = await asyncio.start_unix_server(self._serve, self._path, limit=_LINE_LIMIT)
        os.chmod(self._path, 0o600)

    def close(self) -> None:
        """Take no more. Safe to call twice."""
        server, self._server = self._server, None
        if server is not None:
            server.close()

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
            return "ok " + await self._parts[words[0]](words[1:])
        except ValueError as exc:
            return f"error: {exc}"
        except Exception as exc:
            log_exception(exc)
            return f"error: {type(exc).__name__}"
