"""The HTTP server: an application on connections of our own.

Microdot 2.7 answers one HTTP/1.0 request a connection and knows no time limits. `Application` and `HttpServer` override
its extension points: `find_route` (a dict of static paths), `dispatch_request` (async handlers that give a
JsonResponse), `error_response` (JSON bodies), and `handle_request` (connections that are kept, pipelining, limits, one
write an answer).
"""

import asyncio

from firmware.http.application import Application, no_clock
from firmware.http.connection import Connection
from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import JsonResponse
from firmware.http.slots import HANDLING, LINGERING, WRITING, Slots
from hal.runtime import CONNECTION_ERRORS, abort_stream, listen, log, now_ms, peer_address
from hal.runtime.annotations import Any, Callable, Socket
from hal.service import Service

_BACKLOG = 64  # connections that may wait to be accepted
_STOP_SEC = 1  # how long answers in progress may take when the server stops


class HttpServer(Application, Service):
    """Serves an application over HTTP/1.1 within limits."""

    def __init__(
        self,
        limits: HttpLimits,
        error_answer: Callable[..., JsonResponse],
        utc: Callable[[], int | None] = no_clock,
        clock: Callable[[], int] = now_ms,
    ):
        super().__init__(limits, error_answer, utc, clock)
        places = limits.connections
        self._slots = Slots(places, places - places // 4, places // 8)
        self._streams = Slots(limits.streams, max(min(2, limits.streams), limits.streams // 2), limits.streams // 8)
        self._connections: set[Connection] = set()
        self._listeners: list[asyncio.Server] = []
        self._refused = 0  # connections for which there was no place
        self.port = 0

    async def listen(self, host: str, port: int, level: int) -> int:
        """Listen on an address; return the port. `level` is the access level that arriving there gives."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accept(reader, writer, level)

        listener = await listen(accept, host, port, _BACKLOG)
        if not self._listeners:
            self.keep_running(self._watch())
        self._listeners.append(listener)
        sockets = getattr(listener, "sockets", None)
        self.port = sockets[0].getsockname()[1] if sockets else port
        return self.port

    async def listen_on(self, sock: Socket, level_of: Callable[[str], int]) -> asyncio.Server:
        """Listen on a listening socket too; return the listener. `level_of(address)` is what arriving there gives."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accept(reader, writer, level_of(peer_address(writer)))

        listener = await asyncio.start_server(accept, sock=sock)
        self._listeners.append(listener)
        return listener

    def sockets(self) -> list:
        """The sockets that it listens on."""
        return [sock for listener in self._listeners for sock in listener.sockets]

    def close_listener(self, listener: asyncio.Server) -> None:
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
        await super().stop()

    def connection_count(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def state(self) -> dict:
        """The state key `http`."""
        return {
            "requests": self.requests,
            "failed": self.failed,
            "refused": self._refused,
            "connections": self.connection_count(),
        }

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, level: int) -> None:
        connection = Connection(self, self._slots, self._streams, reader, writer, level)
        self._connections.add(connection)
        try:
            if self._is_overrun():
                self._refused += 1
                abort_stream(writer)
            elif not self.closing and self._slots.enter(connection, self.now()):
                await self.handle_request(connection, writer)
            else:
                self._refused += 1
                log(f"HTTP: no place for a connection from {connection.address}")
                await connection.turn_away()
        except CONNECTION_ERRORS:
            abort_stream(writer)
        except asyncio.CancelledError:
            abort_stream(writer)
        except MemoryError:
            self.out_of_memory("a connection")
            abort_stream(writer)
        except Exception as exc:
            self.count_error(exc)
            abort_stream(writer)
        finally:
            self._connections.discard(connection)

    def _is_overrun(self) -> bool:
        """Whether too many hold no place: who are turned away or gone, or have streams. The former are cut first."""
        if len(self._connections) <= 2 * self.limits.connections + self.limits.streams:
            return False
        lingering = [connection for connection in self._connections if connection.phase == LINGERING]
        if not lingering:
            return True
        oldest = min(lingering, key=lambda connection: connection.since)
        self._connections.discard(oldest)
        oldest.expire()
        return False

    async def handle_request(self, reader: Any, writer: asyncio.StreamWriter) -> None:
        """Microdot's hook for a new client: `reader` is the Connection made for it."""
        await reader.serve()

    async def _watch(self) -> None:
        """Expire connections past their deadline, and let go of those whose clients have gone."""
        limits = self.limits
        pause = min(1, limits.head_sec / 4, limits.body_sec / 4, limits.idle_sec / 4)
        while True:
            await asyncio.sleep(pause)
            now = self.now()
            for connection in list(self._connections):
                if connection.deadline is not None and now >= connection.deadline:
                    connection.expire()
                elif connection.is_gone():
                    connection.let_go()
