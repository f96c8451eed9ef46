"""A tty that a fake device is behind: a pty, and a symbolic link to it that comes and goes with the plug."""

import asyncio
import contextlib
import os
import tty
from collections.abc import Callable

_OUTPUT_LIMIT = 65536  # bytes that wait to leave while the tty is slow
_READ_SIZE = 4096
_SLOW_PAUSE = 0.001  # seconds between bytes


class FakeTty:
    """`received` is called with what the other side writes. Bytes that nobody reads are lost when the tty is full."""

    def __init__(self, link: str, received: Callable[[bytes], None]):
        self.slow = False
        self._link = link
        self._received = received
        self._ends: tuple[int, int] | None = None
        self._name = ""
        self._output = bytearray()
        self._pause: asyncio.TimerHandle | None = None

    @property
    def plugged(self) -> bool:
        """Whether the tty is there."""
        return self._ends is not None

    def plug(self) -> None:
        """Make the tty, under another name than before, and the link. OSError, FileExistsError for a file there."""
        ends = os.openpty()
        if os.ttyname(ends[1]) == self._name:
            again = os.openpty()
            _close(ends)
            ends = again
        try:
            tty.setraw(ends[0])
            tty.setraw(ends[1])
            os.set_blocking(ends[0], False)
            if os.path.islink(self._link):
                os.unlink(self._link)
            os.symlink(os.ttyname(ends[1]), self._link)
        except OSError:
            _close(ends)
            raise
        self._ends = ends
        self._name = os.ttyname(ends[1])
        asyncio.get_running_loop().add_reader(ends[0], self._readable)

    def unplug(self) -> None:
        """Take the tty away: a hang-up for whoever has it open, and the link is gone."""
        if self._ends is None:
            return
        ends, self._ends = self._ends, None
        asyncio.get_running_loop().remove_reader(ends[0])
        self.drop_output()
        with contextlib.suppress(FileNotFoundError):
            if os.path.islink(self._link) and os.readlink(self._link) == self._name:
                os.unlink(self._link)
        _close(ends)

    def write(self, data: bytes) -> None:
        """Send bytes, byte by byte where the tty is slow."""
        if self._ends is None:
            return
        self._output += data[: _OUTPUT_LIMIT - len(self._output)]
        if self._pause is None:
            self._send()

    def drop_output(self) -> None:
        """Forget what has not left."""
        self._output.clear()
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _send(self) -> None:
        self._pause = None
        if self._ends is None:
            return
        chunk = bytes(self._output[:1] if self.slow else self._output)
        del self._output[: len(chunk)]
        with contextlib.suppress(BlockingIOError):
            os.write(self._ends[0], chunk)
        if self._output:
            self._pause = asyncio.get_running_loop().call_later(_SLOW_PAUSE, self._send)

    def _readable(self) -> None:
        if self._ends is None:
            return
        try:
            data = os.read(self._ends[0], _READ_SIZE)
        except BlockingIOError:
            return
        self._received(data)


def _close(ends: tuple[int, int]) -> None:
    for end in ends:
        os.close(end)
