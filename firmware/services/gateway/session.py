"""Serving Modbus on one stream: a client of the gateway, or the connection to a cloud server."""

import asyncio

from firmware.services.bus.transaction import Transaction
from firmware.services.gateway.rtu import RtuFrames
from firmware.services.routing.mbap import BadFrame, MbapFrames
from firmware.services.routing.router import ModbusRouter
from hal.runtime import CONNECTION_ERRORS, abort_stream, close_stream, flow_of, has_unsent, now_ms, run_task
from hal.runtime.annotations import Callable

UNREAD_LIMIT = 4096  # bytes of requests that wait; no more are taken from the stream before


class PeerIsServer(Exception):
    """What arrives are answers, or our own bytes: there is no client at the other end."""


class ModbusSession:
    """Takes requests from a stream, has them answered by the router, several at once, and writes the answers.

    A request goes its way in the turn of the event loop in which it comes. `frames` cuts the stream; `from_cloud`: the
    other end may write the activation code; `origin` names it in the trace.
    """

    opened = 0  # how many there have been

    def __init__(
        self,
        frames: MbapFrames | RtuFrames,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        router: ModbusRouter,
        from_cloud: bool = False,
        clock: Callable[[], int] = now_ms,
        origin: str = "tcp",
    ):
        ModbusSession.opened += 1
        self._source = ("session", ModbusSession.opened)  # the bus remembers it when this session has long ended
        self.from_cloud = from_cloud
        self._origin = origin
        self.end_reason = "CLOSED"  # why serving ended: CLOSED by the other end, BAD_FRAME, PEER_IS_SERVER, LOST
        self._used = clock()  # millisecond of the last whole request or answer
        self._call: tuple | None = None  # the frame that was sent unasked
        self._frames = frames
        self._writer = writer
        self._flow = flow_of(reader, writer, self._received)
        self._router = router
        self._clock = clock
        self._handles: dict[int, Transaction | None] = {}  # number of the request -> the router's handle
        self._count = 0
        self._free = asyncio.Event()  # set when one of those that `_finish` waits for has ended
        self._closed = False
        self._paused = False  # whether no more is taken from the stream
        self._queued = False  # whether the router knows that it waits for its turn
        self._draining: asyncio.Task | None = None
        self._task: asyncio.Task | None = None

    async def serve(self) -> None:
        """Serve until the other end closes, sends something that is not Modbus, or the task is cancelled."""
        self._task = asyncio.current_task()
        try:
            await self._flow.run()
            await self._finish()
        except asyncio.CancelledError:
            if self.end_reason == "CLOSED":
                raise  # it was not `_break`
        except CONNECTION_ERRORS:
            self.end_reason = "LOST"
        finally:
            self._closed = True
            for handle in list(self._handles.values()):
                if handle is not None:
                    self._router.cancel(handle)
            self._handles = {}
            abort_stream(self._writer)

    def _break(self, reason: str) -> None:
        """Serve no more."""
        self.end_reason = reason
        self._closed = True
        if self._task is not None:
            self._task.cancel()

    async def _finish(self) -> None:
        """The other end sends no more, but may wait for answers: a client such as nc closes its half of the
        connection first."""
        while self._handles or self._queued or self._draining is not None:
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

    def _received(self, data: bytes) -> None:
        """Bytes have come."""
        self._frames.feed(data)
        if self._frames.size() > UNREAD_LIMIT:
            self._paused = True
            self._flow.pause()
        self._proceed()

    def _proceed(self) -> None:
        """Take the next request, now or in this connection's turn."""
        if self._queued or self._closed or self._draining is not None or not self._frames.size():
            return
        if len(self._handles) < self._frames.in_flight:
            self._queued = True
            if self._router.begin(self._step):
                self._step()

    def _step(self) -> None:
        """It is this connection's turn."""
        self._queued = False
        size = self._frames.size()
        try:
            request = self._frames.cut()
            if request is not None:
                self._used = self._clock()
                self._check(request)
                self._take(request)
        except BadFrame:
            self._break("BAD_FRAME")
        except PeerIsServer:
            self._break("PEER_IS_SERVER")
        left = self._frames.size()
        if left < size:
            if self._paused and left <= UNREAD_LIMIT:
                self._paused = False
                self._flow.resume()
            self._proceed()
        self._free.set()

    def _take(self, request: tuple[int, int, bytes]) -> None:
        tid, uid, pdu = request
        self._count += 1
        number = self._count
        self._handles[number] = None

        def answered(answer: bytes | None) -> None:
            self._handles.pop(number, None)
            self._used = self._clock()
            if answer is not None:
                self._send(tid, uid, answer)
            self._free.set()
            self._proceed()

        handle = self._router.ask(uid, pdu, self._source, answered, self.from_cloud, self._origin)
        if number in self._handles:
            self._handles[number] = handle
        if has_unsent(self._writer):
            self._draining = run_task(self._drain())

    async def _drain(self) -> None:
        """Take nothing from a client that does not read its answers."""
        try:
            await self._writer.drain()
        except CONNECTION_ERRORS:
            self._break("LOST")
        finally:
            self._draining = None
            self._free.set()
        self._proceed()
