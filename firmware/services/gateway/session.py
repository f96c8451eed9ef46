"""Serving Modbus on one stream: a client of the gateway, or the connection to a cloud server."""

import asyncio

from firmware.services.gateway.rtu import RtuStream
from firmware.services.routing.mbap import BadFrame, MbapStream
from firmware.services.routing.router import ModbusRouter
from hal.runtime import CONNECTION_ERRORS, abort_stream, close_stream, now_ms
from hal.runtime.annotations import Callable


class PeerIsServer(Exception):
    """What arrives are answers, or our own bytes: there is no client at the other end."""


class ModbusSession:
    """Reads requests from a stream, has them answered by the router, several at once, and writes the answers.

    `frames` cuts the stream: an MbapStream or an RtuStream. `from_cloud`: the other end may write the activation code;
    `origin` names it in the trace.
    """

    def __init__(
        self,
        frames: MbapStream | RtuStream,
        writer: asyncio.StreamWriter,
        router: ModbusRouter,
        from_cloud: bool = False,
        clock: Callable[[], int] = now_ms,
        origin: str = "tcp",
    ):
        self.from_cloud = from_cloud
        self._origin = origin
        self.end_reason = "CLOSED"  # why serving ended: CLOSED by the other end, BAD_FRAME, PEER_IS_SERVER, LOST
        self._used = clock()  # millisecond of the last whole request or answer
        self._call: tuple | None = None  # the frame that was sent unasked
        self._frames = frames
        self._writer = writer
        self._router = router
        self._clock = clock
        self._handles: dict = {}  # number of the request -> the router's handle
        self._count = 0
        self._free = asyncio.Event()
        self._closed = False

    async def serve(self) -> None:
        """Serve until the other end closes, sends something that is not Modbus, or the task is cancelled."""
        try:
            while True:
                request = await self._frames.next()
                if request is None:
                    await self._finish()
                    return
                self._used = self._clock()
                self._check(request)
                await self._router.turn()
                await self._take(request)
        except BadFrame:
            self.end_reason = "BAD_FRAME"
        except PeerIsServer:
            self.end_reason = "PEER_IS_SERVER"
        except CONNECTION_ERRORS:
            self.end_reason = "LOST"
        finally:
            self._closed = True
            for handle in list(self._handles.values()):
                self._router.cancel(handle)
            self._handles = {}
            abort_stream(self._writer)

    async def _finish(self) -> None:
        """The other end sends no more, but may wait for answers: a client such as nc closes its half of the
        connection first."""
        while self._handles:
            self._free.clear()
            await self._free.wait()
        self._closed = True
        await close_stream(self._writer)

    def idle_sec(self) -> float:
        """Seconds since the last request or answer; 0 while a request waits for its answer."""
        return 0.0 if self._handles else (self._clock() - self._used) / 1000

    def call(self, uid: int, pdu: bytes) -> None:
        """Say unasked who calls; the frame is no question of the other end when it comes back."""
        self._call = (0, uid, pdu)
        self._send(*self._call)

    def _send(self, tid: int, uid: int, pdu: bytes) -> None:
        if not self._closed:
            self._writer.write(self._frames.frame(tid, uid, pdu))

    def _check(self, request: tuple[int, int, bytes]) -> None:
        """PeerIsServer for what no client sends: function codes are 1..127, above are those of exception answers
        (application protocol 4.1). Answered, it would be answered by the server in turn, without end."""
        if not 1 <= request[2][0] <= 127 or request == self._call:
            raise PeerIsServer

    async def _take(self, request: tuple[int, int, bytes]) -> None:
        tid, uid, pdu = request
        self._count += 1
        number = self._count
        self._handles[number] = None

        def answered(answer: bytes | None) -> None:
            self._handles.pop(number, None)
            self._free.set()
            self._used = self._clock()
            if answer is not None:
                self._send(tid, uid, answer)

        handle = self._router.ask(uid, pdu, self, answered, self.from_cloud, self._origin)
        if number in self._handles:
            self._handles[number] = handle
        while len(self._handles) >= self._frames.in_flight:
            self._free.clear()
            await self._free.wait()
        await self._writer.drain()
