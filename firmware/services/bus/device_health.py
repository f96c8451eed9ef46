"""How the devices on the line fare, unit by unit; a silent one is taken as down so that it cannot starve the others."""

from hal.runtime import monotonic

DOWN_COUNT = 3  # exchanges in a row without an answer, and
DOWN_SEC = 2.0  # seconds since the first of them: both make a unit down
FIRST_PAUSE = 0.5  # seconds between two probes of a unit that is down; doubles
LONGEST_PAUSE = 10.0
SAMPLES = 64  # latencies kept for each unit
TIMEOUT_FLOOR_MS = 50  # least timeout suggested: what adapters and devices add now and then


class Unit:
    """What is known of one unit."""

    def __init__(self):
        self.ok = 0
        self.timeouts = 0
        self.bad_frames = 0
        self.seen: float | None = None  # monotonic time of the last answer
        self.latencies: list = []  # seconds from the end of the question to the begin of the answer, latest last
        self.silent_count = 0
        self.silent_since = 0.0
        self.down = False
        self.pause = FIRST_PAUSE
        self.probe_at = 0.0


class DeviceHealth:
    """Counts and judges exchanges. `enabled` is the setting serial.healthCheck; without it no unit is ever down."""

    def __init__(self, enabled: bool, clock=monotonic):
        self._enabled = enabled
        self._clock = clock
        self._units: dict = {}  # unit id -> Unit

    def bars(self, uid: int) -> bool:
        """Whether a request to a unit is not to be sent: it is down and its next probe is not due."""
        unit = self._units.get(uid)
        return unit is not None and unit.down and self._clock() < unit.probe_at

    def answered(self, uid: int, latency: float) -> None:
        """A unit answered, an exception perhaps."""
        unit = self._unit(uid)
        unit.ok += 1
        unit.latencies = unit.latencies[-SAMPLES + 1 :] + [max(latency, 0.0)]
        self.heard(uid)

    def heard(self, uid: int) -> None:
        """A frame of a unit was heard, late perhaps: it lives."""
        unit = self._unit(uid)
        unit.seen = self._clock()
        unit.silent_count = 0
        unit.down = False
        unit.pause = FIRST_PAUSE

    def failed(self, uid: int, error: str) -> None:
        """A unit did not answer ("TIMEOUT" and its like) or answered wrongly ("BAD_FRAME", which is no silence)."""
        unit = self._unit(uid)
        if error == "BAD_FRAME":
            unit.bad_frames += 1
            return
        unit.timeouts += 1
        now = self._clock()
        if unit.silent_count == 0:
            unit.silent_since = now
        unit.silent_count += 1
        if unit.down:
            unit.pause = min(2 * unit.pause, LONGEST_PAUSE)
        elif unit.silent_count >= DOWN_COUNT and now - unit.silent_since >= DOWN_SEC:
            unit.down = self._enabled
        unit.probe_at = now + unit.pause

    def state(self, iso_time) -> dict:
        """The state key `devices`: unit id as text -> counters and latencies. `iso_time(age)` is the UTC time that was
        `age` seconds ago as text."""
        now = self._clock()
        return {str(uid): _describe(self._units[uid], now, iso_time) for uid in sorted(self._units)}

    def _unit(self, uid: int) -> Unit:
        if uid not in self._units:
            self._units[uid] = Unit()
        return self._units[uid]


def _describe(unit: Unit, now: float, iso_time) -> dict:
    ordered = sorted(unit.latencies)
    return {
        "ok": unit.ok,
        "timeouts": unit.timeouts,
        "badFrames": unit.bad_frames,
        "down": unit.down,
        "p50Ms": _percentile_ms(ordered, 50),
        "p95Ms": _percentile_ms(ordered, 95),
        "suggestedTimeoutMs": max(TIMEOUT_FLOOR_MS, int(ordered[-1] * 2000) + 20) if ordered else None,
        "lastSeen": None if unit.seen is None else iso_time(now - unit.seen),
    }


def _percentile_ms(ordered: list, percent: int) -> "float | None":
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 1)
