"""One client's connection: its requests one after the other, each phase within its time."""

import asyncio

from microdot import Request, Response

from firmware.http.application import Application
from firmware.http.messages.answers import render, render_head
from firmware.http.messages.bodies import BrokenBody, Parts
from firmware.http.messages.http1 import (
    ConnectionClosed,
    HttpError,
    RequestHead,
    RequestReader,
    body_length,
    check_size,
)
from firmware.http.messages.targets import split_target
from firmware.http.slots import FRESH, HANDLING, IDLE, LINGERING, READING, STREAMING, WRITING, Client, Slots
from hal.ip_addresses import source_of
from hal.runtime import (
    MICROPYTHON,
    abort_stream,
    close_stream,
    in_time,
    keep_alive,
    limit_reads,
    peer_address,
    peer_is_gone,
)

GONE_SEC = 1  # a client may have closed only its own half, as `nc` does; an answer that is ready by then is sent

_REFUSED_BYTES = 4096  # so much of a body is read for the sake of the connection where its request is refused
_READ_BYTES = 16384  # taken of what a client sends in one turn of the loop
_LINGER_SEC = 1  # how long a refused client may go on sending before the connection is cut
_LINGER_BYTES = 1 << 20
_SHORT_LINGER_SEC = 0.1
_PROBE_SEC = 30  # TCP probes a silent stream's client so often


class LastAnswer(Exception):
    """The answer after which the connection ends, since what the client is still sending is not read."""

    def __init__(self, answer: Response):
        super().__init__()
        self.answer = answer


