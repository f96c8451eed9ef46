"""The HTTP server: a Microdot application on connections of our own.

Microdot 2.7 answers one HTTP/1.0 request a connection and knows no time limits. `HttpServer` overrides its extension
points: `handle_request` (connections that are kept, pipelining, limits, one write an answer), `find_route` (a dict of
static paths), `dispatch_request` (async handlers that give a JsonResponse) and `error_response` (JSON bodies).
"""

import asyncio

from microdot import Microdot, Request, Response

from firmware.http.http1 import ConnectionClosed, HttpError, HttpLimits, RequestReader, body_length, render
from firmware.http.targets import split_target
from hal.runtime import (
    CONNECTION_ERRORS,
    abort_stream,
    close_stream,
    json_dumps,
    log_exception,
    monotonic,
    peer_address,
)

IDLE, READING, HANDLING, WRITING, LINGERING = range(5)

_LINGER_SEC = 1  # how long a refused client may go on sending before the connection is cut
_LINGER_BYTES = 1 << 20
_STOP_SEC = 1  # how long answers in progress may take when the server stops

_COMMON_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class JsonResponse(Response):
    """An answer with a JSON body. `after_sent`, where set, is called once the answer has left."""

    after_sent: object = None

    def __init__(self, content, status: int = 200, headers: "dict | None" = None):
        # Response.__init__ would build a case-insensitive header table for every answer.
        self.status_code = status
        self.reason = None  # type: ignore[assignment]
        self.is_head = False
        self.body = json_dumps(content).encode()
        self.headers = _COMMON_HEADERS if headers is None else dict(_COMMON_HEADERS, **headers)  # type: ignore[assignment]


class Connection:
    """One client connection: reads requests, has them answered in order, keeps to the limits."""

    def __init__(self, server: "HttpServer", reader, writer, level: int):
        self.server = server
        self.level = level  # access level that the listener gives to whoever arrives on it
        self.address = peer_address(writer)
        self.phase = IDLE
        self.deadline: float | None = server.monotonic() + server.limits.head_sec
        self.idle_since = server.monotonic()
        self.expired = False
        self.writer = writer
        self.requests = RequestReader(reader, server.limits)
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
            while kept and not self.server.closing:
                kept = await self._serve_one()
            self._enter(WRITING, self.server.limits.idle_sec)
            await close_stream(self.writer)
        except ConnectionClosed:
            self._enter(WRITING, self.server.limits.idle_sec)
            await close_stream(self.writer)
        except HttpError as exc:
            await self._refuse(exc)
        except asyncio.CancelledError:
            if not self.expired:
                raise
            if self.phase == READING and not self.server.closing:
                await self._refuse(HttpError("TIMEOUT", "the request did not arrive in time"))
            else:
                abort_stream(self.writer)

    def _enter(self, phase: int, seconds: "float | None") -> None:
        self.phase = phase
        self.deadline = None if seconds is None else self.server.monotonic() + seconds

    async def _serve_one(self) -> bool:
        limits = self.server.limits
        await self.requests.wait()
        self._enter(READING, limits.head_sec)
        head = await self.requests.head()
        length = body_length(head)
        body = b""
        if length != 0:
            if length is not None and length > limits.body_bytes:
                raise HttpError("TOO_LARGE", f"the body must not be longer than {limits.body_bytes} bytes")
            self._enter(READING, limits.body_sec)
            if not self.requests.pending() and head.headers.get("expect", "").lower() == "100-continue":
                await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
                self._enter(READING, limits.body_sec)
            body = await self.requests.body(length)
        self._enter(HANDLING, None)
        path, query = split_target(head.target)
        request = Request(self.server, (self.address, 0), head.method, "", head.version, head.headers, body)  # type: ignore[arg-type]
        request.url, request.path, request.query_string = head.target, path, query  # decoded, so not for it to split
        request.g.level = self.level
        response = await self.server.dispatch_request(request)
        kept = head.keep_alive() and not self.server.closing
        answer = render(response.status_code, response.headers, response.body, kept, head.method == "HEAD")
        self._enter(WRITING, limits.body_sec)
        await self._send(answer)
        if response.after_sent is not None:
            response.after_sent()
        if kept:
            self._enter(IDLE, limits.idle_sec)
            self.idle_since = self.server.monotonic()
            if self.requests.pending():
                await asyncio.sleep(0)  # a client with a full pipeline must not keep the others waiting
        return kept

    async def _send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def _refuse(self, error: HttpError) -> None:
        """Send an error and let the client finish sending: closing at once would take the answer from it."""
        self.expired = False
        self._enter(LINGERING, _LINGER_SEC)
        answer = self.server.error_answer(error.code, str(error))
        try:
            await self._send(render(answer.status_code, answer.headers, answer.body, False))
            self.writer.write_eof()
            await self.requests.discard(_LINGER_BYTES)
        except (asyncio.CancelledError, AttributeError):  # MicroPython's streams have no write_eof
            if not self.expired:
                await asyncio.sleep(0)
        abort_stream(self.writer)


