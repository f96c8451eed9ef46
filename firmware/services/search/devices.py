"""The search for devices: every unit id at every line setting asked for, in the lowest lane of the bus.

The probe reads one holding register (function 3, address 0): it changes nothing, and a device that has no such register
says so with an exception. Whatever is plainly a Modbus answer from an address counts as found.
"""

from firmware.services.bus.arbiter import Bus, Transaction
from firmware.services.search.job import LineSearch
from hal.framing import Line
from hal.runtime import monotonic

PROBE = bytes([3, 0, 0, 0, 1])
FIRST_UID, LAST_UID = 1, 247  # unit ids of devices: serial line specification, section 2.2

FAST_WAIT = 0.035  # seconds for which a fast search waits at first
FAST_LAST_WAIT = 0.12  # and when it asks the silent ones once more
THOROUGH_WAIT = 0.5
MARGIN = 1.5  # waits are at least so many times the slowest answer seen on the line
BAD_TRIES = 2  # further probes after a frame with a bad checksum

ANSWER, EXCEPTION, ODD, BAD_LINK, COLLISION = "answer", "exception", "odd", "badLink", "collision"


class Pass:
    """One walk over unit ids at one line setting."""

    def __init__(self, line: Line, uids: "list[int]", wait: float):
        self.line = line
        self.uids = uids
        self.wait = wait

    def seconds(self) -> float:
        """What the pass takes if nobody answers."""
        frame = 17 if self.line.frame_mode else 8  # characters of the probe
        return len(self.uids) * (frame * self.line.char_time + self.line.silence + self.wait)


class Discovery(LineSearch):
    """The search for devices. `serial` is the active setting of that name."""

    def __init__(self, bus: "Bus | None", serial: dict, clock=monotonic):
        super().__init__(bus, clock)
        self._serial = serial
        self._found: dict = {}  # (line number, unit id) -> a line of the answer
        self._slowest = 0.0
        self._identify = False

    def begin(self, fields: dict) -> dict:
        """Begin a search; {"status": "DONE"}, "BUSY" while one runs. Refused NO_PORT."""
        self._need_bus()
        if self.is_running():
            return {"status": "BUSY"}
        self._found = {}
        self._slowest = 0.0
        self._identify = fields["identify"]
        self._begin(self._walk, self._lines(fields), fields)
        return {"status": "DONE"}

    def result(self, with_list: bool) -> dict:
        """{"status", "progress", "etaSec"} and, where asked for, "foundDevices"."""
        answer = self._progress()
        if with_list:
            answer["foundDevices"] = [dict(self._found[key]) for key in sorted(self._found)]
        return answer

    def _lines(self, fields: dict) -> "list[Line]":
        rates = fields["baudRates"] or [fields["baudRate"]]
        formats = fields["charFormats"] or [fields["charFormat"]]
        gap = self._serial["frameGapUs"]
        ascii_gap = self._serial["asciiGapMs"] / 1000
        return [Line(rate, form, fields["frameMode"], gap, ascii_gap) for rate in rates for form in formats]

    # The walk

    async def _walk(self, lines: "list[Line]", fields: dict) -> None:
        uids = list(range(fields["uidFrom"], fields["uidTo"] + 1))
        fast = fields["fastSearch"]
        first = FAST_WAIT if fast else self._thorough_wait()
        last = FAST_LAST_WAIT if fast else self._thorough_wait()
        self._planned = sum(Pass(line, uids, first).seconds() + Pass(line, uids, last).seconds() for line in lines)
        for number, line in enumerate(lines):
            await self._pass(number, Pass(line, uids, first))
            silent = [uid for uid in uids if (number, uid) not in self._found]
            again = Pass(line, silent, last)
            self._planned -= Pass(line, uids, last).seconds() - again.seconds()
            await self._pass(number, again)
            if fields["stopAtFirst"] and any(found_at == number for found_at, _ in self._found):
                return

    def _thorough_wait(self) -> float:
        return max(THOROUGH_WAIT, self._serial["responseTimeoutMs"] / 1000)

    async def _pass(self, number: int, walk: Pass) -> None:
        share = walk.seconds() / max(len(walk.uids), 1)
        for uid in walk.uids:
            if (number, uid) not in self._found:
                transaction = await self._probe(uid, walk)
                await self._note(number, walk, uid, transaction)
            self._walked += share

    async def _probe(self, uid: int, walk: Pass) -> Transaction:
        return await self._ask(uid, PROBE, walk.line, max(walk.wait, MARGIN * self._slowest))

    async def _note(self, number: int, walk: Pass, uid: int, transaction: Transaction) -> None:
        """Judge an exchange, late answers of units asked before included."""
        for late in transaction.heard:
            if late != uid and late in walk.uids:
                await self._add(number, walk.line, late, ANSWER)
        verdict = await self._verdict(uid, walk, transaction)
        if verdict is not None:
            await self._add(number, walk.line, uid, verdict)

    async def _verdict(self, uid: int, walk: Pass, transaction: Transaction) -> "str | None":
        for _ in range(BAD_TRIES):
            verdict = self._judge(uid, transaction)
            if verdict != BAD_LINK:
                return verdict
            transaction = await self._probe(uid, walk)
        verdict = self._judge(uid, transaction)
        return COLLISION if verdict == BAD_LINK else (verdict or BAD_LINK)

    def _judge(self, uid: int, transaction: Transaction) -> "str | None":
        if transaction.error in (None, "EXCEPTION"):
            self._slowest = max(self._slowest, transaction.latency)
            return ANSWER if transaction.error is None else EXCEPTION
        if transaction.error == "BAD_FRAME":
            return ODD if uid in transaction.heard else BAD_LINK
        return None

    async def _add(self, number: int, line: Line, uid: int, verdict: str) -> None:
        if (number, uid) in self._found:
            return
        found = {
            "uid": uid,
            "baudRate": line.baud_rate,
            "charFormat": line.char_format,
            "frameMode": line.frame_mode,
            "verdict": verdict,
        }
        self._found[(number, uid)] = found
        if self._identify:
            found["identity"] = await self._identity(uid, line)

    async def _identity(self, uid: int, line: Line) -> "str | None":
        """What a device says of itself by function 43/14 or else 17 (application protocol 6.21, 6.13)."""
        for pdu, read in ((bytes([43, 14, 1, 0]), _read_identification), (bytes([17]), _read_server_id)):
            wait = max(THOROUGH_WAIT, MARGIN * self._slowest)
            transaction = await self._ask(uid, pdu, line, wait)
            if transaction.error is None:
                text = read(transaction.answer)
                if text:
                    return text
        return None


def _printable(data: bytes) -> str:
    return "".join(chr(byte) if 32 <= byte < 127 else " " for byte in data).strip()


def _read_identification(pdu: bytes) -> str:
    """Vendor, product code and revision of an answer of function 43/14."""
    parts = []
    position = 7
    for _ in range(pdu[6] if len(pdu) > 6 else 0):
        if position + 2 > len(pdu):
            break
        length = pdu[position + 1]
        parts.append(_printable(pdu[position + 2 : position + 2 + length]))
        position += 2 + length
    return " ".join(part for part in parts if part)


def _read_server_id(pdu: bytes) -> str:
    """The printable part of an answer of function 17."""
    return _printable(pdu[2:])
