"""Recording the trace to the SD card, for the fault that comes at night."""

import asyncio

from firmware.services.card.absent import NoCardFiles
from firmware.services.errors import Refused
from firmware.services.trace.bus_trace import BusTrace
from hal.fields import BadField
from hal.runtime import in_time, log_exception, now_ms
from hal.runtime.annotations import Any, Callable
from hal.service import Service

WRITE_SEC = 2.0  # how often what is new is written
LAST_SEC = 3.0  # for the last of it when the device stops

_TOGETHER = 32768  # bytes that are written at once


class Recording(Service):
    """One recording at a time. What is new is appended every few seconds and synced; no file stays open meanwhile, so
    the card can be ejected, and what was written is whole up to its last packet whatever happens."""

    def __init__(self, trace: BusTrace, card: NoCardFiles, about: str, clock: Callable[[], int] = now_ms):
        self._trace = trace
        self._card = card
        self._about = about
        self._clock = clock
        self._status = "IDLE"
        self._path: str | None = None
        self._error: str | None = None
        self._capture: Any = None
        self._bytes = 0
        self._entries = 0
        self._until = 0
        self._most = 0

    async def begin(self, path: str, seconds: int, most: int) -> None:
        """Record for so many seconds, at most so many bytes, to a file that is made anew: CSV where its name ends so,
        pcapng else. Refused RECORDING while one is under way, and as CardFiles.write_whole."""
        if self._status == "RUNNING":
            raise Refused("RECORDING", f"a recording to {self._path} is under way; stop it first")
        from firmware.services.trace.captures import Capture  # here: a board needs the memory while nobody records

        kind = "csv" if path.lower().endswith(".csv") else "pcapng"
        capture = Capture(self._trace, kind, self._about, self._trace.ring.last)
        header = capture.header()
        self._status = "RUNNING"  # so that nobody else begins meanwhile
        try:
            await self._card.write_whole(path, header)
        except (Refused, BadField) as exc:
            self._status, self._path, self._error = "ERROR", path, exc.code
            raise
        self._path, self._error, self._capture = path, None, capture
        self._bytes, self._entries, self._most = len(header), 0, most
        self._until = self._clock() + seconds * 1000
        self.spawn(self._run(capture))

    async def end(self) -> None:
        """Stop recording, when what is there has been written; nothing where none is under way."""
        if self._status == "RUNNING" and self._capture is not None:
            await super().stop()
            await self._finish(self._capture, "STOPPED")

    async def stop(self) -> None:
        """As `end`, soon."""
        try:
            await in_time(self.end(), LAST_SEC)
        except asyncio.TimeoutError:
            await super().stop()

    def state(self) -> dict:
        """The state key `recording`."""
        running = self._status == "RUNNING"
        return {
            "status": self._status,
            "filePath": self._path,
            "bytes": self._bytes,
            "entries": self._entries,
            "lost": 0 if self._capture is None else self._capture.cursor.lost,
            "secLeft": max(0, self._until - self._clock() + 999) // 1000 if running else 0,
            "errorCode": self._error,
        }

    async def _run(self, capture: Any) -> None:
        while self._status == "RUNNING":
            left = (self._until - self._clock()) / 1000
            if left <= 0:
                await self._finish(capture, "DONE")
                return
            await asyncio.sleep(min(WRITE_SEC, left))
            await self._write_new(capture)

    async def _finish(self, capture: Any, status: str) -> None:
        await self._write_new(capture)
        if self._status == "RUNNING":
            self._status = status

    async def _write_new(self, capture: Any) -> None:
        """Write what is new; the recording has ended where the card fails or the file is as long as it may be."""
        try:
            data = self._next(capture)
            while data:
                await self._card.append(self._path or "", data)
                self._bytes += len(data)
                self._entries = capture.entries
                data = self._next(capture)
        except (Refused, BadField) as exc:
            self._status, self._error = "ERROR", exc.code
        except Exception as exc:
            self._status, self._error = "ERROR", "INTERNAL"
            log_exception(exc)

    def _next(self, capture: Any) -> bytes:
        data = b""
        while len(data) < _TOGETHER and self._status == "RUNNING":
            part = capture.next()
            if part is None:
                break
            if self._bytes + len(data) + len(part) > self._most:
                self._status = "DONE"
                break
            data += part
        return data
