"""Starts, commands and stops the simulated Modbus world, which is a process of its own (process.py beside this)."""

import asyncio
import json
import os
import socket
import subprocess
import sys

from hal.runtime import in_time

_START_SECONDS = 10.0
_ANSWER_SECONDS = 5.0
_STOP_SECONDS = 1.0
_POLL_SECONDS = 0.005

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class WorldGone(Exception):
    """The simulated world did not start, has ended or does not answer."""


class World:
    """The simulated world as its starter sees it.

    `port` is the path of the firmware's serial port, `tool` that of a second port to the same devices. Both are
    symlinks in `state_dir` that stay the same when the world is unplugged and plugged in again.
    """

    def __init__(self, state_dir: str, baud_rate: int = 9600, parity: str = "N"):
        self.port = os.path.join(state_dir, "rs485")
        self.tool = os.path.join(state_dir, "rs485-tool")
        self._arguments = [state_dir, str(baud_rate), parity]
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Start the process; returns when both ports are there. WorldGone where it cannot."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._spawn(theirs.fileno())
        self._reader, self._writer = await asyncio.open_unix_connection(sock=ours)
        try:
            await self._read_line(_START_SECONDS)
        except WorldGone:
            await self.stop()
            raise

    @property
    def pid(self) -> int | None:
        """The process, None while there is none."""
        return self._process.pid if self._process else None

    async def stop(self) -> None:
        """End the process. Safe to call twice."""
        process, self._process = self._process, None
        if process is None:
            return
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            pass  # it ended before we asked
        for _ in range(int(_STOP_SECONDS / _POLL_SECONDS)):
            if process.poll() is not None:
                return
            await asyncio.sleep(_POLL_SECONDS)
        process.kill()
        process.wait()

    async def command(self, request: dict) -> dict:
        """Give the world a command (docs/simulator.md) and return its answer. WorldGone where there is none."""
        async with self._turn:
            if self._process is None:
                raise WorldGone("the simulated world is not running")
            self._writer.write(json.dumps(request).encode() + b"\n")
            return json.loads(await self._read_line(_ANSWER_SECONDS))

    def _spawn(self, console: int) -> None:
        path = os.pathsep.join(filter(None, [_ROOT, os.environ.get("PYTHONPATH")]))
        self._process = subprocess.Popen(
            [
                os.environ.get("MC252_WORLD_PYTHON", sys.executable),
                "-m",
                "hal.simulated.world.process",
                *self._arguments,
            ],
            stdin=console,
            stdout=console,
            env=dict(os.environ, PYTHONPATH=path),
            start_new_session=True,  # Ctrl-C at the terminal is for the firmware, which then stops the world
        )

    async def _read_line(self, seconds: float) -> bytes:
        try:
            line = await in_time(self._reader.readline(), seconds)
        except (asyncio.TimeoutError, ConnectionError):
            raise WorldGone("the simulated world does not answer") from None
        if not line:
            raise WorldGone("the simulated world has ended; its standard error says why")
        return line
