"""The HTTP server: an application on connections of our own.

Microdot 2.7 answers one HTTP/1.0 request a connection and knows no time limits. `Application` and `HttpServer` override
its extension points: `find_route` (a dict of static paths), `dispatch_request` (async handlers that give a
JsonResponse), `error_response` (JSON bodies), and `handle_request` (connections that are kept, pipelining, limits, one
write an answer).
"""

import asyncio

from firmware.http.answers import render
from firmware.http.application import Application
from firmware.http.connection import HANDLING, IDLE, WRITING, Connection
from firmware.http.limits import HttpLimits
from hal.runtime import CONNECTION_ERRORS, abort_stream, close_stream, log_exception, monotonic, peer_address

_STOP_SEC = 1  # how long answers in progress may take when the server stops


class HttpServer(Application):
    """Serves an application over HTTP/1.1 within limits."""

    def __init__(self, limits: HttpLimits, error_answer, clock=monotonic):
        super().__init__(limits, error_answer, clock)
        self._connections: set = set()
        self._listeners: list = []
        self._watchdog: asyncio.Task | None = None

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
                answer = self.error_answer("BUSY", "too many connections")
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
