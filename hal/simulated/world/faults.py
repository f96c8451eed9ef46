"""What can go wrong with an answer on its way to the master."""

import os
import random
from collections.abc import Callable
from typing import NamedTuple

from hal.simulated.world.devices import Answer

_NOISE_BYTES = 3


class Fault:
    """One fault, for the next `count` answers of unit `uid`, or of any unit where that is None.

    `seconds` is the delay of "late", the pause of "split" and "double", the length of "babble"; `data` is what
    "raw" sends.
    """

    def __init__(self, kind: str, uid: int | None = None, count: int = 1, seconds: float = 0.0, data: bytes = b""):
        self.kind = kind
        self.uid = uid
        self.count = count
        self.seconds = seconds
        self.data = data


class Spoilt(NamedTuple):
    """What goes on the line instead: the bytes, the shortest turnaround, and a pause after so many bytes.

    `again` is seconds after which the same bytes come once more, None for never.
    """

    data: bytes
    turnaround: float = 0.0
    pause_at: int = 0
    pause: float = 0.0
    again: float | None = None


def spoil(fault: Fault | None, answer: Answer) -> Spoilt:
    """The answer as the fault lets it through."""
    return _SPOILERS[fault.kind](fault, answer) if fault else Spoilt(answer.frame())


def _silent(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(b"")


def _late(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(answer.frame(), turnaround=fault.seconds)


def _noise(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(os.urandom(_NOISE_BYTES) + answer.frame())


def _noise_after(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(answer.frame() + os.urandom(_NOISE_BYTES))


def _garble(fault: Fault, answer: Answer) -> Spoilt:
    data = bytearray(answer.frame())
    data[random.randrange(len(data))] ^= 1  # another bit might only change the case of an ASCII digit
    return Spoilt(bytes(data))


def _truncate(fault: Fault, answer: Answer) -> Spoilt:
    frame = answer.frame()
    return Spoilt(frame[: len(frame) // 2])


def _wrong_unit(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(answer._replace(uid=answer.uid % 247 + 1).frame())


def _wrong_function(fault: Fault, answer: Answer) -> Spoilt:
    function = (answer.pdu[0] & 0x80) | ((answer.pdu[0] & 0x7F) % 127 + 1)
    return Spoilt(answer._replace(pdu=bytes([function]) + answer.pdu[1:]).frame())


def _wrong_length(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(answer._replace(pdu=answer.pdu[:-1]).frame())


def _split(fault: Fault, answer: Answer) -> Spoilt:
    frame = answer.frame()
    return Spoilt(frame, pause_at=len(frame) // 2, pause=fault.seconds)


def _double(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(answer.frame(), again=fault.seconds)


def _raw(fault: Fault, answer: Answer) -> Spoilt:
    return Spoilt(fault.data)


_SPOILERS: dict[str, Callable[[Fault, Answer], Spoilt]] = {
    "silent": _silent,
    "late": _late,
    "noise": _noise,
    "noiseAfter": _noise_after,
    "garble": _garble,
    "truncate": _truncate,
    "wrongUnit": _wrong_unit,
    "wrongFunction": _wrong_function,
    "wrongLength": _wrong_length,
    "split": _split,
    "double": _double,
    "raw": _raw,
}

KINDS = (*_SPOILERS, "echo", "babble")  # the last two are the line's, not an answer's
