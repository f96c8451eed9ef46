"""Reading a device's parameters, however few registers it gives at a time.

They are asked for in as few requests as the protocol allows. Many devices allow less: they refuse registers that they
lack between others, or more than a few at once, by exceptions of every kind or by silence. So a request that fails is
asked again in smaller ones, at last each parameter alone, and what has worked is kept for the rest.
"""

from firmware.services.bus.pdu import read_values
from firmware.services.bus.transaction import Transaction
from firmware.services.search.templates import BITS_LIMIT, Read, plan, size_of
from firmware.services.search.values import decode
from hal.runtime.annotations import Awaitable, Callable

SILENCES = 3  # single parameters in a row without an answer, after which a device is taken to have gone


class Parameters:
    """The parameters of one device. `fetch(func, addr, count)` asks it and returns the Transaction.

    After `read`, `values` is name -> value, null where the device gave none, and `missing` is name -> why for those.
    """

    def __init__(self, params: list[dict], fetch: Callable[[int, int, int], Awaitable[Transaction]]):
        self.values: dict = {param["name"]: None for param in params}
        self.missing: dict[str, str] = {}
        self._params = params
        self._fetch = fetch
        self._with_gaps = True
        self._worked = 0  # registers of the largest request that was answered
        self._failed = BITS_LIMIT + 1  # registers of the smallest one without gaps that was not
        self._silences = 0

    async def read(self) -> None:
        """Ask the device for all of them."""
        reads = plan(self._params)
        while reads and self._silences < SILENCES:
            read = reads.pop(0)
            if self._is_too_much(read):
                reads = self._smaller(read) + reads
                continue
            transaction = await self._fetch(read.func, read.addr, read.count)
            if transaction.error is None:
                self._take(read, read_values(read.func, read.count, transaction.answer))
            elif len(read.params) > 1:
                self._note_failure(read)
                reads = self._smaller(read) + reads
            else:
                await self._miss_one(read, transaction)
        for read in reads:
            for param in read.params:
                self.missing[param["name"]] = "TIMEOUT"

    def _is_too_much(self, read: Read) -> bool:
        """Whether a request would fail, by what is known of the device."""
        if len(read.params) == 1:
            return False
        return (read.has_gaps and not self._with_gaps) or (read.count >= self._failed and read.count > self._worked)

    def _note_failure(self, read: Read) -> None:
        if read.has_gaps:
            self._with_gaps = False
        else:
            self._failed = min(self._failed, read.count)

    def _smaller(self, read: Read) -> list[Read]:
        """Requests for the same parameters: without gaps, or else none larger than what works or half of this one."""
        if read.has_gaps:
            return plan(read.params, with_gaps=False)
        most = read.count // 2
        if self._worked < read.count:
            most = max(most, self._worked)
        return plan(read.params, False, most)

    async def _miss_one(self, read: Read, transaction: Transaction) -> None:
        """A parameter alone was not given; silence and noise may have been chance, so it is asked for once more."""
        if transaction.exception is None:
            transaction = await self._fetch(read.func, read.addr, read.count)
        if transaction.error is None:
            self._take(read, read_values(read.func, read.count, transaction.answer))
            return
        self.missing[read.params[0]["name"]] = reason(transaction)
        self._silences = self._silences + 1 if transaction.error == "TIMEOUT" else 0

    def _take(self, read: Read, words: list) -> None:
        self._silences = 0
        self._worked = max(self._worked, read.count)
        for param in read.params:
            start = param["addr"] - read.addr
            value = decode(param, words[start : start + size_of(param)])
            self.values[param["name"]] = value
            if value is None:
                self.missing[param["name"]] = "NOT_A_NUMBER"


def reason(transaction: Transaction) -> str:
    """Why a question has no answer that can be used: the exception by its number, or the error."""
    if transaction.exception is not None:
        return f"EXCEPTION {transaction.exception}"
    return transaction.error or ""
