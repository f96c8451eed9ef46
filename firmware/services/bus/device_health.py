"""How the devices on the line fare, unit by unit; a silent one is taken as down so that it cannot starve the others.

A unit is judged by questions that it has answered before: many devices stay silent on registers that they lack. A
question that a living unit has never answered is barred by itself. Instants are integer milliseconds.
"""

from hal.rs485.framing import READ_ONLY
from hal.runtime import now_ms
from hal.runtime.annotations import Callable

DOWN_COUNT = 3  # exchanges in a row without an answer, and
DOWN_MS = 2000  # milliseconds since the first of them: both make a unit down
FIRST_PAUSE = 500  # milliseconds between two probes of a unit that is down; doubles
LONGEST_PAUSE = 10000
QUESTIONS_LIMIT = 32  # questions remembered of each unit
STRANGER_LIMIT = 16  # different questions that a unit is asked that has never answered any
SAMPLES = 64  # latencies kept for each unit
TIMEOUT_FLOOR_MS = 50  # least timeout suggested: what adapters and devices add now and then
SHORT_GAPS = 3  # silences after short pauses that make a hint


class Silence:
    """Exchanges in a row without an answer: of a unit, or of one question to it."""

    def __init__(self) -> None:
        self.count = 0
        self.since = 0
        self.pause = FIRST_PAUSE
        self.probe_at = 0

    def end(self) -> None:
        """An answer came."""
        self.count = 0
        self.pause = FIRST_PAUSE

    def go_on(self, now: int) -> None:
        """One more exchange without an answer."""
        if self.count == 0:
            self.since = now
        elif self.is_long(now):
            self.pause = min(2 * self.pause, LONGEST_PAUSE)
        self.count += 1
        self.probe_at = now + self.pause

    def is_long(self, now: int) -> bool:
        """Whether it has lasted so long that only probes are sent."""
        return self.count >= DOWN_COUNT and now - self.since >= DOWN_MS


class Unit:
    """What is known of one unit."""

    def __init__(self) -> None:
        self.ok = 0
        self.timeouts = 0
        self.bad_frames = 0
        self.seen: int | None = None  # when it was last heard
        self.latencies: list[float] = []  # seconds from the end of the question to the begin of the answer, latest last
        self.summary: Summary | None = None  # of the latencies; None: to be made anew
        self.silence = Silence()
        self.down = False
        self.good: list[bytes] = []  # keys of questions that it has answered, latest last
        self.bad: dict[bytes, Silence] = {}  # key of a question that it has never answered -> Silence
        self.probe: bytes | None = None  # PDU of the last question that it answered and that changes nothing
        self.gap: int | None = None  # milliseconds between its last frame and the question that is asked
        self.gaps = Gaps()


class Summary:
    """What the latencies of a unit come to. Kept until there is another one: finding it sorts them."""

    def __init__(self, latencies: list[float]) -> None:
        ordered = sorted(latencies)
        self.p50_ms = _percentile_ms(ordered, 50)
        self.p95_ms = _percentile_ms(ordered, 95)
        self.timeout_ms = max(TIMEOUT_FLOOR_MS, int(ordered[-1] * 2000) + 20) if ordered else None


class Gaps:
    """Pauses before questions, in milliseconds: whether a unit stays silent after short ones only."""

    def __init__(self) -> None:
        self.silent = 0  # how often it stayed silent after a pause shorter than any that it took
        self._longest_silent = 0
        self._shortest_answered = 0

    def note(self, gap: int, answered: bool) -> None:
        """A question was asked so long after the unit's last frame."""
        if answered:
            self._shortest_answered = min(gap, self._shortest_answered or gap)
            if gap <= self._longest_silent:
                self.silent = self._longest_silent = 0
        elif not self._shortest_answered or gap < self._shortest_answered:
            self.silent += 1
            self._longest_silent = max(gap, self._longest_silent)

    def needed(self) -> int | None:
        """The shortest pause that the unit has taken, where it stays silent after shorter ones; None: no hint."""
        return self._shortest_answered or None if self.silent >= SHORT_GAPS else None


