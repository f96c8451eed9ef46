"""The search for devices: every unit id at every line setting asked for, in the lowest lane of the bus.

A unit is there if it answers a question that it was asked at this line setting. What is only heard, a late answer or a
frame of another master, makes nobody a device, but is a reason to ask once more and to wait longer.

The first question reads one holding register (function 3, address 0). It changes nothing, and a device that has no such
register should say so with an exception; those that are silent instead are offered other questions.
"""

from firmware.services import shapes
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.pdu import read
from firmware.services.bus.transaction import Transaction
from firmware.services.search.absent import NoDiscovery
from firmware.services.search.identification import READ_DEVICE_ID, REPORT_SERVER_ID, text_of
from firmware.services.search.job import LineSearch
from firmware.services.search.verdicts import ANSWER, BAD_LINK, COLLISION, EXCEPTION, ODD, Found, Search
from hal.rs485.framing import Line
from hal.runtime import now_ms
from hal.runtime.annotations import Callable

PROBES = (read(3, 0, 1), read(4, 0, 1), read(1, 0, 1), READ_DEVICE_ID, REPORT_SERVER_ID)
FEW_PROBES = 2  # of them where not all are asked for

FAST_WAIT = 0.035  # seconds for which a fast search waits at first
FAST_LAST_WAIT = 0.12  # and when it asks the silent ones once more
THOROUGH_WAIT = 0.5
MARGIN = 1.5  # waits are at least so many times the slowest answer seen on the line
BAD_TRIES = 2  # further probes after a frame with a bad checksum
NOBODY_THERE = (10, 11)  # exceptions of a gateway in between: the unit behind it does not answer


def wait_on(line: Line, seconds: float) -> float:
    """The wait for an answer, longer on slow lines: a device cannot answer before the silence that ends the question,
    and needs a character or two to say that it does."""
    return max(seconds, line.shortest_wait() + 2 * line.char_time)


class Pass:
    """One walk over unit ids at one line setting, with one question and one wait."""

    def __init__(self, line: Line, uids: list[int], probe: bytes, wait: float):
        self.line = line
        self.uids = uids
        self.probe = probe
        self.wait = wait_on(line, wait)

    def seconds(self) -> float:
        """What the pass takes if nobody answers."""
        size = len(self.probe) + 3  # bytes of the frame
        frame = 2 * size + 1 if self.line.frame_mode else size
        return len(self.uids) * (frame * self.line.char_time + self.line.silence + self.wait)


