"""Answers that come more than once: repeaters, converters and devices that send a frame twice, or again much later.

RTU and ASCII answers carry no transaction id: the second copy of an answer fits the next question as well as the first
fitted its own. So every unit's last answer to each question is kept: a frame that equals what the unit has just said
to another question, and not what it said to this one, is taken for a copy until another frame has had its chance.
Instants are integer microseconds.
"""

HORIZON_US = 500000  # a copy comes no later than so long after its original
AGAIN_US = 100000  # a question whose answer was taken for a copy is asked again no earlier than so long after that copy
TRUST_AFTER = 4  # answers that were doubted and proved to be none, without a copy in between: then none is doubted
FORGET_AFTER = 64  # answers in a row without a copy, after which a unit counts as one that does not double
ANSWERS_LIMIT = 64  # answers kept, of all units together


class Copies:
    """What the units have answered lately, and which of them answer more than once."""

    def __init__(self) -> None:
        self.count = 0  # copies heard
        self._proved = 0  # doubts in a row that were none
        self._answers: dict = {}  # (unit id, key of the question, or None and the PDU) -> (PDU, microsecond)
        self._windows: dict[
            int, list[int]
        ] = {}  # unit id -> [microseconds within which its copies come, answers since the last one]

    def is_one(self, uid: int, key: bytes, pdu: bytes, began: int) -> bool:
        """Whether an answer that began to arrive then may be a copy of what the unit said to another question."""
        own = self._answers.get((uid, key))
        if self._proved >= TRUST_AFTER or (own is not None and own[0] == pdu):
            return False
        oldest = began - HORIZON_US
        for question, (answer, at) in self._answers.items():
            if question[0] == uid and answer == pdu and at >= oldest:
                return True
        return False

    def answered(self, uid: int, key: bytes | None, pdu: bytes, now: int) -> None:
        """A unit's answer was taken; a key of None: a frame that nobody had asked for."""
        question = (uid, key) if key is not None else (uid, None, pdu)
        if question not in self._answers and len(self._answers) >= ANSWERS_LIMIT:
            del self._answers[min(self._answers, key=self._moment)]
        self._answers[question] = (pdu, now)
        known = self._windows.get(uid)
        if known is not None and key is not None:
            known[1] += 1
            if known[1] > FORGET_AFTER:
                del self._windows[uid]

    def _moment(self, question: tuple) -> int:
        moment: int = self._answers[question][1]
        return moment

    def heard(self, uid: int, pdu: bytes, now: int) -> bool:
        """A frame came that is no question's answer; whether it is a copy of an earlier one."""
        earlier = [at for question, (answer, at) in self._answers.items() if question[0] == uid and answer == pdu]
        if not earlier or now - max(earlier) > HORIZON_US:
            self.answered(uid, None, pdu, now)
            return False
        self.count += 1
        self._proved = 0
        window = (now - max(earlier)) * 5 // 4 + 5000
        known = self._windows.get(uid)
        self._windows[uid] = [max(window, known[0] if known else 0), 0]
        return True

    def wait_us(self, uid: int) -> int:
        """How long after an answer the unit's copies may come; 0 where it is not known to double."""
        known = self._windows.get(uid)
        return known[0] if known else 0

    def was_none(self) -> None:
        """An answer that was taken for a copy came again when it was asked for again: units do answer alike."""
        self._proved += 1
