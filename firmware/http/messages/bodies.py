"""Bodies of answers that come in parts: iterators, asynchronous iterators and files, as Microdot has them."""

from hal.runtime import offload
from hal.runtime.annotations import Any, BinaryIO

_FILE_PART = 8192  # bytes that are read from a file at once


class BrokenBody(Exception):
    """A body ended in an error, so that its answer cannot be ended properly."""


class Parts:
    """The parts of a Microdot Response's body, in turn.

    `live` says that nobody knows when it ends: an asynchronous iterator, which may wait for what is yet to happen.
    """

    def __init__(self, body: Any):
        if hasattr(body, "__aiter__") and not hasattr(body, "__anext__"):
            body = body.__aiter__()
        self._body = body
        self.live = hasattr(body, "__anext__")
        self._is_file = not self.live and hasattr(body, "read")
        self._left: int | None = None  # of a file, how many bytes of it are yet to be sent

    async def length(self) -> int | None:
        """Bytes of a file from where it stands, None where that cannot be told. What is added later is not sent."""
        self._left = await offload(_bytes_left, self._body) if self._is_file else None
        return self._left

    async def next(self) -> bytes | None:
        """The next part that is not empty, None at the end. BrokenBody where making it failed."""
        try:
            while True:
                part = await self._take()
                if part is None or len(part) > 0:
                    return part.encode() if isinstance(part, str) else part
        except MemoryError:
            raise
        except Exception as exc:
            raise BrokenBody("a body ended in an error") from exc

    async def close(self) -> None:
        """Let go of what the body holds."""
        for name in ("aclose", "close"):
            if hasattr(self._body, name):
                await _done(await offload(getattr(self._body, name)) if self._is_file else getattr(self._body, name)())
                return

    async def _take(self) -> str | bytes | None:
        if self._is_file:
            return await self._read()
        try:
            return await self._body.__anext__() if self.live else next(self._body)
        except (StopIteration, StopAsyncIteration):
            return None

    async def _read(self) -> bytes | None:
        count = _FILE_PART if self._left is None else min(_FILE_PART, self._left)
        part = await _done(await offload(self._body.read, count)) if count else b""
        if self._left is not None:
            if count and not part:
                raise ValueError("the file has become shorter while it was sent")
            self._left -= len(part)
        return part or None


async def _done(result: Any) -> Any:
    """The result of a function that may have been an asynchronous one."""
    return await result if hasattr(result, "send") else result


def _bytes_left(file: BinaryIO) -> int | None:
    try:
        here = file.tell()
        end = file.seek(0, 2)
        file.seek(here)
    except (AttributeError, OSError, ValueError):  # no file that can be told from its end
        return None
    return end - here