class DeviceHealth:
    """Counts and judges exchanges. `enabled` is the setting serial.healthCheck; without it no unit is ever down."""

    def __init__(self, enabled: bool, clock: Callable[[], int] = now_ms):
        self._enabled = enabled
        self._clock = clock
        self._units: dict[int, Unit] = {}  # unit id -> Unit

    def _now(self) -> int:
        now: int = self._clock()
        return now

    def bars(self, uid: int, key: bytes = b"") -> bool:
        """Whether a question is not to be sent: its unit is down or never answers it, and no probe is due."""
        unit = self._units.get(uid)
        if unit is None or not self._enabled or not (unit.down or unit.bad):
            return False
        now = self._now()
        silence = unit.bad.get(key)
        if unit.down:
            is_new = unit.seen is None and silence is None and len(unit.bad) < STRANGER_LIMIT and key != b""
            return not is_new and now < unit.silence.probe_at
        return silence is not None and silence.is_long(now) and now < silence.probe_at

    def probe(self, uid: int, key: bytes) -> bytes | None:
        """The question to ask a unit that is down before another one is: the last that it has answered. None: none."""
        unit = self._units.get(uid)
        if unit is None or not unit.down or key in unit.good:
            return None
        return unit.probe

    def patience_ms(self, uid: int) -> int:
        """Twice the longest that the unit has taken to answer lately."""
        unit = self._units.get(uid)
        return int(2000 * max(unit.latencies)) if unit is not None and unit.latencies else 0

    def answered(self, uid: int, latency: float, key: bytes = b"", pdu: bytes = b"") -> None:
        """A unit answered a question, by an exception perhaps."""
        unit = self._unit(uid)
        unit.ok += 1
        self._sample(unit, latency)
        if not unit.good or unit.good[-1] != key:
            if key in unit.good:
                unit.good.remove(key)
            unit.good = unit.good[-QUESTIONS_LIMIT + 1 :] + [key]
        if unit.bad:
            unit.bad.pop(key, None)
        if unit.gap is not None:
            unit.gaps.note(unit.gap, True)
        if pdu and pdu[0] in READ_ONLY:
            unit.probe = pdu
        self.heard(uid)

    def late(self, uid: int, latency: float) -> None:
        """A unit's answer came after its question had been given up."""
        self._sample(self._unit(uid), latency)

    def heard(self, uid: int) -> None:
        """A frame of a unit was heard, late perhaps: it lives."""
        unit = self._unit(uid)
        unit.seen = self._now()
        unit.silence.end()
        unit.down = False

    def asking(self, uid: int) -> None:
        """A question to a unit leaves."""
        unit = self._unit(uid)
        unit.gap = None if unit.seen is None else self._now() - unit.seen

    def failed(self, uid: int, error: str, key: bytes = b"") -> None:
        """A unit did not answer a question ("TIMEOUT" and its like), answered wrongly ("BAD_FRAME") or could not be
        heard ("ECHO"); the last two are no silence."""
        unit = self._unit(uid)
        if error == "BAD_FRAME":
            unit.bad_frames += 1
            return
        unit.timeouts += 1
        if error == "ECHO":
            return
        now = self._now()
        if unit.good and key not in unit.good:
            self._note_bad(unit, key, now)
            return
        if unit.gap is not None:
            unit.gaps.note(unit.gap, False)
        if key and not unit.good:
            self._note_bad(unit, key, now)
        unit.silence.go_on(now)
        if unit.silence.is_long(now):
            unit.down = self._enabled

    def _note_bad(self, unit: Unit, key: bytes, now: int) -> None:
        """A question was not answered that has never been; the one that is asked least makes room."""
        if key not in unit.bad and len(unit.bad) >= QUESTIONS_LIMIT:
            oldest = min(unit.bad, key=lambda other: unit.bad[other].probe_at)
            del unit.bad[oldest]
        unit.bad.setdefault(key, Silence()).go_on(now)

    def _sample(self, unit: Unit, latency: float) -> None:
        unit.latencies.append(max(latency, 0.0))
        if len(unit.latencies) > SAMPLES:
            unit.latencies.pop(0)
        unit.summary = None

    def state(self, iso_time: Callable[[float], str | None]) -> dict:
        """The state key `devices`: unit id as text -> counters and latencies. `iso_time(age)` is the UTC time that was
        `age` seconds ago as text."""
        now = self._now()
        return {str(uid): _describe(self._units[uid], now, iso_time) for uid in sorted(self._units)}

    def _unit(self, uid: int) -> Unit:
        if uid not in self._units:
            self._units[uid] = Unit()
        return self._units[uid]


def _describe(unit: Unit, now: int, iso_time: Callable[[float], str | None]) -> dict:
    summary = unit.summary = unit.summary or Summary(unit.latencies)
    return {
        "ok": unit.ok,
        "timeouts": unit.timeouts,
        "badFrames": unit.bad_frames,
        "down": unit.down,
        "p50Ms": summary.p50_ms,
        "p95Ms": summary.p95_ms,
        "suggestedTimeoutMs": summary.timeout_ms,
        "suggestedRestMs": unit.gaps.needed(),
        "lastSeen": None if unit.seen is None else iso_time((now - unit.seen) / 1000),
    }


def _percentile_ms(ordered: list, percent: int) -> float | None:
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 1)