class Discovery(LineSearch, NoDiscovery):
    """The search for devices. `serial` is the active setting of that name."""

    def __init__(self, bus: Bus, serial: shapes.Serial, clock: Callable[[], int] = now_ms):
        super().__init__(bus, clock)
        self._serial = serial
        self._own_line = Line.of(dict(serial))
        self._found: dict[tuple[int, int], Found] = {}  # (line number, unit id) -> Found
        self._heard: list[int] = []  # unit ids of whom something was heard at this line setting, in their order
        self._slowest = 0.0
        self._identify = False

    def begin(self, search: Search) -> bool:
        """Begin a search; False while one runs. Refused NO_PORT."""
        if self.is_running():
            return False
        self._found = {}
        self._heard = []
        self._slowest = 0.0
        self._identify = search.identify
        self._begin(self._walk, search)
        return True

    def found(self) -> list[Found]:
        """The devices found, in the order of line settings and unit ids."""
        return [self._found[key] for key in sorted(self._found)]

    # The walk

    async def _walk(self, search: Search) -> None:
        uids = list(search.uids)
        plans = [self._passes(Line.of(dict(self._serial), *setting), uids, search) for setting in search.settings]
        self._planned = sum(walk.seconds() for plan in plans for walk in plan)
        for number, plan in enumerate(plans):
            self._heard = []
            for walk in plan:
                await self._pass(number, walk)
                await self._ask_the_heard(number, walk.line, uids)
            if search.stop_at_first and any(found_at == number for found_at, _ in self._found):
                return

    def _passes(self, line: Line, uids: list[int], search: Search) -> list[Pass]:
        first = FAST_WAIT if search.fast else self._thorough_wait()
        last = FAST_LAST_WAIT if search.fast else self._thorough_wait()
        probes = PROBES if search.all_probes else PROBES[:FEW_PROBES]
        return [Pass(line, uids, probe, last if number else first) for number, probe in enumerate(probes)]

    def _thorough_wait(self) -> float:
        return max(THOROUGH_WAIT, self._serial["responseTimeoutMs"] / 1000)

    async def _pass(self, number: int, walk: Pass) -> None:
        """Ask those that have not been found yet."""
        share = walk.seconds() / max(len(walk.uids), 1)
        for uid in walk.uids:
            if (number, uid) in self._found:
                self._planned -= share
                continue
            wait = max(walk.wait, MARGIN * self._slowest)
            verdict = await self._verdict(uid, walk.probe, walk.line, wait)
            if verdict is not None:
                await self._add(number, walk.line, uid, verdict)
            self._walked += share

    async def _ask_the_heard(self, number: int, line: Line, uids: list[int]) -> None:
        """Ask those again of whom something was heard, and wait as long as a slow device takes."""
        heard, self._heard = self._heard, []
        slowest = self._slowest
        for uid in heard:
            if uid in uids and (number, uid) not in self._found:
                verdict = await self._verdict(uid, PROBES[0], line, wait_on(line, self._thorough_wait()))
                if verdict is not None:
                    await self._add(number, line, uid, verdict)
        self._slowest = slowest  # one slow device is no reason to wait so long for all the others

    async def _verdict(self, uid: int, probe: bytes, line: Line, wait: float) -> str | None:
        """Ask a unit, again where the answer is spoilt; None where it is not there."""
        verdict = None
        for _ in range(1 + BAD_TRIES):
            transaction = await self._ask(uid, probe, line, wait)
            for other in transaction.heard:
                if other not in self._heard and (other != uid or transaction.error not in (None, "EXCEPTION")):
                    self._heard.append(other)
            verdict = self._judge(transaction)
            if verdict in (ANSWER, EXCEPTION) and not line.same_as(self._own_line):
                return verdict if await self._answers(uid, probe, line, wait) else None
            if verdict != BAD_LINK:
                return verdict
        return COLLISION

    async def _answers(self, uid: int, probe: bytes, line: Line, wait: float) -> bool:
        """Whether a unit answers once more. The answer to a question that somebody had asked at the bus's own line
        setting may come so late that it fits a probe at another one."""
        for _ in range(BAD_TRIES):
            if self._judge(await self._ask(uid, probe, line, wait)) is not None:
                return True
        return False

    def _judge(self, transaction: Transaction) -> str | None:
        if transaction.error is None or (transaction.error == "EXCEPTION" and not _is_from_gateway(transaction)):
            self._slowest = max(self._slowest, transaction.latency)
            return ANSWER if transaction.error is None else EXCEPTION
        if transaction.error != "BAD_FRAME":
            return None
        if transaction.uid not in transaction.heard:
            return BAD_LINK
        return ODD if transaction.answer and not _is_question(transaction.answer) else None

    async def _add(self, number: int, line: Line, uid: int, verdict: str) -> None:
        if (number, uid) in self._found:
            return
        found = self._found[(number, uid)] = Found(uid, line, verdict)
        if self._identify:
            found.identity = await self._identity(uid, line)
            found.is_identified = True

    async def _identity(self, uid: int, line: Line) -> str | None:
        """What a device says of itself."""
        wait = wait_on(line, max(THOROUGH_WAIT, MARGIN * self._slowest))
        for question in (READ_DEVICE_ID, REPORT_SERVER_ID):
            transaction = await self._ask(uid, question, line, wait)
            if transaction.error is None and text_of(transaction.answer):
                return text_of(transaction.answer)
        return None


def _is_from_gateway(transaction: Transaction) -> bool:
    return transaction.exception in NOBODY_THERE


def _is_question(pdu: bytes) -> bool:
    """Whether a frame of functions 1 to 4 is another master's question, which has an address and a count where an
    answer has its byte count and so many bytes."""
    return pdu[0] in (1, 2, 3, 4) and len(pdu) == 5 and pdu[1] != 3
