"""Modbus requests of HTTP clients: accepted at once, their results fetched by transaction id."""

from firmware.services.bus.pdu import READ_BITS, READ_REGISTERS, build, read_values
from firmware.services.bus.transaction import INTERACTIVE, Transaction
from firmware.services.errors import Refused
from firmware.services.routing.router import ModbusRouter
from hal.rs485.framing import answer_fits
from hal.runtime import b64encode, now_ms, wait_until
from hal.runtime.annotations import Callable

RESULTS_LIMIT = 256
RESULT_SEC = 60  # how long a result can be read


class ModbusRequests:
    """Accepts requests and keeps their results."""

    def __init__(self, router: ModbusRouter, clock: Callable[[], int] = now_ms):
        self._router = router
        self._clock = clock
        self._entries: dict = {}  # tid -> (transaction, (count, type, order) of the values of a typed read or None)
        self._last_tid = 0

    def submit(self, fields: dict, source: str, origin: str = "http") -> dict:
        """Queue a request of the API's fields; {"tid", "status": "QUEUED"}. BadField, Refused NO_PORT or BUS_BUSY."""
        pdu = build(fields)
        timeout = None if fields["timeoutMs"] is None else fields["timeoutMs"] / 1000
        strict = fields["data"] is None
        transaction = Transaction(fields["uid"], pdu, INTERACTIVE, source, timeout, fields["retries"], strict=strict)
        transaction.origin = origin
        self._router.submit(transaction)
        self._make_room()
        self._last_tid += 1
        typed_read = strict and fields["func"] in READ_BITS + READ_REGISTERS and fields["uid"] != 0
        values = (fields["count"], fields["type"], fields["order"] or "ABCD") if typed_read else None
        self._entries[self._last_tid] = (transaction, values)
        return {"tid": self._last_tid, "status": "QUEUED"}

    async def result(self, tid: int, wait_ms: int) -> dict:
        """The result of a request, waited for at most `wait_ms`. Refused UNKNOWN_TID."""
        self._forget_old()
        if tid not in self._entries:
            raise Refused("UNKNOWN_TID", f"there is no result {tid}: results are kept {RESULT_SEC} s")
        transaction, values = self._entries[tid]
        await wait_until(transaction.done, wait_ms / 1000)
        status = "PENDING"
        error = None
        if transaction.done.is_set():
            error = _error(transaction, values is not None)
            status = "DONE" if error is None else "ERROR"
        done = status == "DONE"
        return {
            "tid": tid,
            "status": status,
            "uid": transaction.uid,
            "func": transaction.pdu[0],
            "data": b64encode(transaction.answer[1:]) if done else None,
            "values": _values(transaction, *values) if done and values is not None else None,
            "errorCode": error,
            "exception": transaction.exception,
            "heardUid": transaction.heard_uid,
            "raw": b64encode(transaction.raw) if error == "BAD_FRAME" else None,
            "elapsedMs": round(transaction.elapsed * 1000),
        }

    def _forget_old(self) -> None:
        oldest = self._clock() - RESULT_SEC * 1000
        for tid, (transaction, _) in list(self._entries.items()):
            if transaction.ended is not None and transaction.ended <= oldest:
                del self._entries[tid]

    def _make_room(self) -> None:
        """Drop the oldest result where the table is full; what still waits is bounded by the queue and stays."""
        self._forget_old()
        if len(self._entries) >= RESULTS_LIMIT:
            ended = [tid for tid, (transaction, _) in self._entries.items() if transaction.ended is not None]
            if ended:
                del self._entries[min(ended)]


def _values(transaction: Transaction, count: int, kind: str | None, order: str) -> list:
    return read_values(transaction.pdu[0], count, transaction.answer, kind, order)


def _error(transaction: Transaction, is_typed_read: bool) -> str | None:
    """The error of a request; a typed read whose answer has not the values asked for is one too."""
    if is_typed_read and transaction.error is None and not answer_fits(transaction.pdu, transaction.answer):
        return "BAD_FRAME"
    return transaction.error
