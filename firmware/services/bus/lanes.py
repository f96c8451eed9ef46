"""Who is next on the line: lanes that weigh, sources inside a lane that take turns, all by the time they use.

Whoever has used least of the line, measured by its weight, is next. Who comes back after a pause starts where the
others are: nobody saves time up, and nobody pays for a long exchange for ever.
"""

from firmware.services.bus.transaction import Transaction
from hal.runtime.annotations import Callable

SOURCE_LEAD_MS = 2000  # most that a source can be ahead of the others, and so has to wait for them
SHARES_LIMIT = 32  # lanes or sources whose use is remembered


class Shares:
    """How much of the line each has used, in milliseconds over its weight; nobody is ahead by more than `lead`."""

    def __init__(self, lead: int):
        self._lead = lead
        self._used: dict[object, int] = {}
        self._floor = 0  # what those that wait have used at least

    def of(self, who: object) -> int:
        """What somebody has used; no less than whoever waited when somebody was last served."""
        return max(self._used.get(who, 0), self._floor)

    def advance(self, least: int) -> None:
        """Those that wait have used so much at least: nobody who comes later has used less."""
        self._floor = max(self._floor, least)

    def charge(self, who: object, cost: int) -> None:
        """Somebody has used so much more."""
        self._used[who] = min(self.of(who) + cost, self._floor + self._lead)
        if len(self._used) > SHARES_LIMIT:
            self._used = {one: used for one, used in self._used.items() if used > self._floor}
        if len(self._used) > SHARES_LIMIT:
            self._used = {who: self._used[who]}


class Lane:
    """A bounded queue of transactions. Sources take turns; a source's own transactions keep their order."""

    def __init__(self, weight: int):
        self.weight = weight
        self.length = 0
        self._shares = Shares(SOURCE_LEAD_MS)
        self._queues: list[
            tuple[object, list[Transaction]]
        ] = []  # (source, transactions) in the order of their last turns

    def put(self, transaction: Transaction, first: bool = False) -> None:
        """Queue a transaction behind its source's others, or before them."""
        self.length += 1
        for source, queue in self._queues:
            if source == transaction.source:
                queue.insert(0 if first else len(queue), transaction)
                return
        self._queues.append((transaction.source, [transaction]))

    def take(self, allowed: Callable[[Transaction], bool]) -> Transaction | None:
        """The next transaction that `allowed(transaction)` lets go, None where there is none."""
        best: tuple[int, int, int, Transaction] | None = None
        for turn, (source, queue) in enumerate(self._queues):
            used = self._shares.of(source)
            if best is not None and used >= best[0]:
                continue
            for index, transaction in enumerate(queue):
                if allowed(transaction):
                    best = (used, turn, index, transaction)
                    break
        if best is None:
            return None
        self._remove(best[1], best[2])
        self._shares.advance(best[0])
        return best[3]

    def charge(self, source: object, cost: int) -> None:
        """A source has used the line for so many milliseconds."""
        self._shares.charge(source, cost)

    def remove(self, transaction: Transaction) -> bool:
        """Take a waiting transaction out, its first sharer into its place; False where it does not wait here."""
        for turn, (_, queue) in enumerate(self._queues):
            for index, waiting in enumerate(queue):
                if transaction in waiting.sharers:
                    waiting.sharers.remove(transaction)
                    return True
                if waiting is transaction:
                    self._replace(turn, index)
                    return True
        return False

    def overdue(self, now: int) -> list:
        """Transactions whose latest turn has passed, sharers among them."""
        return [
            one
            for _, queue in self._queues
            for waiting in queue
            for one in [waiting] + waiting.sharers
            if one.latest <= now
        ]

    def _replace(self, turn: int, index: int) -> None:
        queue = self._queues[turn][1]
        sharers = queue[index].sharers
        if sharers:
            queue[index] = sharers[0]
            sharers[0].sharers = sharers[1:]
        else:
            self._remove(turn, index)

    def _remove(self, turn: int, index: int) -> None:
        self.length -= 1
        entry = self._queues.pop(turn)
        del entry[1][index]
        if entry[1]:
            self._queues.append(entry)