class Connection(Client):
    """One client connection: reads requests, has them answered in order, keeps to the limits.

    `slots` are the places of connections, `streams` those of answers without an end.
    """

    def __init__(
        self,
        application: Application,
        slots: Slots,
        streams: Slots,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        level: int,
    ):
        self.address = peer_address(writer)
        super().__init__(source_of(self.address), level, application.now())
        self.deadline: int | None = self.since + int(application.limits.head_sec * 1000)
        self._application = application
        self._slots = slots
        self._streams = streams
        self._writer = writer
        limit_reads(writer, _READ_BYTES)
        self._requests = RequestReader(reader, application.limits)
        self._task = asyncio.current_task()
        self._expired = False
        self._crowded_out = False
        self._gone = False
        self._safe = True  # whether what is asked for may be given up when nobody waits for it any more

    # What others do to it

    def expire(self) -> None:
        """End the connection where it stands; a client in the middle of a request is told 408."""
        if not self._expired:
            self._expired = True
            self._task.cancel()  # type: ignore[union-attr]

    def is_gone(self) -> bool:
        """Whether the client has closed while it is being served."""
        return self.phase in (HANDLING, STREAMING) and peer_is_gone(self._writer)

    def give_way(self) -> None:
        """Its place is another's; its answer is finished where the client has gone, else it ends here."""
        if self.is_gone():
            self.let_go()
        else:
            self._crowded_out = True
            self.expire()

    def let_go(self) -> None:
        """The client has gone: its places are free. What a POST has begun is done, anything else soon given up."""
        if not self._gone:
            self._gone = True
            self._leave()
            if self._safe:
                self.deadline = self._application.now() + GONE_SEC * 1000

    # Serving

    async def serve(self) -> None:
        """Answer requests until either side ends the connection."""
        kept = True
        try:
            while kept and not self._application.closing:
                kept = await self._serve_one()
            self._enter(WRITING, self._application.limits.idle_sec)
            await close_stream(self._writer)
        except ConnectionClosed:
            self._enter(WRITING, self._application.limits.idle_sec)
            await close_stream(self._writer)
        except HttpError as exc:
            await self._refuse(exc)
        except LastAnswer as exc:
            await self._send_last(exc.answer)
        except asyncio.CancelledError:
            if not self._expired:
                raise
            await self._end()
        except BrokenBody as exc:
            self._application.count_error(exc)
            abort_stream(self._writer)
        except MemoryError:
            await self._run_short()
        finally:
            self._leave()

    async def turn_away(self) -> None:
        """Tell a client for whom there is no place to try again."""
        await self._refuse(HttpError("BUSY", "too many connections"))

    def _enter(self, phase: int, seconds: float | None) -> None:
        self.phase = phase
        self.since = self._application.now()
        self.deadline = None if seconds is None else self.since + int(seconds * 1000)

    def _leave(self) -> None:
        self._slots.leave(self)
        self._streams.leave(self)

    async def _end(self) -> None:
        """End what has expired."""
        if self._crowded_out and self.phase in (FRESH, READING):
            await self.turn_away()
        elif self.phase == READING and not self._application.closing:
            await self._refuse(HttpError("TIMEOUT", "the request did not arrive in time"))
        else:
            abort_stream(self._writer)

    async def _run_short(self) -> None:
        """End a request that there is no memory for: with an answer where none has begun."""
        answer = self._application.out_of_memory("a request")
        if self.phase in (FRESH, IDLE, READING, HANDLING):
            await self._send_last(answer)
        else:
            abort_stream(self._writer)

    async def _serve_one(self) -> bool:
        limits = self._application.limits
        await self._requests.wait()
        self._enter(READING, limits.head_sec)
        head = await self._requests.head()
        length = body_length(head)
        request = self._request(head)
        taken = length == 0 or await self._take_body(request, head, length)
        self._enter(HANDLING, None)
        self._safe = head.method != "POST"
        response = await self._application.dispatch_request(request)
        if not taken:
            raise LastAnswer(response)
        kept = head.keep_alive() and not self._application.closing and not self._gone
        if type(response.body) is bytes:
            date = self._application.date_field(self.since)
            answer = render(response, kept, date, head.method == "HEAD")
            self._enter(WRITING, limits.body_sec)
            await self._send(answer)
        else:
            kept = await self._send_body(response, head, kept)
        after_sent = getattr(response, "after_sent", None)
        if after_sent is not None:
            after_sent()
        if kept:
            self._enter(IDLE, limits.idle_sec)
            if self._requests.pending():
                await asyncio.sleep(0)  # a client with a full pipeline must not keep the others waiting
        return kept

    async def _take_body(self, request: Request, head: RequestHead, length: int | None) -> bool:
        """Read the body; False where it is left unread, because the request is refused without it."""
        limits = self._application.limits
        limit = self._application.body_limit(request)
        if limit is None:
            if length is None or length > _REFUSED_BYTES or head.expects_continue():
                return False
            limit = _REFUSED_BYTES
        check_size(length or 0, limit)
        self._enter(READING, limits.body_sec)
        if head.expects_continue() and not self._requests.pending():
            await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._enter(READING, limits.body_sec)
        request._body = await self._requests.body(length, limit)  # type: ignore[attr-defined]
        return True

    def _request(self, head: RequestHead) -> Request:
        path, query = split_target(head.target)
        peer = (self.address, 0)
        request = Request(self._application, peer, head.method, "", head.version, head.headers, b"")  # type: ignore[arg-type]
        request.url, request.path, request.query_string = head.target, path, query  # decoded, so not for it to split
        request.g.level = self.level
        request.g.welcome = self._welcome
        return request

    def _welcome(self) -> None:
        """For handlers: the client has proved to be a user."""
        self._slots.welcome(self.source)
        self._streams.welcome(self.source)

    # Answering

    async def _send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()  # also where nothing waits: it tells of a client that has gone

    async def _send_body(self, response: Response, head: RequestHead, kept: bool) -> bool:
        """Send an answer whose body comes in parts; whether the connection can be used again (RFC 9112 section 6.3)."""
        parts = Parts(response.body)
        try:
            whole = head.method != "HEAD"
            if parts.live and whole:
                self._take_stream()
            length = await parts.length()
            chunked = length is None and head.version != "1.0"
            ends = length is not None or (chunked and not parts.live)
            kept = kept and (ends or not whole)
            framing = f"Content-Length: {length}\r\n" if length is not None else ""
            framing = "Transfer-Encoding: chunked\r\n" if chunked else framing
            date = self._application.date_field(self.since)
            self._enter(WRITING, self._application.limits.body_sec)
            await self._send(render_head(response, framing, kept, date))
            if whole:
                await self._send_parts(parts, chunked)
        finally:
            await parts.close()
        return kept

    def _take_stream(self) -> None:
        """A stream has a place of its own for as long as it lasts, and the connection's is free for others."""
        if not self._streams.enter(self, self._application.now()):
            raise HttpError("BUSY", "too many streams are open")
        self._slots.leave(self)
        keep_alive(self._writer, _PROBE_SEC)

    async def _send_parts(self, parts: Parts, chunked: bool) -> None:
        body_sec = self._application.limits.body_sec
        while not (self._gone and parts.live):
            self._enter(STREAMING if parts.live else WRITING, None if parts.live else body_sec)
            part = await parts.next()
            if part is None:
                break
            self._enter(WRITING, body_sec)
            await self._send(f"{len(part):x}\r\n".encode() + part + b"\r\n" if chunked else part)
            await asyncio.sleep(0)  # a client that takes all at once must not keep the others waiting
        if chunked:
            await self._send(b"0\r\n\r\n")

    async def _refuse(self, error: HttpError) -> None:
        await self._send_last(self._application.error_answer(error.code, str(error)))

    async def _send_last(self, answer: Response) -> None:
        """Send an answer and let the client finish sending: closing at once would take the answer from it."""
        self._expired = False
        self._enter(LINGERING, _LINGER_SEC)
        self._leave()
        try:
            await self._send(render(answer, False, self._application.date_field(self.since)))
            if MICROPYTHON:  # whose streams cannot end one half: the client only has until what it has sent is read
                await in_time(self._requests.discard(_LINGER_BYTES), _SHORT_LINGER_SEC)
            else:
                self._writer.write_eof()
                await self._requests.discard(_LINGER_BYTES)
        except asyncio.TimeoutError:
            pass
        except asyncio.CancelledError:
            if not self._expired:
                await asyncio.sleep(0)
        abort_stream(self._writer)
