"""Answers that are still owed: questions whose wait is over, but whose answers may come yet.

A late answer is told from that of a later question by what both could be: unit, function and length. Only questions
that could be confused with one that is owed wait until it has come, or until a horizon has passed. Instants are integer
milliseconds.
"""

from firmware.services.bus.transaction import Transaction
from hal.rs485.framing import answer_fits, answer_length


class Debt:
    """A question, when its last byte had left, and until when its answer may come.

    `transaction` is the one that still waits for it, None where that has given up.
    """

    def __init__(self, pdu: bytes, asked: int, until: int, transaction: Transaction | None):
        self.pdu = pdu
        self.asked = asked
        self.until = until
        self.transaction = transaction
        self.alone = True  # no other question of its function is open beside it, so that an exception can only be its

    def can_be_confused(self, pdu: bytes) -> bool:
        """Whether the answer that is owed could be taken for one to another question."""
        if self.pdu[0] != pdu[0]:
            return False
        own, other = answer_length(self.pdu), answer_length(pdu)
        return own is None or other is None or own == other


class Debts:
    """What all units owe."""

    def __init__(self) -> None:
        self.owed: dict = {}  # unit id -> [Debt], oldest first

    def add(self, uid: int, pdu: bytes, asked: int, until: int, transaction: Transaction | None = None) -> None:
        """A unit owes the answer to a question."""
        debt = Debt(pdu, asked, until, transaction)
        debt.alone = not self.asking(uid, pdu[0])
        self.owed.setdefault(uid, []).append(debt)

    def asking(self, uid: int, func: int) -> bool:
        """A unit is asked a question of this function; whether it owes the answer to another one of it."""
        beside = [debt for debt in self.owed.get(uid, ()) if debt.pdu[0] == func]
        for debt in beside:
            debt.alone = False
        return beside != []

    def hold(self, uid: int, pdu: bytes, now: int, repeated: bool = False) -> bool:
        """Whether a question is to wait since its answer could be confused with one that is owed.

        One that is `repeated` does not wait for the answer to its first try, which would be one to the second.
        """
        for debt in self.owed.get(uid, ()):
            if debt.until > now and debt.can_be_confused(pdu) and not (repeated and debt.pdu == pdu):
                return True
        return False

    def has_other(self, uid: int, pdu: bytes, now: int) -> bool:
        """Whether a unit owes the answer to another question of this one's function."""
        debts = self.owed.get(uid, ())
        return any(debt.until > now and debt.pdu[0] == pdu[0] and debt.pdu != pdu for debt in debts)

    def others_owe(self, uid: int, now: int) -> bool:
        """Whether a unit other than this one owes an answer, which may come at any moment."""
        return any(debt.until > now for other, debts in self.owed.items() if other != uid for debt in debts)

    def pay(self, uid: int, pdu: bytes) -> Debt | None:
        """A frame that was no question's answer has come: the debt that it pays, the one that it fits best.

        An exception fits every question of its function: where there was another one, it pays none.
        """
        debts = self.owed.get(uid, [])
        if pdu[0] & 0x80:
            debts = [debt for debt in debts if debt.alone]
        fitting = [debt for debt in debts if answer_fits(debt.pdu, pdu)]
        fitting = fitting or [debt for debt in debts if debt.pdu[0] == pdu[0] & 0x7F]
        if not fitting:
            return None
        self._remove(uid, fitting[0])
        return fitting[0]

    def release(self, transaction: Transaction) -> bool:
        """A transaction waits no longer, its answer is owed all the same; False where it did not wait here."""
        for debts in self.owed.values():
            for debt in debts:
                if debt.transaction is transaction:
                    debt.transaction = None
                    return True
        return False

    def given_up(self, now: int) -> list:
        """Forget the debts whose time has passed; those of them that a transaction has waited for."""
        waiting = []
        for uid in list(self.owed):
            for debt in [debt for debt in self.owed[uid] if debt.until <= now]:
                self._remove(uid, debt)
                if debt.transaction is not None:
                    waiting.append(debt)
        return waiting

    def clear(self) -> list:
        """Forget all debts; the transactions that have waited for them."""
        owed, self.owed = self.owed, {}
        return [debt.transaction for debts in owed.values() for debt in debts if debt.transaction is not None]

    def next_end(self) -> int | None:
        """When the next debt is given up; None where nothing is owed."""
        ends = [debt.until for debts in self.owed.values() for debt in debts]
        return min(ends) if ends else None

    def _remove(self, uid: int, debt: Debt) -> None:
        self.owed[uid].remove(debt)
        if not self.owed[uid]:
            del self.owed[uid]
