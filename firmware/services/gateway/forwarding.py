"""Requests to some unit ids go to remote Modbus TCP servers instead of the RS-485 line."""

import asyncio

from firmware.services.gateway.mbap import BadMbap, MbapReader, frame
from hal.runtime import CONNECTION_ERRORS, abort_stream, log_exception, monotonic, wait_until

CONNECT_SEC = 3
ANSWER_SEC = 3
IDLE_SEC = 60  # an unused connection is closed after so long
RETRY_SEC = 2  # a server that could not be reached is not tried again before
IN_FLIGHT_LIMIT = 32  # requests to one server that wait for its answers


class _Pending:
    def __init__(self, func: int, uid: int, answer, deadline: float):
        self.func = func
        self.uid = uid
        self.answer = answer
        self.deadline = deadline


class RemoteServer:
    """A connection to one Modbus TCP server, made when it is needed and shared by all requests to it."""

    def __init__(self, host: str, port: int, clock=monotonic):
        self._host = host
        self._port = port
        self._clock = clock
        self._pending: dict = {}  # our transaction id -> _Pending
        self._last_tid = 0
        self._queue: list = []  # frames that wait for the connection
        self._wake = asyncio.Event()
        self._task: asyncio.Task | None = None
        self._barred_until = 0.0

    def ask(self, uid: int, pdu: bytes, answer):
        """Send a request; `answer` is called once with the answer's PDU, "TIMEOUT" or "NO_PATH". Returns a handle."""
        if len(self._pending) >= IN_FLIGHT_LIMIT or (self._task is None and self._clock() < self._barred_until):
            answer("NO_PATH")
            return None
        self._last_tid = self._last_tid % 0xFFFF + 1
        while self._last_tid in self._pending:
            self._last_tid = self._last_tid % 0xFFFF + 1
        tid = self._last_tid
        self._pending[tid] = _Pending(pdu[0], uid, answer, self._clock() + ANSWER_SEC)
        self._queue.append(frame(tid, uid, pdu))
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return tid

    def cancel(self, tid: int) -> None:
        """Nobody waits for this answer any more."""
        self._pending.pop(tid, None)

    def close(self) -> None:
        """Close the connection; whoever waits gets NO_PATH."""
        if self._task is not None:
            self._task.cancel()
        self._fail_all("NO_PATH")

    async def _run(self) -> None:
        writer = None
        reading = None
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection(self._host, self._port), CONNECT_SEC)
            reading = asyncio.create_task(self._read(MbapReader(reader)))
            used = self._clock()
            while not reading.done() and (self._pending or self._clock() - used < IDLE_SEC):
                self._wake.clear()
                queue, self._queue = self._queue, []
                if queue:
                    used = self._clock()
                    writer.write(b"".join(queue))
                    await asyncio.wait_for(writer.drain(), ANSWER_SEC)
                self._expire()
                await wait_until(self._wake, self._next_deadline())
        except (asyncio.TimeoutError,) + CONNECTION_ERRORS:
            self._barred_until = self._clock() + RETRY_SEC
        except Exception as exc:
            log_exception(exc)
        finally:
            if reading is not None:
                reading.cancel()
            if writer is not None:
                abort_stream(writer)
            self._task = None
            self._queue = []
            self._fail_all("NO_PATH")

    def _next_deadline(self) -> float:
        """Seconds until the first waiting request must have been answered."""
        now = self._clock()
        return max(0.001, min([pending.deadline - now for pending in self._pending.values()] or [IDLE_SEC]))

    async def _read(self, frames: MbapReader) -> None:
        try:
            answer = await frames.next()
            while answer is not None:
                tid, uid, pdu = answer
                pending = self._pending.get(tid)
                if pending is not None and pending.uid == uid and pdu[0] & 0x7F == pending.func:
                    del self._pending[tid]
                    pending.answer(pdu)
                answer = await frames.next()
        except (BadMbap,) + CONNECTION_ERRORS:
            pass
        self._wake.set()

    def _expire(self) -> None:
        now = self._clock()
        for tid in [tid for tid, pending in self._pending.items() if pending.deadline <= now]:
            self._pending.pop(tid).answer("TIMEOUT")

    def _fail_all(self, reason: str) -> None:
        waiting, self._pending = self._pending, {}
        for pending in waiting.values():
            pending.answer(reason)


class Forwarding:
    """The forwarding table. `rows` is the active value of the setting of that name."""

    def __init__(self, rows: "list[dict]"):
        self._rows = rows
        self._servers: dict = {}  # (host, port) -> RemoteServer
        for row in rows:
            address = (row["host"], row["port"])
            if address not in self._servers:
                self._servers[address] = RemoteServer(row["host"], row["port"])

    def covers(self, uid: int) -> bool:
        """Whether requests to a unit id are forwarded."""
        return self._row(uid) is not None

    def ask(self, uid: int, pdu: bytes, answer):
        """As RemoteServer.ask, for the server of a covered unit id; returns a handle for `cancel`."""
        row = self._row(uid)
        assert row is not None
        server = self._servers[(row["host"], row["port"])]
        tid = server.ask(uid + row["uidOffset"], pdu, answer)
        return None if tid is None else (server, tid)

    def cancel(self, handle) -> None:
        """Nobody waits for this answer any more."""
        server, tid = handle
        server.cancel(tid)

    def stop(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            server.close()

    def _row(self, uid: int) -> "dict | None":
        for row in self._rows:
            if row["uidFrom"] <= uid <= row["uidTo"]:
                return row
        return None
