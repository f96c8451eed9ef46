"""The arbiter: everybody who wants the RS-485 line hands a transaction to the `Bus`, which alone uses the port.

The line is half duplex, so one exchange runs at a time. Lanes have priorities, the sources inside a lane take turns,
every queue is bounded. RTU answers carry no transaction id: after a question stayed without an answer, its unit is not
asked again before the late answer has come or a horizon has passed; other units are served meanwhile.

Identical reads that wait at the same time share one exchange. A write to the unit in between keeps them apart, and
nobody joins an exchange that has begun: no answer is older than its question.
"""

import asyncio

from firmware.services.bus.device_health import DeviceHealth
from firmware.services.bus.pdu import READ_BITS, READ_ONLY, READ_REGISTERS
from firmware.services.errors import Refused
from hal.contracts import PartError
from hal.framing import Line
from hal.runtime import log, log_exception, monotonic, wait_until
from hal.service import Service

INTERACTIVE, GATEWAY, SEARCH = range(3)

LANE_LIMIT = 64  # transactions that wait in one lane
SHARERS_LIMIT = 64  # transactions that share another's exchange
SEARCH_TURN = 4  # one of so many exchanges goes to the search while the gateway is busy
RESTORE_PAUSE = 1.0  # seconds until a port that refuses its own settings is given them again
LOAD_WINDOW = 5.0  # seconds over which the load is measured


class Transaction:
    """One question to one unit, and what came of it.

    `timeout` is seconds until the answer must begin, None for the setting. `retries` of None is the setting, which
    repeats only functions that change nothing; a number repeats any function. `line` is None for the bus's own
    settings. `error` is None or an Exchange's error, "EXCEPTION" with the code in `exception`, "DEVICE_DOWN", "NO_PATH"
    (forwarded to a server that cannot be reached) or "CANCELLED". `answer` is the answer's PDU. `done` is set and
    `on_end()` called at the end.
    """

    def __init__(self, uid: int, pdu: bytes, lane: int, source, timeout=None, retries: "int | None" = None, line=None):
        self.uid = uid
        self.pdu = pdu
        self.lane = lane
        self.source = source
        self.timeout = timeout
        self.retries = retries
        self.line: Line | None = line
        self.error: str | None = None
        self.exception: int | None = None
        self.answer = b""
        self.elapsed = 0.0  # seconds on the line, of all tries together
        self.ended: float | None = None  # monotonic time of the end
        self.latency = 0.0  # seconds from the end of the question to the begin of the answer
        self.heard: list = []  # unit ids of other frames heard meanwhile
        self.done = asyncio.Event()
        self.on_end: object = None
        self.sharers: list = []  # transactions that get the same answer

    def answered(self, pdu: bytes, now: float) -> None:
        """End with the answer's PDU, an exception perhaps."""
        self.answer = pdu
        is_exception = pdu[0] & 0x80 != 0
        if is_exception:
            self.exception = pdu[1]
        self.finish("EXCEPTION" if is_exception else None, now)

    def finish(self, error: "str | None", now: float) -> None:
        """End, and tell whoever waits; once."""
        if self.done.is_set():
            return
        self.error = error
        self.ended = now
        self.done.set()
        if self.on_end is not None:
            self.on_end()  # type: ignore[operator]


class Lane:
    """A bounded queue in which sources take turns."""

    def __init__(self):
        self.length = 0
        self._queues: list = []  # [source, [transactions]] in the order of their turns

    def put(self, transaction: Transaction, first: bool = False) -> None:
        """Queue a transaction behind its source's others, or before them."""
        self.length += 1
        for source, queue in self._queues:
            if source == transaction.source:
                queue.insert(0 if first else len(queue), transaction)
                return
        self._queues.append([transaction.source, [transaction]])

    def take(self, allowed) -> "Transaction | None":
        """The next transaction that `allowed(transaction)` lets go; its source's next turn is last."""
        for turn, (_, queue) in enumerate(self._queues):
            for index, transaction in enumerate(queue):
                if allowed(transaction):
                    del queue[index]
                    entry = self._queues.pop(turn)
                    if queue:
                        self._queues.append(entry)
                    self.length -= 1
                    return transaction
        return None

    def remove(self, transaction: Transaction) -> bool:
        """Take a waiting transaction out, its first sharer into its place; False where it does not wait here."""
        for turn, (_, queue) in enumerate(self._queues):
            for index, waiting in enumerate(queue):
                if transaction in waiting.sharers:
                    waiting.sharers.remove(transaction)
                    return True
                if waiting is transaction:
                    self._replace(turn, index)
                    return True
        return False

    def _replace(self, turn: int, index: int) -> None:
        queue = self._queues[turn][1]
        sharers = queue[index].sharers
        if sharers:
            queue[index] = sharers[0]
            sharers[0].sharers = sharers[1:]
            return
        del queue[index]
        if not queue:
            del self._queues[turn]
        self.length -= 1


