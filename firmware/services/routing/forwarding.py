"""Requests to some unit ids go to remote Modbus TCP servers instead of the RS-485 line."""

import asyncio

from firmware.services import shapes
from firmware.services.bus.transaction import Transaction
from firmware.services.errors import Refused
from firmware.services.routing.mbap import BadFrame, MbapStream, frame
from hal.ip_addresses import is_local, parse_address
from hal.rs485.framing import READ_ONLY
from hal.runtime import (
    CONNECTION_ERRORS,
    abort_stream,
    addresses_of,
    in_time,
    log_exception,
    now_ms,
    wait_until,
)
from hal.runtime.annotations import Awaitable, Callable
from hal.service import Service, Trouble

CONNECT_SEC = 3
IDLE_SEC = 60  # an unused connection is closed after so long
RETRY_SEC = 2  # a server that could not be reached is not tried again before
WAITING_LIMIT = 32  # requests that wait for one server, those in flight besides


async def dial(host: str, port: int) -> tuple:
    """(reader, writer) of a connection to a host. OSError, for loopback and link-local addresses too: there are the
    services of this machine and of its boot, which no client is meant to reach through it."""
    failure = OSError(f"{host} has no address that may be forwarded to")
    for address in await addresses_of(host, port):
        if is_local(parse_address(address)):
            continue
        try:
            return await asyncio.open_connection(address, port)
        except OSError as exc:
            failure = exc
    raise failure


class Question:
    """A request and its way to a server."""

    def __init__(self, transaction: Transaction, uid: int, now: int, wait: float):
        self.transaction = transaction
        self.uid = uid  # by which the server knows the unit
        self.asked = now
        self.deadline = now + int(wait * 1000)  # for the answer
        self.latest = now + int(transaction.wait * 1000)  # for being sent
        self.may_repeat = transaction.pdu[0] in READ_ONLY


