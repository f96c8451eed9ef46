"""Who waits for the line: transactions in lanes that weigh against each other, each lane bounded.

Identical reads that wait at the same time share one exchange. A write to the unit in between keeps them apart, and
nobody joins an exchange that has begun: no answer is older than its question.
"""

from firmware.services.bus.lanes import Lane, Shares
from firmware.services.bus.pdu import READ_BITS, READ_REGISTERS
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, LANE_NAMES, SEARCH, Transaction
from firmware.services.errors import Refused
from hal.rs485.framing import READ_ONLY
from hal.runtime.annotations import Callable

WEIGHTS = (4, 3, 1)  # of the lanes, while they all have work
HEAD_START = (1200, 0, 0)  # how far a lane may be ahead of its part and still be first; 12 are 1 ms over its weight
LANE_LIMIT = 64  # transactions that wait in one lane
SHARERS_LIMIT = 64  # transactions that share another's exchange
LEAD = 12000  # most that a lane can be ahead of the others


class Queue:
    """The transactions that wait, and whose turn is next."""

    def __init__(self) -> None:
        self._lanes = tuple(Lane(weight) for weight in WEIGHTS)
        self._shares = Shares(LEAD)
        self._shared: dict[tuple[int, bytes], Transaction] = {}  # (unit id, PDU) -> the read that others may share

    def put(self, transaction: Transaction) -> None:
        """Queue a transaction. Refused BUS_BUSY where its lane is full."""
        lane = self._lanes[transaction.lane]
        if lane.length >= LANE_LIMIT:
            raise Refused("BUS_BUSY", f"{LANE_LIMIT} requests wait already", 1)
        lane.put(transaction)
        self._offer(transaction)

    def put_back(self, transaction: Transaction) -> None:
        """Queue a transaction that has had its turn, before the others of its source."""
        self._lanes[transaction.lane].put(transaction, first=True)

    def _offer(self, transaction: Transaction) -> None:
        """A read may be shared from now on; anything else closes the waiting reads of its unit to newcomers."""
        uid = transaction.uid
        if transaction.pdu[0] in READ_BITS + READ_REGISTERS and transaction.line is None and uid != 0:
            self._shared[(uid, transaction.pdu)] = transaction
        elif transaction.pdu[0] not in READ_ONLY:
            for key in [key for key in self._shared if uid in (0, key[0])]:
                del self._shared[key]

    def shared_by(self, transaction: Transaction) -> Transaction | None:
        """The identical read that a transaction may join, which waits no further back."""
        waiting = self._shared.get((transaction.uid, transaction.pdu))
        if (
            waiting is None
            or waiting.lane > transaction.lane
            or waiting.timeout != transaction.timeout
            or waiting.retries != transaction.retries
            or transaction.line is not None
            or len(waiting.sharers) >= SHARERS_LIMIT
        ):
            return None
        return waiting

    def close(self, transaction: Transaction) -> None:
        """Nobody joins a transaction from now on."""
        key = (transaction.uid, transaction.pdu)
        if self._shared.get(key) is transaction:
            del self._shared[key]

    def take(self, allowed: Callable[[Transaction], bool]) -> Transaction | None:
        """The next transaction that `allowed(transaction)` lets go: of the lane which has used least of the line."""
        for number in self._order():
            transaction = self._lanes[number].take(allowed)
            if transaction is not None:
                return transaction
        return None

    def _order(self) -> list[int]:
        """The lanes that have work, first who has used least of the line; they have their priorities where it is even,
        and somebody at a keyboard has a head start."""
        lanes = [number for number in (INTERACTIVE, GATEWAY, SEARCH) if self._lanes[number].length]
        if len(lanes) == 1:
            self._shares.advance(self._shares.of(lanes[0]))
        elif lanes:
            least = min(self._shares.of(number) for number in lanes)
            self._shares.advance(least)
            lanes.sort(key=lambda number: max(0, self._shares.of(number) - least - HEAD_START[number]))
        return lanes

    def charge(self, transaction: Transaction, cost: int) -> None:
        """A transaction has used the line for so many milliseconds."""
        lane = self._lanes[transaction.lane]
        lane.charge(transaction.source, cost)
        self._shares.charge(transaction.lane, 12 * cost // lane.weight)

    def remove(self, transaction: Transaction) -> bool:
        """Take a waiting transaction out; False where it does not wait here."""
        return any(lane.remove(transaction) for lane in self._lanes)

    def overdue(self, now: int) -> list[Transaction]:
        """Transactions whose latest turn has passed."""
        return [transaction for lane in self._lanes for transaction in lane.overdue(now)]

    def is_empty(self) -> bool:
        """Whether nobody waits."""
        lanes = self._lanes
        return not (lanes[INTERACTIVE].length or lanes[GATEWAY].length or lanes[SEARCH].length)

    def lengths(self) -> dict[str, int]:
        """How many wait in each lane, by its name."""
        return {name: self._lanes[number].length for number, name in enumerate(LANE_NAMES)}
