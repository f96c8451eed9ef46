"""What is asked of a unit, by whatever way the question goes to it."""

import asyncio

from hal.rs485.framing import Line, question_key
from hal.runtime.annotations import Callable

INTERACTIVE, GATEWAY, SEARCH = range(3)  # lanes of the bus
LANE_NAMES = ("interactive", "gateway", "search")

WAIT_SEC = 60.0  # how long a transaction waits for its turn where it does not say so


class Transaction:
    """One question to one unit, and what came of it.

    `timeout` is seconds until the answer must begin, None for the setting. `retries` of None is the setting, which
    repeats only functions that change nothing; a number repeats any function. `line` is None for the bus's own
    settings. `strict`: an answer whose content is not what the specification says is a BAD_FRAME instead of delivered
    as it came. `wait` is seconds in which it must have been asked. `error` is None or an Exchange's error, "EXCEPTION"
    with the code in `exception`, "DEVICE_DOWN", "BUS_BUSY" where its turn did not come, "NO_PATH" (forwarded to a
    server that cannot be reached) or "CANCELLED". `answer` is the answer's PDU, `raw` what was heard instead. `done` is
    set and `on_end()` called at the end.
    """

    def __init__(
        self,
        uid: int,
        pdu: bytes,
        lane: int,
        source: object,
        timeout: float | None = None,
        retries: int | None = None,
        line: Line | None = None,
        strict: bool = False,
        wait: float = WAIT_SEC,
    ):
        self.uid = uid
        self.pdu = pdu
        self.key = question_key(pdu)
        self.lane = lane
        self.source = source
        self.timeout = timeout
        self.retries = retries
        self.line = line
        self.strict = strict
        self.wait = wait
        self.origin = ""  # who asks, in words for the trace: "http 10.0.0.5"
        self.queued = 0  # millisecond in which it was submitted
        self.asked = 0  # and in which it was asked, at last
        self.latest = 0  # by which it must have been asked
        self.repeated = False  # whether it was asked again since another unit's late answer fell into its exchange
        self.error: str | None = None
        self.exception: int | None = None
        self.answer = b""
        self.raw = b""
        self.heard_uid: int | None = None  # with "FOREIGN": who answered
        self.elapsed = 0.0  # seconds on the line, of all tries together
        self.ended: int | None = None  # millisecond of the end
        self.latency = 0.0  # seconds from the end of the question to the begin of the answer
        self.heard: list = []  # unit ids of other frames heard meanwhile
        self.done = asyncio.Event()
        self.on_end: Callable[[], None] | None = None
        self.sharers: list = []  # transactions that get the same answer

    def answered(self, pdu: bytes, now: int) -> None:
        """End with the answer's PDU, an exception perhaps."""
        self.answer = pdu
        is_exception = pdu[0] & 0x80 != 0
        if is_exception:
            self.exception = pdu[1]
        self.finish("EXCEPTION" if is_exception else None, now)

    def finish(self, error: str | None, now: int) -> None:
        """End, once, and tell whoever waits."""
        if self.done.is_set():
            return
        self.error = error
        self.ended = now
        self.done.set()
        on_end, self.on_end = self.on_end, None  # which knows the transaction, so that nothing would free both
        if on_end is not None:
            on_end()
