"""Serving Modbus TCP on one stream: a client of the gateway, or the connection to a cloud server."""

import asyncio

from firmware.services.gateway.mbap import BadMbap, MbapReader, frame
from firmware.services.gateway.router import ModbusRouter
from hal.runtime import CONNECTION_ERRORS, abort_stream, monotonic

IN_FLIGHT_LIMIT = 16  # requests of one client that wait for their answers; the next is read when one is answered


class ModbusSession:
    """Reads requests from a stream, has them answered by the router, several at once, and writes the answers.

    `used` is the monotonic time of the last whole request or answer.
    """

    def __init__(self, reader, writer, router: ModbusRouter, from_cloud: bool = False, clock=monotonic):
        self.used = clock()
        self.from_cloud = from_cloud
        self.end_reason = "CLOSED"  # why serving ended: CLOSED by the other end, BAD_FRAME, LOST
        self._frames = MbapReader(reader)
        self._writer = writer
        self._router = router
        self._clock = clock
        self._handles: dict = {}  # number of the request -> the router's handle
        self._count = 0
        self._free = asyncio.Event()
        self._closed = False

    async def serve(self) -> None:
        """Serve until the other end closes, sends something that is not Modbus TCP, or the task is cancelled."""
        try:
            while True:
                request = await self._frames.next()
                if request is None:
                    return
                self.used = self._clock()
                await self._take(request)
        except BadMbap:
            self.end_reason = "BAD_FRAME"
        except CONNECTION_ERRORS:
            self.end_reason = "LOST"
        finally:
            self._closed = True
            for handle in list(self._handles.values()):
                self._router.cancel(handle)
            self._handles = {}
            abort_stream(self._writer)

    def send(self, tid: int, uid: int, pdu: bytes) -> None:
        """Write one frame."""
        if not self._closed:
            self._writer.write(frame(tid, uid, pdu))

    async def _take(self, request: "tuple[int, int, bytes]") -> None:
        tid, uid, pdu = request
        self._count += 1
        number = self._count
        self._handles[number] = None

        def answered(answer: "bytes | None") -> None:
            self._handles.pop(number, None)
            self._free.set()
            if answer is not None and not self._closed:
                self.used = self._clock()
                self.send(tid, uid, answer)

        handle = self._router.ask(uid, pdu, self, answered, self.from_cloud)
        if number in self._handles:
            self._handles[number] = handle
        while len(self._handles) >= IN_FLIGHT_LIMIT:
            self._free.clear()
            await self._free.wait()
        await self._writer.drain()
