"""Modbus requests of HTTP clients: accepted at once, their results fetched by transaction id."""

import asyncio
from collections import namedtuple

from firmware.services.bus.pdu import READ_BITS, READ_REGISTERS, Fields, build, read_values
from firmware.services.bus.transaction import INTERACTIVE, Transaction
from firmware.services.errors import Refused
from firmware.services.routing.router import ModbusRouter
from hal.fields import BadField
from hal.rs485.framing import answer_fits
from hal.runtime import MICROPYTHON, now_ms, wait_until
from hal.runtime.annotations import Callable
from hal.service import Service

RESULTS_LIMIT = 32 if MICROPYTHON else 256
_ANSWER_BYTES = 1024  # that accepting a request takes up to its answer
SWEEP_SEC = 10  # results that nobody may read any more are dropped so often
RESULT_SEC = 60  # how long a result can be read


# What is kept of a Transaction that has ended: a third of its memory.
Ended = namedtuple("Ended", ("uid", "pdu", "answer", "error", "exception", "heard_uid", "raw", "elapsed", "ended"))


class Result:
    """What has come of a request so far.

    `error` is None while it is pending and where it is answered. `values` are those of a typed read, None of any other.
    """

    def __init__(self, transaction: Transaction | Ended, asked: tuple[int, str | None, str] | None):
        self.transaction = transaction
        self.is_done = transaction.ended is not None
        self.error = _error(transaction, asked is not None) if self.is_done else None
        self.values: list | None = None
        if asked is not None and self.is_done and self.error is None:
            count, kind, order = asked
            self.values = read_values(transaction.pdu[0], count, transaction.answer, kind, order)


class ModbusRequests(Service):
    """Accepts requests and keeps their results, as many of each client as there is room for."""

    def __init__(self, router: ModbusRouter, clock: Callable[[], int] = now_ms):
        self._router = router
        self._clock = clock
        # tid -> (transaction, (count, type, order) of the values of a typed read or None, source); the oldest first
        self._entries: dict[int, tuple[Transaction | Ended, tuple[int, str | None, str] | None, str]] = {}
        self._open: list[int] = []  # tids of those that are kept whole
        self._last_tid = 0

    def submit(
        self,
        uid: int,
        fields: Fields,
        source: str,
        timeout: float | None = None,
        retries: int | None = None,
        origin: str = "http",
    ) -> int:
        """Queue a request and give its tid; `timeout` and `retries` are those of a Transaction.

        BadField, Refused NO_PORT or BUS_BUSY.
        """
        strict = fields.data is None
        transaction = Transaction(uid, build(fields), INTERACTIVE, source, timeout, retries, strict=strict)
        transaction.origin = origin
        self._settle()
        self._make_room()
        typed_read = strict and fields.func in READ_BITS + READ_REGISTERS and uid != 0
        asked = (fields.count, fields.type, fields.order or "ABCD") if typed_read and fields.count else None
        tid = self._last_tid + 1
        self._open.append(tid)
        try:
            self._entries[tid] = (transaction, asked, source)
            bytearray(_ANSWER_BYTES)  # let go at once: what is sent can then be told of too
            self._router.submit(transaction)
        except (BadField, Refused, MemoryError):
            self._open.pop()
            self._entries.pop(tid, None)
            raise
        self._last_tid = tid
        return tid

    async def start(self) -> None:
        """Begin to drop results whose time is over, whether anybody asks for others or not."""
        self.keep_running(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SEC)
            self._settle()
            for tid in list(self._entries):
                if self._is_old(tid):
                    del self._entries[tid]

    async def result(self, tid: int, wait: float) -> Result:
        """The result of a request, waited for at most so many seconds. Refused UNKNOWN_TID."""
        if tid not in self._entries or self._is_old(tid):
            raise Refused("UNKNOWN_TID", f"there is no result {tid}: results are kept {RESULT_SEC} s")
        transaction, asked, _ = self._entries[tid]
        if isinstance(transaction, Transaction):
            await wait_until(transaction.done, wait)
        return Result(transaction, asked)

    def _is_old(self, tid: int) -> bool:
        """Whether nobody may read it any more."""
        ended = self._entries[tid][0].ended
        return ended is not None and ended <= self._clock() - RESULT_SEC * 1000

    def _settle(self) -> None:
        """Keep of what has ended what can be told of it, and no more."""
        still = []
        for tid in self._open:
            transaction, asked, source = self._entries[tid]
            if isinstance(transaction, Transaction) and transaction.ended is not None:
                self._entries[tid] = (_ended(transaction), asked, source)
            else:
                still.append(tid)
        self._open = still

    def _make_room(self) -> None:
        """Where the table is full, drop the oldest result of who has most; what still waits is bounded by the queue and
        stays."""
        if len(self._entries) < RESULTS_LIMIT:
            return
        held: dict[str, int] = {}
        for _, _, source in self._entries.values():
            held[source] = held.get(source, 0) + 1
        most = 0
        oldest = None
        for tid, (transaction, _, source) in self._entries.items():
            if held[source] > most and transaction.ended is not None:
                most = held[source]
                oldest = tid
        if oldest is not None:
            del self._entries[oldest]


def _ended(transaction: Transaction) -> Ended:
    return Ended(
        transaction.uid,
        transaction.pdu,
        transaction.answer,
        transaction.error,
        transaction.exception,
        transaction.heard_uid,
        transaction.raw,
        transaction.elapsed,
        transaction.ended,
    )


def _error(transaction: Transaction | Ended, is_typed_read: bool) -> str | None:
    """The error of a request; a typed read whose answer has not the values asked for is one too."""
    if is_typed_read and transaction.error is None and not answer_fits(transaction.pdu, transaction.answer):
        return "BAD_FRAME"
    return transaction.error
