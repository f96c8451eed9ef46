"""One client's connection: its requests one after the other, each phase within its time."""

import asyncio

from microdot import Request

from firmware.http.answers import chunk, render, render_head
from firmware.http.application import Application
from firmware.http.http1 import ConnectionClosed, HttpError, RequestHead, RequestReader, body_length
from firmware.http.targets import split_target
from hal.runtime import abort_stream, close_stream, peer_address

IDLE, READING, HANDLING, WRITING, LINGERING = range(5)

_LINGER_SEC = 1  # how long a refused client may go on sending before the connection is cut
_LINGER_BYTES = 1 << 20


class Connection:
    """One client connection: reads requests, has them answered in order, keeps to the limits."""

    def __init__(self, application: Application, reader, writer, level: int):
        self.application = application
        self.level = level  # access level that the listener gives to whoever arrives on it
        self.address = peer_address(writer)
        self.phase = IDLE
        self.deadline: float | None = application.monotonic() + application.limits.head_sec
        self.idle_since = application.monotonic()
        self.expired = False
        self.writer = writer
        self.requests = RequestReader(reader, application.limits)
        self.task = asyncio.current_task()

    def expire(self) -> None:
        """End the connection where it stands; a client in the middle of a request is told 408."""
        if not self.expired:
            self.expired = True
            self.task.cancel()  # type: ignore[union-attr]

    async def serve(self) -> None:
        """Answer requests until either side ends the connection."""
        kept = True
        try:
            while kept and not self.application.closing:
                kept = await self._serve_one()
            self._enter(WRITING, self.application.limits.idle_sec)
            await close_stream(self.writer)
        except ConnectionClosed:
            self._enter(WRITING, self.application.limits.idle_sec)
            await close_stream(self.writer)
        except HttpError as exc:
            await self._refuse(exc)
        except asyncio.CancelledError:
            if not self.expired:
                raise
            if self.phase == READING and not self.application.closing:
                await self._refuse(HttpError("TIMEOUT", "the request did not arrive in time"))
            else:
                abort_stream(self.writer)

    def _enter(self, phase: int, seconds: "float | None") -> None:
        self.phase = phase
        self.deadline = None if seconds is None else self.application.monotonic() + seconds

    async def _serve_one(self) -> bool:
        limits = self.application.limits
        await self.requests.wait()
        self._enter(READING, limits.head_sec)
        head = await self.requests.head()
        length = body_length(head)
        body = b""
        if length != 0:
            if length is not None and length > limits.body_bytes:
                raise HttpError("TOO_LARGE", f"the body must not be longer than {limits.body_bytes} bytes")
            self._enter(READING, limits.body_sec)
            if head.expects_continue() and not self.requests.pending():
                await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._enter(READING, limits.body_sec)
            body = await self.requests.body(length)
        self._enter(HANDLING, None)
        path, query = split_target(head.target)
        request = Request(self.application, (self.address, 0), head.method, "", head.version, head.headers, body)  # type: ignore[arg-type]
        request.url, request.path, request.query_string = head.target, path, query  # decoded, so not for it to split
        request.g.level = self.level
        response = await self.application.dispatch_request(request)
        kept = head.keep_alive() and not self.application.closing
        if isinstance(response.body, bytes):
            answer = render(response.status_code, response.headers, response.body, kept, head.method == "HEAD")
            self._enter(WRITING, limits.body_sec)
            await self._send(answer)
        else:
            kept = kept and head.version == "1.1"
            await self._stream(response, head, kept)
        if response.after_sent is not None:
            response.after_sent()
        if kept:
            self._enter(IDLE, limits.idle_sec)
            self.idle_since = self.application.monotonic()
            if self.requests.pending():
                await asyncio.sleep(0)  # a client with a full pipeline must not keep the others waiting
        return kept

    async def _stream(self, response, head: RequestHead, kept: bool) -> None:
        """Send a body of unknown length part by part: in chunks, or to HTTP/1.0 until the connection closes."""
        chunked = head.version == "1.1"
        framing = "Transfer-Encoding: chunked\r\n" if chunked else ""
        self._enter(WRITING, self.application.limits.body_sec)
        await self._send(render_head(response.status_code, response.headers, framing, kept))
        if head.method == "HEAD":
            return
        async for part in response.body_iter():
            self._enter(WRITING, self.application.limits.body_sec)
            data = part.encode() if isinstance(part, str) else part
            await self._send(chunk(data) if chunked else data)
        if chunked:
            await self._send(b"0\r\n\r\n")

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _refuse(self, error: HttpError) -> None:
        """Send an error and let the client finish sending: closing at once would take the answer from it."""
        self.expired = False
        self._enter(LINGERING, _LINGER_SEC)
        answer = self.application.error_answer(error.code, str(error))
        try:
            await self._send(render(answer.status_code, answer.headers, answer.body, False))
            self.writer.write_eof()
            await self.requests.discard(_LINGER_BYTES)
        except (asyncio.CancelledError, AttributeError):  # MicroPython's streams have no write_eof
            if not self.expired:
                await asyncio.sleep(0)
        abort_stream(self.writer)
