"""The template search: every unit id is asked whether it is of a template's class, and if so for its parameters."""

from firmware.services import shapes
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.pdu import read, read_values
from firmware.services.bus.transaction import Transaction
from firmware.services.errors import Refused
from firmware.services.search.absent import BadTemplate, NoTemplateSearch
from firmware.services.search.devices import THOROUGH_WAIT, wait_on
from firmware.services.search.job import LineSearch
from firmware.services.search.verdicts import FIRST_UID, LAST_UID, Member
from hal.rs485.framing import Line
from hal.runtime import forget_modules, now_ms
from hal.runtime.annotations import Awaitable, Callable

TRIES = 3  # of a question whose answer was lost or spoilt, of a unit that has answered already
REFUSALS = (1, 2, 3)  # exceptions by which a device says that it has no such registers: it is of another class

# What a board imports when a search begins and lets go when it ends.
_ONLY_FOR_SEARCHES = tuple(
    "firmware.services.search." + name for name in ("parameters", "builtin", "templates", "values")
)

OTHER, OF_CLASS = "other", "ofClass"


class TemplateSearch(LineSearch, NoTemplateSearch):
    """The one template search that can run.

    `read_file(path, limit)` fetches a file from the SD card, `serial` is the active setting of that name.
    """

    def __init__(
        self,
        bus: Bus,
        read_file: Callable[[str, int], Awaitable[bytes]],
        serial: shapes.Serial,
        clock: Callable[[], int] = now_ms,
    ):
        super().__init__(bus, clock)
        self._read_file = read_file
        self._serial = serial
        self._found: list[Member] = []
        self._unjudged: dict[int, str] = {}  # unit id -> why it could not be judged

    async def meta_info(self, path: str) -> dict:
        """What the template of a file says of itself. BadTemplate."""
        meta: dict = (await self._load(path))["meta"]
        return meta

    async def begin(self, path: str, setting: tuple[int, int, int]) -> dict | None:
        """Begin a search by the template of a file at a setting (bit/s, character format, frame mode).

        Gives what the template says of itself, None where a search runs already. BadTemplate.
        """
        if self.is_running():
            return None
        template = await self._load(path)
        if self.is_running():  # somebody else's search began while the file was read
            return None
        line = Line.of(dict(self._serial), *setting)
        self._found = []
        self._unjudged = {}
        self._begin(self._walk, template, line)
        meta: dict = template["meta"]
        return meta

    def found(self) -> list[Member]:
        """The devices of the class, in the order in which they were found."""
        return list(self._found)

    def unjudged(self) -> list[tuple[int, str]]:
        """(unit id, why) of those that answered, but whose class could not be told."""
        return sorted(self._unjudged.items())

    async def _load(self, path: str) -> dict:
        from firmware.services.search import builtin  # here: a board has other things to do with its memory
        from firmware.services.search.templates import SIZE_LIMIT, parse

        try:
            return parse(builtin.read(path) if builtin.is_builtin(path) else await self._read_file(path, SIZE_LIMIT))
        except Refused as exc:
            if exc.code == "TOO_LARGE":
                raise BadTemplate(f"BAD_TEMPLATE: the file must not be longer than {SIZE_LIMIT} bytes") from None
            raise BadTemplate(f"{exc.code}: {exc}") from None

    # The walk

    async def _walk(self, template: dict, line: Line) -> None:
        """All unit ids, and once more those that were silent: an answer may have been lost."""
        try:
            await self._walk_over(template, line)
        finally:
            forget_modules(*_ONLY_FOR_SEARCHES)

    async def _walk_over(self, template: dict, line: Line) -> None:
        wait = wait_on(line, max(THOROUGH_WAIT, self._serial["responseTimeoutMs"] / 1000))
        share = wait + 8 * line.char_time + line.silence
        uids = list(range(FIRST_UID, LAST_UID + 1))
        self._planned = 2 * share * len(uids)
        silent = await self._pass(uids, template, line, wait, share)
        self._planned = share * (len(uids) + len(silent))
        await self._pass(silent, template, line, wait, share)

    async def _pass(self, uids: list[int], template: dict, line: Line, wait: float, share: float) -> list[int]:
        """Ask each of these units; returns those that stayed silent."""
        silent = []
        for uid in uids:
            verdict = await self._judge(uid, template["identify"], line, wait)
            if verdict is None:
                silent.append(uid)
            elif verdict == OF_CLASS:
                await self._note(uid, template, line, wait)
            elif verdict != OTHER:
                self._unjudged[uid] = verdict
            self._walked += share
        return silent

    async def _note(self, uid: int, template: dict, line: Line, wait: float) -> None:
        async def fetch(func: int, addr: int, count: int) -> Transaction:
            return await self._fetch(uid, func, addr, count, line, wait)

        from firmware.services.search.parameters import Parameters

        parameters = Parameters(template["params"], fetch)
        await parameters.read()
        self._found.append(Member(uid, line, template["meta"], parameters.values, parameters.missing))

    async def _judge(self, uid: int, rules: list, line: Line, wait: float) -> str | None:
        """OF_CLASS, OTHER, why it cannot be told, or None for a unit that is silent."""
        answered = False
        for rule in rules:
            for _ in range(TRIES):
                transaction = await self._fetch(uid, rule["func"], rule["addr"], rule["count"], line, wait)
                silent = transaction.error not in (None, "EXCEPTION") and uid not in transaction.heard
                answered = answered or not silent or transaction.error == "BAD_FRAME"
                verdict = _verdict(rule, transaction)
                if verdict in (OF_CLASS, OTHER) or not answered:
                    break
            if not answered:
                return None
            if verdict != OF_CLASS:
                return verdict
        return OF_CLASS

    async def _fetch(self, uid: int, func: int, addr: int, count: int, line: Line, wait: float) -> Transaction:
        return await self._ask(uid, read(func, addr, count), line, wait)


def _verdict(rule: dict, transaction: Transaction) -> str:
    """What one rule says: OF_CLASS so far, OTHER, or why it cannot be told."""
    from firmware.services.search.parameters import reason
    from firmware.services.search.templates import holds

    if transaction.error is None:
        words = read_values(rule["func"], rule["count"], transaction.answer)
        return OF_CLASS if holds(rule, [int(word) for word in words]) else OTHER
    if transaction.exception in REFUSALS:
        return OF_CLASS if rule["orRefused"] else OTHER
    return reason(transaction)
