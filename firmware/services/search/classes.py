"""The template search: every unit id is asked whether it is of a template's class, and if so for its parameters."""

from firmware.services.bus.arbiter import Bus, Transaction
from firmware.services.bus.pdu import read_values
from firmware.services.errors import Refused
from firmware.services.search.devices import FIRST_UID, LAST_UID, THOROUGH_WAIT
from firmware.services.search.job import LineSearch
from firmware.services.search.templates import SIZE_LIMIT, Read, decode, holds, parse, plan, size_of
from hal.framing import Line
from hal.runtime import monotonic

GAP_REFUSALS = (2, 3)  # exceptions by which a device refuses registers between those that it has


class TemplateSearch(LineSearch):
    """The one template search that can run.

    `read_file(path, limit)` fetches a file from the SD card, `serial` is the active setting of that name.
    """

    def __init__(self, bus: "Bus | None", read_file, serial: dict, clock=monotonic):
        super().__init__(bus, clock)
        self._read_file = read_file
        self._serial = serial
        self._found: list = []

    async def meta_info(self, path: str) -> dict:
        """{"status": "DONE"|"ERROR", "errorCode", "metaInfo"} of a template file."""
        try:
            template = await self._load(path)
        except Refused as exc:
            return _failure(exc)
        return {"status": "DONE", "errorCode": None, "metaInfo": template["meta"]}

    async def begin(self, fields: dict, with_meta: bool) -> dict:
        """Begin a search; {"status": "DONE"|"BUSY"|"ERROR", "errorCode"} and "metaInfo" where asked for."""
        self._need_bus()
        if self.is_running():
            return {"status": "BUSY", "errorCode": None}
        try:
            template = await self._load(fields["filePath"])
        except Refused as exc:
            return _failure(exc)
        if self.is_running():  # somebody else's search began while the file was read
            return {"status": "BUSY", "errorCode": None}
        line = Line(
            fields["baudRate"],
            fields["charFormat"],
            fields["frameMode"],
            self._serial["frameGapUs"],
            self._serial["asciiGapMs"] / 1000,
        )
        self._found = []
        self._begin(self._walk, template, line)
        answer: dict = {"status": "DONE", "errorCode": None}
        if with_meta:
            answer["metaInfo"] = template["meta"]
        return answer

    def result(self) -> dict:
        """{"status", "progress", "etaSec", "foundDevices"}."""
        return dict(self._progress(), foundDevices=list(self._found))

    async def _load(self, path: str) -> dict:
        try:
            data = await self._read_file(path, SIZE_LIMIT)
        except Refused as exc:
            if exc.code == "TOO_LARGE":
                raise Refused("BAD_TEMPLATE", f"the file must not be longer than {SIZE_LIMIT} bytes") from None
            raise
        return parse(data)

    async def _walk(self, template: dict, line: Line) -> None:
        wait = max(THOROUGH_WAIT, self._serial["responseTimeoutMs"] / 1000)
        share = wait + 8 * line.char_time + line.silence
        self._planned = share * (LAST_UID - FIRST_UID + 1)
        for uid in range(FIRST_UID, LAST_UID + 1):
            if await self._is_of_class(uid, template["identify"], line, wait):
                self._found.append(
                    {
                        "uid": uid,
                        "baudRate": line.baud_rate,
                        "charFormat": line.char_format,
                        "frameMode": line.frame_mode,
                        "class": template["meta"]["class"],
                        "title": template["meta"]["title"],
                        "params": await self._params(uid, template["params"], line, wait),
                    }
                )
            self._walked += share

    async def _is_of_class(self, uid: int, rules: list, line: Line, wait: float) -> bool:
        for rule in rules:
            transaction = await self._fetch(uid, rule["func"], rule["addr"], rule["count"], line, wait)
            if transaction.error is not None:
                return False
            words = read_values(rule["func"], rule["count"], transaction.answer)
            if not holds(rule, [int(word) for word in words]):
                return False
        return True

    async def _params(self, uid: int, params: list, line: Line, wait: float) -> dict:
        """Name -> value, null where the device does not give one."""
        values = {param["name"]: None for param in params}
        reads = plan(params)
        while reads:
            read = reads.pop(0)
            transaction = await self._fetch(uid, read.func, read.addr, read.count, line, wait)
            if transaction.error is None:
                self._decode(read, read_values(read.func, read.count, transaction.answer), values)
            elif read.has_gaps and transaction.exception in GAP_REFUSALS:
                reads = plan(read.params, with_gaps=False) + reads
            elif len(read.params) > 1 and transaction.exception in GAP_REFUSALS:
                reads = [Read(param) for param in read.params] + reads
        return values

    def _decode(self, read: Read, words: list, values: dict) -> None:
        for param in read.params:
            start = param["addr"] - read.addr
            values[param["name"]] = decode(param, words[start : start + size_of(param)])

    async def _fetch(self, uid: int, func: int, addr: int, count: int, line: Line, wait: float) -> Transaction:
        pdu = bytes([func, addr >> 8, addr & 0xFF, count >> 8, count & 0xFF])
        return await self._ask(uid, pdu, line, wait)


def _failure(exc: Refused) -> dict:
    return {"status": "ERROR", "errorCode": f"{exc.code}: {exc}", "metaInfo": None}