class RemoteServer(Service):
    """A connection to one Modbus TCP server, made when it is needed and shared by all requests to it.

    `row` is the first row of the setting forwarding that names it; `connect(host, port)` opens the connection.
    """

    def __init__(
        self,
        row: shapes.ForwardingItem,
        connect: Callable[[str, int], Awaitable[tuple]] = dial,
        clock: Callable[[], int] = now_ms,
    ):
        self._host = row["host"]
        self._port = row["port"]
        self._in_flight = row["inFlight"]
        self._pause = row["connectPauseMs"] / 1000
        self._connect = connect
        self._clock = clock
        self._waiting: list[Question] = []  # questions that have not been sent, in their order
        self._sent: dict[int, Question] = {}  # our transaction id -> question that waits for its answer
        self._last_tid = 0
        self._wake = asyncio.Event()
        self._serves = False
        self._barred_until = 0
        self._trouble = Trouble(f"forwarding to {self._host}:{self._port}")

    def ask(self, transaction: Transaction, uid: int, wait: float) -> None:
        """Have the server answer within `wait` seconds, or end the transaction with TIMEOUT or NO_PATH.

        `uid` is the unit id by which the server knows the unit. Refused BUS_BUSY.
        """
        now = self._clock()
        if not self._serves and now < self._barred_until:
            transaction.finish("NO_PATH", now)
            return
        if len(self._waiting) >= WAITING_LIMIT:
            raise Refused("BUS_BUSY", f"{WAITING_LIMIT} requests wait for {self._host} already", 1)
        self._waiting.append(Question(transaction, uid, now, wait))
        self._wake.set()
        if not self._serves:
            self._serves = True
            self.spawn(self._run())

    def cancel(self, transaction: Transaction) -> bool:
        """End a transaction for which nobody waits any more; False where it does not wait here."""
        for question in self._questions():
            if question.transaction is transaction:
                self._end(question, "CANCELLED")
                return True
        return False

    async def stop(self) -> None:
        """Close the connection; whoever waits gets NO_PATH."""
        await super().stop()
        self._serves = False
        self._fail_all()

    async def _run(self) -> None:
        """One connection after another while somebody waits for an answer."""
        try:
            while self._waiting:
                await self._serve()
            self._trouble.end()
        except (asyncio.TimeoutError,) + CONNECTION_ERRORS as exc:
            self._barred_until = self._clock() + RETRY_SEC * 1000
            self._trouble.tell(str(exc) or f"no connection within {CONNECT_SEC} s")
        except Exception as exc:
            log_exception(exc)
        finally:
            self._serves = False
            self._fail_all()

    async def _serve(self) -> None:
        """One connection, until either side ends it."""
        reader, writer = await in_time(self._connect(self._host, self._port), CONNECT_SEC)
        frames = MbapStream(reader)
        reading = None
        try:
            if self._pause:
                await asyncio.sleep(self._pause)
            reading = self.spawn(self._read(frames))
            used = self._clock()
            while not reading.done() and (self._waiting or self._sent or self._clock() - used < IDLE_SEC * 1000):
                self._wake.clear()
                self._expire()
                if self._send(writer):
                    used = self._clock()
                    await in_time(writer.drain(), CONNECT_SEC)
                await wait_until(self._wake, self._next_deadline())
        finally:
            if reading is not None:
                reading.cancel()
            abort_stream(writer)
        self._ask_again(frames.is_empty())

    def _send(self, writer: asyncio.StreamWriter) -> bool:
        """Send what waits, as far as the server takes so many at once; whether there was anything."""
        sent = False
        while self._waiting and len(self._sent) < self._in_flight:
            question = self._waiting.pop(0)
            tid = self._next_tid()
            self._sent[tid] = question
            writer.write(frame(tid, question.uid, question.transaction.pdu))
            sent = True
        return sent

    def _next_tid(self) -> int:
        self._last_tid = self._last_tid % 0xFFFF + 1
        while self._last_tid in self._sent:
            self._last_tid = self._last_tid % 0xFFFF + 1
        return self._last_tid

    def _next_deadline(self) -> float:
        """Seconds until the first request that waits must have been answered."""
        now = self._clock()
        ends = [question.deadline for question in self._questions()] + [question.latest for question in self._waiting]
        return max(1, min([end - now for end in ends] or [IDLE_SEC * 1000])) / 1000

    async def _read(self, frames: MbapStream) -> None:
        try:
            answer = await frames.next()
            while answer is not None:
                self._take(answer[0], answer[2])
                answer = await frames.next()
        except (BadFrame,) + CONNECTION_ERRORS:
            pass
        self._wake.set()

    def _take(self, tid: int, pdu: bytes) -> None:
        """An answer is known by its transaction id: there are servers that put 0 in place of the unit id."""
        question = self._sent.get(tid)
        if question is None or pdu[0] & 0x7F != question.transaction.pdu[0] or len(pdu) < 2:
            return
        now = self._clock()
        self._leave(question)
        question.transaction.elapsed = (now - question.asked) / 1000
        question.transaction.answered(pdu, now)
        self._wake.set()

    def _ask_again(self, untouched: bool) -> None:
        """The connection has ended. Reads of whose answers nothing had come are sent on the next one, once: a server
        that closes after each answer has not read them."""
        again = []
        for tid in sorted(self._sent, key=self._place):
            question = self._sent[tid]
            if untouched and question.may_repeat:
                question.may_repeat = False
                again.append(question)
            else:
                self._end(question, "NO_PATH")
        self._sent = {}
        self._waiting = again + self._waiting

    def _place(self, tid: int) -> int:
        """A transaction id's place in the order in which they were given."""
        return (tid - self._last_tid - 1) & 0xFFFF

    def _questions(self) -> list[Question]:
        return self._waiting + list(self._sent.values())

    def _expire(self) -> None:
        now = self._clock()
        for question in self._questions():
            if question.deadline <= now:
                self._end(question, "TIMEOUT")
        for question in list(self._waiting):
            if question.latest <= now:
                self._end(question, "BUS_BUSY")

    def _fail_all(self) -> None:
        for question in self._questions():
            self._end(question, "NO_PATH")

    def _end(self, question: Question, error: str) -> None:
        self._leave(question)
        now = self._clock()
        question.transaction.elapsed = (now - question.asked) / 1000
        question.transaction.finish(error, now)

    def _leave(self, question: Question) -> None:
        """Wait for this answer no more."""
        if question in self._waiting:
            self._waiting.remove(question)
        for tid, other in list(self._sent.items()):
            if other is question:
                del self._sent[tid]


class Forwarding(Service):
    """The forwarding table. `rows` is the active value of the setting of that name, `connect` as for RemoteServer."""

    def __init__(self, rows: list[shapes.ForwardingItem], connect: Callable[[str, int], Awaitable[tuple]] = dial):
        self._rows = rows
        self._servers: dict[tuple[str, int], RemoteServer] = {}  # (host, port) -> RemoteServer
        for row in rows:
            address = (row["host"], row["port"])
            if address not in self._servers:
                self._servers[address] = RemoteServer(row, connect)

    def covers(self, uid: int) -> bool:
        """Whether requests to a unit id are forwarded."""
        return self._row(uid) is not None

    def ask(self, transaction: Transaction) -> None:
        """Have the server of a covered unit id answer: within the transaction's own timeout, or else the row's; it ends
        with TIMEOUT or NO_PATH where it has no answer. Refused BUS_BUSY."""
        row = self._row(transaction.uid)
        assert row is not None
        wait = row["answerMs"] / 1000 if transaction.timeout is None else transaction.timeout
        self._servers[(row["host"], row["port"])].ask(transaction, transaction.uid + row["uidOffset"], wait)

    def cancel(self, transaction: Transaction) -> bool:
        """End a transaction for which nobody waits any more; False where it does not wait here."""
        return any(server.cancel(transaction) for server in self._servers.values())

    async def stop(self) -> None:
        """Close all connections."""
        for server in self._servers.values():
            await server.stop()

    def _row(self, uid: int) -> shapes.ForwardingItem | None:
        for row in self._rows:
            if row["uidFrom"] <= uid <= row["uidTo"]:
                return row
        return None