class HttpServer(Microdot):
    """Serves the routes of a Microdot application over HTTP/1.1 within limits.

    `error_answer(code, message, headers)` makes the answers to what goes wrong here: BAD_REQUEST, TIMEOUT, TOO_LARGE,
    URI_TOO_LONG, HEADERS_TOO_LARGE, NOT_IMPLEMENTED, HTTP_VERSION, NOT_FOUND, METHOD_NOT_ALLOWED, BUSY and INTERNAL.
    What a handler raises is unexpected: it is logged, counted in `errors` and answered with INTERNAL.
    """

    def __init__(self, limits: HttpLimits, error_answer, clock=monotonic):
        super().__init__()
        self.limits = limits
        self.error_answer = error_answer
        self.monotonic = clock
        self.closing = False
        self.errors = 0
        self._paths: dict = {}  # path without trailing slash -> {method: handler}
        self._connections: set = set()
        self._listeners: list = []
        self._watchdog: asyncio.Task | None = None

    # Routes

    def add(self, method: str, path: str, handler) -> None:
        """Route a method on a static path, with and without its trailing slash, to an async handler."""
        self._paths.setdefault(path.rstrip("/"), {})[method] = handler

    def find_route(self, req):
        """As Microdot's, by one look into a dict."""
        path = req.path
        methods = self._paths.get(path) or (self._paths.get(path[:-1]) if path[-1:] == "/" else None)
        if methods is None:
            return 404, "", None
        method = "GET" if req.method == "HEAD" else req.method
        handler = methods.get(method)
        if handler is None:
            req.g.allow = allowed_methods(methods)
            handler = _options if method == "OPTIONS" else 405
        return handler, "", None

    async def dispatch_request(self, req):
        """As Microdot's, without its hooks and without its care for what else a handler could be or give."""
        handler, _, _ = self.find_route(req)
        if not callable(handler):
            return await self.error_response(req, handler)
        try:
            return await handler(req)
        except Exception as exc:
            log_exception(exc)
            return await self.error_response(req, 500)

    async def error_response(self, req, status_code, reason=None):
        """The answer where no handler gives one."""
        if status_code == 404:
            return self.error_answer("NOT_FOUND", "there is no such path")
        if status_code == 405:
            allow = req.g.allow
            return self.error_answer("METHOD_NOT_ALLOWED", "allowed here: " + allow, {"Allow": allow})
        self.errors += 1
        return self.error_answer("INTERNAL", "an unexpected error, written to the device's log")

    # Connections

    async def start(self, host: str, port: int, level: int) -> int:
        """Listen on an address; return the port. `level` is the access level that arriving there gives."""

        async def accept(reader, writer):
            await self._accept(reader, writer, level)

        listener = await asyncio.start_server(accept, host, port, backlog=64)
        self._listeners.append(listener)
        self._watchdog = asyncio.create_task(self._watch())
        sockets = getattr(listener, "sockets", None)
        return sockets[0].getsockname()[1] if sockets else port

    async def listen_on(self, sock, level_of):
        """Listen on a listening socket too; return the listener. `level_of(address)` is what arriving there gives."""

        async def accept(reader, writer):
            await self._accept(reader, writer, level_of(peer_address(writer)))

        listener = await asyncio.start_server(accept, sock=sock)
        self._listeners.append(listener)
        return listener

    def sockets(self) -> list:
        """The sockets that it listens on."""
        return [sock for listener in self._listeners for sock in listener.sockets]

    def close_listener(self, listener) -> None:
        """Listen no more on what `listen_on` has returned; connections that came over it go on."""
        self._listeners.remove(listener)
        listener.close()

    async def stop(self) -> None:
        """Stop listening, finish the answers in progress within a second, close every connection."""
        self.closing = True
        for listener in self._listeners:
            listener.close()
        for connection in list(self._connections):
            if connection.phase not in (HANDLING, WRITING):
                connection.expire()
        waited = 0.0
        while self._connections and waited < _STOP_SEC:
            await asyncio.sleep(0.02)
            waited += 0.02
        for connection in list(self._connections):
            connection.expire()
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def is_alive(self) -> bool:
        """False where it has ended by itself, by an unexpected error."""
        return self._watchdog is None or not self._watchdog.done()

    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    async def _accept(self, reader, writer, level: int) -> None:
        connection = Connection(self, reader, writer, level)
        try:
            if self.closing or not self._make_room():
                answer = self.error_answer("BUSY", "too many connections", {"Retry-After": "1"})
                writer.write(render(answer.status_code, answer.headers, answer.body, False))
                await writer.drain()
                await close_stream(writer)
                return
            self._connections.add(connection)
            await self.handle_request(connection, writer)
        except CONNECTION_ERRORS:
            abort_stream(writer)
        except asyncio.CancelledError:
            abort_stream(writer)
        except Exception as exc:
            self.errors += 1
            log_exception(exc)
            abort_stream(writer)
        finally:
            self._connections.discard(connection)

    async def handle_request(self, reader, writer):
        """Microdot's hook for a new client: `reader` is the Connection made for it."""
        await reader.serve()

    def _make_room(self) -> bool:
        """Whether one more connection fits; the one idle longest gives way, never one in the middle of a request."""
        if len(self._connections) < self.limits.connections:
            return True
        idle = [connection for connection in self._connections if connection.phase == IDLE and not connection.expired]
        if not idle:
            return False
        longest = idle[0]
        for connection in idle:
            if connection.idle_since < longest.idle_since:
                longest = connection
        self._connections.discard(longest)
        longest.expire()
        return True

    async def _watch(self) -> None:
        """Expire connections past their deadline."""
        limits = self.limits
        pause = min(1, limits.head_sec / 4, limits.body_sec / 4, limits.idle_sec / 4)
        while True:
            await asyncio.sleep(pause)
            now = self.monotonic()
            for connection in list(self._connections):
                if connection.deadline is not None and now >= connection.deadline:
                    connection.expire()


def allowed_methods(methods) -> str:
    """The value of an Allow header for a path's methods."""
    names = sorted(methods)
    if "GET" in names:
        names.append("HEAD")
    return ", ".join(names + ["OPTIONS"])


async def _options(request):
    return JsonResponse({}, 200, {"Allow": request.g.allow})