class Bus(Service):
    """Owner of the RS-485 port. `serial` is the active value of the setting of that name."""

    def __init__(self, port, serial: dict, clock=monotonic):
        self._port = port
        self._serial = serial
        self._clock = clock
        self._line = Line(
            serial["baudRate"],
            serial["charFormat"],
            serial["frameMode"],
            serial["frameGapUs"],
            serial["asciiGapMs"] / 1000,
        )
        self._lanes = (Lane(), Lane(), Lane())
        self.health = DeviceHealth(serial["healthCheck"], clock)
        self._wake = asyncio.Event()
        self._shared: dict = {}  # (unit id, PDU) -> waiting read that others may share
        self._owed: dict = {}  # unit id -> until when its late answer is waited for
        self._serves = False
        self._asking: Transaction | None = None  # what is on the line
        self._since_search = 0
        self._counts = {"sent": 0, "ok": 0, "timeouts": 0, "crcErrors": 0, "exceptions": 0}
        self._load_marks = [(clock(), 0.0), (clock(), 0.0)]

    async def start(self) -> None:
        """Open the port and begin to serve."""
        self._port.on_stray = self._wake.set
        await self._port.configure(self._line)
        self._serves = True
        self.keep_running(self._run())

    async def stop(self) -> None:
        """Stop serving; what waits ends with CANCELLED."""
        self._serves = False
        await super().stop()
        if self._asking is not None:
            self._end(self._asking, "CANCELLED")
        self._fail_all("CANCELLED")
        await self._port.stop()

    def submit(self, transaction: Transaction) -> None:
        """Queue a transaction; its `done` event is set when it has ended.

        Refused NO_PORT while the port is not there, BUS_BUSY where the lane is full.
        """
        if not self._serves or not self._port.is_open:
            raise Refused("NO_PORT", "the serial port is not there", 2)
        if self._share(transaction):
            return
        lane = self._lanes[transaction.lane]
        if lane.length >= LANE_LIMIT:
            raise Refused("BUS_BUSY", f"{LANE_LIMIT} requests wait already", 1)
        lane.put(transaction)
        self._offer(transaction)
        self._wake.set()

    async def exchange(self, uid: int, pdu: bytes, lane: int, source, line=None, timeout=None) -> Transaction:
        """Submit a transaction and wait for its end; Refused as `submit`."""
        transaction = Transaction(uid, pdu, lane, source, timeout, 0, line)
        self.submit(transaction)
        try:
            await transaction.done.wait()
        except asyncio.CancelledError:
            self.cancel(transaction)
            raise
        return transaction

    def cancel(self, transaction: Transaction) -> None:
        """End a transaction that still waits; one on the line ends by itself."""
        if any(lane.remove(transaction) for lane in self._lanes):
            self._forget_offer(transaction)
            transaction.finish("CANCELLED", self._clock())

    def state(self) -> dict:
        """The state key `bus`."""
        now = self._clock()
        self._mark_load(now)
        since, busy = self._load_marks[0]
        span = max(now - since, 0.001)
        return dict(
            self._counts,
            baudRate=self._line.baud_rate,
            charFormat=self._line.char_format,
            frameMode=self._line.frame_mode,
            portOpen=self._port.is_open,
            queued=sum(lane.length for lane in self._lanes),
            lateBytes=self._port.stray_bytes,
            loadPercent=min(100, round(100 * (self._port.busy_time - busy) / span)),
        )

    # Shared reads

    def _share(self, transaction: Transaction) -> bool:
        """Let a read join an identical one that waits no further back; whether it did."""
        waiting = self._shared.get((transaction.uid, transaction.pdu))
        if (
            waiting is None
            or waiting.lane > transaction.lane
            or waiting.timeout != transaction.timeout
            or waiting.retries != transaction.retries
            or transaction.line is not None
            or len(waiting.sharers) >= SHARERS_LIMIT
        ):
            return False
        waiting.sharers.append(transaction)
        return True

    def _offer(self, transaction: Transaction) -> None:
        """A read may be shared from now on; anything else closes the waiting reads of its unit to newcomers."""
        uid = transaction.uid
        if transaction.pdu[0] in READ_BITS + READ_REGISTERS and transaction.line is None and uid != 0:
            self._shared[(uid, transaction.pdu)] = transaction
        elif transaction.pdu[0] not in READ_ONLY:
            for key in [key for key in self._shared if uid in (0, key[0])]:
                del self._shared[key]

    def _forget_offer(self, transaction: Transaction) -> None:
        key = (transaction.uid, transaction.pdu)
        if self._shared.get(key) is transaction:
            del self._shared[key]

    # The loop

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            transaction = self._next()
            if transaction is None:
                await self._wait_for_work()
                continue
            self._asking = transaction
            try:
                await self._serve(transaction)
            except Exception as exc:
                log_exception(exc)
                self._end(transaction, "PORT_LOST")
            self._asking = None

    async def _wait_for_work(self) -> None:
        if not self._line.same_as(self._port.line):
            await self._restore_line()
            return
        if not self._owed or not any(lane.length for lane in self._lanes):
            await self._wake.wait()
        else:
            await wait_until(self._wake, min(self._owed.values()) - self._clock())

    async def _restore_line(self) -> None:
        """Give the port its own settings back after a search at others."""
        try:
            await self._port.configure(self._line)
        except PartError as exc:
            log(f"bus: {exc}")
            await wait_until(self._wake, RESTORE_PAUSE)

    def _next(self) -> "Transaction | None":
        self._settle_debts(self._port.heard_unasked())
        interactive, gateway, search = self._lanes
        transaction = interactive.take(self._allowed)
        if transaction is not None:
            return transaction
        order = (search, gateway) if self._since_search >= SEARCH_TURN - 1 else (gateway, search)
        for lane in order:
            transaction = lane.take(self._allowed)
            if transaction is not None:
                self._since_search = 0 if lane is search else self._since_search + 1
                return transaction
        return None

    def _allowed(self, transaction: Transaction) -> bool:
        return transaction.uid not in self._owed or self._barred(transaction)

    def _barred(self, transaction: Transaction) -> bool:
        """Whether a request is not to be sent since its unit is down; a search asks all the same."""
        return transaction.lane != SEARCH and self.health.bars(transaction.uid)

    def _settle_debts(self, heard: "list[int]") -> None:
        """Forget the late answers that have come, and those that were waited for long enough."""
        if self._owed:
            now = self._clock()
            self._owed = {uid: until for uid, until in self._owed.items() if until > now and uid not in heard}

    async def _serve(self, transaction: Transaction) -> None:
        self._forget_offer(transaction)
        if self._barred(transaction):
            self._end(transaction, "DEVICE_DOWN")
            return
        line = transaction.line or self._line
        if not line.same_as(self._port.line):
            try:
                await self._port.configure(line)
            except PartError:
                self._end(transaction, "PORT_LOST")
                return
        self._counts["sent"] += 1
        if transaction.uid == 0 and transaction.lane != SEARCH:  # a search asks whether somebody has this unit id
            exchange = await self._port.broadcast(transaction.pdu, self._serial["turnaroundMs"] / 1000)
        else:
            timeout = transaction.timeout
            if timeout is None:
                timeout = self._serial["responseTimeoutMs"] / 1000
            exchange = await self._port.transact(transaction.uid, transaction.pdu, max(timeout, line.silence))
        transaction.elapsed += exchange.elapsed
        transaction.latency = exchange.latency
        transaction.heard = exchange.heard
        self._mark_load(self._clock())
        self._settle_debts(exchange.heard)
        self._judge(transaction, exchange)
        if exchange.owed:
            self._owed[transaction.uid] = self._clock() + self._serial["lateHorizonMs"] / 1000
        if exchange.error is None:
            self._answer(transaction, exchange.pdu)
        elif exchange.error == "PORT_LOST":
            self._end(transaction, "PORT_LOST")
            self._fail_all("PORT_LOST")
        else:
            self._counts["crcErrors" if exchange.error == "BAD_FRAME" else "timeouts"] += 1
            if self._takes_another_try(transaction):
                self._lanes[transaction.lane].put(transaction, first=True)
            else:
                self._end(transaction, exchange.error)

    def _judge(self, transaction: Transaction, exchange) -> None:
        """Tell the health of the devices what was seen; a search's silence says nothing of them."""
        for uid in exchange.heard:
            self.health.heard(uid)
        if transaction.uid == 0 or exchange.error == "PORT_LOST":
            return
        if exchange.error is None:
            self.health.answered(transaction.uid, exchange.latency)
        elif transaction.lane != SEARCH:
            self.health.failed(transaction.uid, exchange.error)

    def _takes_another_try(self, transaction: Transaction) -> bool:
        if transaction.retries is None:
            transaction.retries = self._serial["retries"] if transaction.pdu[0] in READ_ONLY else 0
        transaction.retries -= 1
        return transaction.retries >= 0

    def _answer(self, transaction: Transaction, pdu: bytes) -> None:
        transaction.answer = pdu
        if pdu and pdu[0] & 0x80:
            self._counts["exceptions"] += 1
            transaction.exception = pdu[1]
            self._end(transaction, "EXCEPTION")
        else:
            self._counts["ok"] += 1
            self._end(transaction, None)

    def _end(self, transaction: Transaction, error: "str | None") -> None:
        """End a transaction and those that share it, once; nobody joins it from now on."""
        self._forget_offer(transaction)
        sharers, transaction.sharers = transaction.sharers, []
        for sharer in sharers:
            sharer.answer = transaction.answer
            sharer.exception = transaction.exception
            sharer.elapsed = transaction.elapsed
            sharer.finish(error, self._clock())
        transaction.finish(error, self._clock())

    def _fail_all(self, error: str) -> None:
        for lane in self._lanes:
            transaction = lane.take(_any)
            while transaction is not None:
                self._end(transaction, error)
                transaction = lane.take(_any)

    def _mark_load(self, now: float) -> None:
        if now - self._load_marks[1][0] >= LOAD_WINDOW:
            self._load_marks = [self._load_marks[1], (now, self._port.busy_time)]


def _any(transaction: Transaction) -> bool:
    return True
