"""The arbiter: everybody who wants the RS-485 line hands a transaction to the `Bus`, which alone uses the port.

The line is half duplex, so one exchange runs at a time. Who waits for it stands in a queue (queue.py), and every wait
is bounded: who cannot be asked in time ends. RTU answers carry no transaction id: after a wait without an answer the
unit is not asked what could be confused with it before the late answer has come or a horizon has passed; everything
else goes on. A long wait gives the line free when others wait too.

Instants are integer milliseconds.
"""

import asyncio

from firmware.services import shapes
from firmware.services.bus.absent import NoBus
from firmware.services.bus.debts import Debt, Debts
from firmware.services.bus.device_health import DeviceHealth
from firmware.services.bus.exchange_times import ExchangeTimes
from firmware.services.bus.queue import Queue
from firmware.services.bus.transaction import SEARCH, Transaction
from firmware.services.errors import Refused
from hal.contracts import PartError
from hal.rs485.exchange import Exchange
from hal.rs485.framing import READ_ONLY, Line, question_key
from hal.rs485.port import Rs485Port
from hal.runtime import call_after, log, log_exception, now_ms
from hal.runtime.annotations import Callable
from hal.runtime.logs import ERROR
from hal.trace import BUS_ERRORS, EXCHANGES, is_traced, trace

OVERDUE_CHECK_SEC = 0.1
PATIENCE_SEC = 1.0  # how long an answer is waited for while others wait, at least
RESTORE_PAUSE = 1.0  # seconds until a port that refuses its own settings is given them again
LOAD_WINDOW = 5000  # milliseconds over which the load is measured


class Bus(NoBus):
    """Owner of the RS-485 port. `serial` and `units` are the active values of the settings of these names."""

    def __init__(
        self,
        port: Rs485Port,
        serial: shapes.Serial,
        clock: Callable[[], int] = now_ms,
        units: list[shapes.UnitsItem] | None = None,
    ):
        self._port = port
        self._serial = serial
        self._now = clock
        self.on_exchange: Callable[[Transaction, bytes, Exchange | None], None] | None = None  # what traces them
        self._line = Line.of(dict(serial))
        self._units = {uid: row for row in units or () for uid in range(row["uidFrom"], row["uidTo"] + 1)}
        self._queue = Queue()
        self.health = DeviceHealth(serial["healthCheck"], clock)
        self._alarm: object = None  # the timer that ends a pause in which nobody may be asked
        self._waiting = asyncio.Event()  # set while transactions wait for their turn, or may do so
        self._debts = Debts()
        self._rests: dict = {}  # unit id -> until when it is left alone
        self._free_at = 0  # when the line may be used again
        self._serves = False
        self._asking: Transaction | None = None  # what is on the line, or waits for the silence before it
        self._asked: bytes = b""  # the PDU that is: the transaction's, or one that proves that the unit lives
        self._doubtful = False  # whether its unit owed the answer to another question of its function when it was asked
        self._disturbed = False  # whether another unit's late answer may fall into the exchange
        self._restoring = False  # while the port gets its own settings back
        self._advances = False  # while the next transaction is looked for
        self._between = asyncio.Event()  # set when the line has become free
        self._asked_at = 0
        self._counts = {"sent": 0, "ok": 0, "timeouts": 0, "crcErrors": 0, "exceptions": 0}
        self._times = ExchangeTimes()
        self._load_marks = [(self._now(), 0.0), (self._now(), 0.0)]

    async def start(self) -> None:
        """Open the port and begin to serve."""
        self._port.on_frame = self._heard
        await self._port.configure(self._line)
        self._serves = True
        self.keep_running(self._end_overdue())

    async def stop(self) -> None:
        """Stop serving; what waits ends with CANCELLED."""
        self._serves = False
        self._stop_alarm()
        await super().stop()
        asking, self._asking = self._asking, None
        if asking is not None:
            self._end(asking, "CANCELLED")
            self._between.set()
        self._fail_all("CANCELLED")
        await self._port.stop()

    def submit(self, transaction: Transaction) -> None:
        """Queue a transaction; its `done` event is set when it has ended.

        Refused NO_PORT while the port is not there, BUS_BUSY where the lane is full, LISTEN_ONLY.
        """
        self.refuse_where_it_only_listens()
        if not self._serves or not self._port.is_open:
            raise Refused("NO_PORT", "the serial port is not there", 2)
        transaction.queued = self._now()
        transaction.latest = transaction.queued + int(transaction.wait * 1000)
        if self._share(transaction):
            return
        self._queue.put(transaction)
        self._advance()
        if self._asking is not transaction and not self._waiting.is_set():
            self._waiting.set()

    def refuse_where_it_only_listens(self) -> None:
        """Refused LISTEN_ONLY where the settings say that nothing is to be sent."""
        if self._serial["listenOnly"]:
            raise Refused("LISTEN_ONLY", "setting serial.listenOnly is on: the device hears the line and sends nothing")

    async def exchange(
        self,
        uid: int,
        pdu: bytes,
        lane: int,
        source: object,
        line: Line | None = None,
        timeout: float | None = None,
    ) -> Transaction:
        """Submit a strict transaction and wait for its end; Refused as `submit`."""
        transaction = Transaction(uid, pdu, lane, source, timeout, 0, line, strict=True)
        transaction.origin = "search"
        self.submit(transaction)
        try:
            await transaction.done.wait()
        except asyncio.CancelledError:
            self.cancel(transaction)
            raise
        return transaction

    def cancel(self, transaction: Transaction) -> None:
        """End a transaction for which nobody waits any more; one on the line has it for PATIENCE_SEC at most."""
        self._drop(transaction, "CANCELLED")
        if transaction is self._asking and not transaction.sharers:
            transaction.finish("CANCELLED", self._now())
            self._waiting.set()

    async def let_go(self, source: object) -> None:
        """Wait until nothing of a source is on the line any more."""
        while self._asking is not None and self._asking.source is source:
            self._between.clear()
            await self._between.wait()

    def is_open(self) -> bool:
        """Whether the port is open."""
        return self._port.is_open

    def devices(self, utc_iso_ago: Callable[[float], str | None]) -> dict:
        """The state key `devices`; `utc_iso_ago(seconds)` gives a moment's UTC time."""
        return self.health.state(utc_iso_ago)

    def state(self) -> dict:
        """The state key `bus`."""
        now = self._now()
        self._mark_load(now)
        since, busy = self._load_marks[0]
        span = max(now - since, 1) / 1000
        lengths = self._queue.lengths()
        return dict(
            self._counts,
            baudRate=self._line.baud_rate,
            charFormat=self._line.char_format,
            frameMode=self._line.frame_mode,
            portOpen=self._port.is_open,
            queued=sum(lengths.values()),
            queuedByLane=lengths,
            exchangeMs=self._times.state(),
            lateBytes=self._port.stray_bytes,
            copies=self._port.copies.count,
            loadPercent=min(100, round(100 * (self._port.busy_time - busy) / span)),
        )

    def _share(self, transaction: Transaction) -> bool:
        """Let a read join an identical one; whether it did."""
        waiting = self._queue.shared_by(transaction)
        if waiting is None or (waiting is self._asking and self._port.has_left()):
            return False
        waiting.sharers.append(transaction)
        return True

    # The loop

    def _advance(self) -> None:
        """Put the next transaction on the line, if that is free and somebody waits for it."""
        if self._advances:
            return  # whoever was told of an end asks again: the loop below comes to it
        self._advances = True
        try:
            while self._asking is None and self._serves and not self._restoring:
                transaction = self._next()
                if transaction is None:
                    self._wait_for_work()
                    return
                self._asking = transaction
                self._serve(transaction)
        finally:
            self._advances = False

    def _free(self) -> None:
        """The line is free."""
        self._asking = None
        self._between.set()
        self._advance()

    def _wait_for_work(self) -> None:
        """Look again when the first of those that are left alone may be asked; `submit` looks by itself."""
        if not self._line.same_as(self._port.line):
            self._restoring = True
            self.spawn(self._restore_line())
            return
        now = self._now()
        if self._alarm is None and not self._debts.owed and not self._rests and self._free_at <= now:
            return
        ends = [self._debts.next_end(), self._free_at] + list(self._rests.values())
        ends = [end for end in ends if end is not None and end > now]
        self._advance_after((min(ends) - now) / 1000 if ends else None)

    def _advance_after(self, seconds: float | None) -> None:
        self._stop_alarm()
        if seconds is not None:
            self._alarm = call_after(seconds, self._advance)

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()  # type: ignore[attr-defined]
            self._alarm = None

    async def _restore_line(self) -> None:
        """Give the port its own settings back after a search at others."""
        try:
            await self._port.configure(self._line)
        except PartError as exc:
            log(f"bus: {exc}", ERROR)
            self._advance_after(RESTORE_PAUSE)
            return
        finally:
            self._restoring = False
        self._advance()

    async def _end_overdue(self) -> None:
        """End what was not asked in time, while anything waits."""
        while True:
            await self._waiting.wait()
            await asyncio.sleep(OVERDUE_CHECK_SEC)
            now = self._now()
            for transaction in self._queue.overdue(now + int(OVERDUE_CHECK_SEC * 1000)):
                self._drop(transaction, "TIMEOUT" if transaction.elapsed else "BUS_BUSY")
            abandoned = self._asking is not None and self._asking.done.is_set()
            if not abandoned and self._queue.is_empty():
                self._waiting.clear()
            elif self._asking is not None and now - self._asked_at > self._patience_ms(self._asking):
                self._port.hurry()

    def _next(self) -> Transaction | None:
        """The next transaction to be asked, None where there is none now."""
        now = self._now()
        for debt in self._debts.given_up(now) if self._debts.owed else ():
            self._debts.add(debt.transaction.uid, debt.pdu, debt.asked, now + self._serial["lateHorizonMs"])
            self._fail(debt.transaction, "TIMEOUT")
        self._rests = {uid: until for uid, until in self._rests.items() if until > now} if self._rests else self._rests
        if self._free_at > now or self._queue.is_empty():
            return None
        return self._queue.take(self._allowed)

    def _allowed(self, transaction: Transaction) -> bool:
        if self._barred(transaction):
            return True
        uid = transaction.uid
        if uid in self._rests:
            return False
        owed = self._debts.owed
        return not owed or not self._debts.hold(uid, transaction.pdu, self._now(), transaction.repeated)

    def _barred(self, transaction: Transaction) -> bool:
        """Whether a request is not to be sent since its unit is down; a search asks all the same."""
        return transaction.lane != SEARCH and self.health.bars(transaction.uid, transaction.key)

    # One transaction

    def _serve(self, transaction: Transaction) -> None:
        """Begin with a transaction whose turn has come."""
        line = transaction.line or self._line
        if self._barred(transaction):
            self._end(transaction, "DEVICE_DOWN")
            self._asking = None
        elif line.same_as(self._port.line):
            self._inquire(transaction)
        else:
            self.spawn(self._inquire_at(line, transaction))

    async def _inquire_at(self, line: Line, transaction: Transaction) -> None:
        try:
            await self._port.configure(line)
        except PartError:
            self._give_up(transaction)
        except Exception as exc:
            log_exception(exc)
            self._give_up(transaction)
        else:
            self._inquire(transaction)

    def _give_up(self, transaction: Transaction) -> None:
        """The port, or what belongs to it, fails."""
        self._end(transaction, "PORT_LOST")
        self._free()

    def _inquire(self, transaction: Transaction) -> None:
        """Ask; a unit that was taken as down must have answered a question first that it has answered before."""
        try:
            probe = None if transaction.lane == SEARCH else self.health.probe(transaction.uid, transaction.key)
            self._ask(transaction, transaction.pdu if probe is None else probe)
        except Exception as exc:
            log_exception(exc)
            self._give_up(transaction)

    def _ask(self, transaction: Transaction, pdu: bytes) -> None:
        """Begin an exchange for a transaction."""
        uid = transaction.uid
        self._asked = pdu
        self._counts["sent"] += 1
        self._asked_at = self._now()
        self._doubtful = self._disturbed = False
        if self._debts.owed:
            self._doubtful = self._debts.has_other(uid, pdu, self._asked_at)
            self._debts.asking(uid, pdu[0])
            self._disturbed = self._debts.others_owe(uid, self._asked_at)
        self.health.asking(uid)
        if uid == 0 and transaction.lane != SEARCH:  # a search asks whether somebody has this unit id
            self._port.tell_all(pdu, self._serial["turnaroundMs"] / 1000, self._over)
        else:
            self._port.ask(uid, pdu, self._timeout(transaction), self._over)

    def _over(self, exchange: Exchange) -> None:
        """The exchange has ended."""
        transaction = self._asking
        if transaction is None:
            return  # the bus has been stopped
        proves = self._asked is not transaction.pdu
        try:
            self._account(transaction, exchange)
            if proves and self._lives(transaction, exchange):
                self._ask(transaction, transaction.pdu)
                return
            if not proves:
                self._take(transaction, exchange)
            self._free()
        except Exception as exc:
            log_exception(exc)
            self._give_up(transaction)

    def _account(self, transaction: Transaction, exchange: Exchange) -> None:
        """Charge an exchange to whom it was for, and tell of it."""
        uid, pdu = transaction.uid, self._asked
        if is_traced(EXCHANGES):
            trace(EXCHANGES, _line_of(uid, pdu, exchange))
        if exchange.error is not None:
            trace(BUS_ERRORS, f"bus: unit {uid}, function {pdu[0]}: {exchange.error}")
        milliseconds = int(exchange.elapsed * 1000)
        self._times.add(milliseconds)
        transaction.asked = self._asked_at
        self._traced(transaction, pdu, exchange)
        self._queue.charge(transaction, milliseconds + 1)
        now = self._now()
        self._mark_load(now)
        self._rest(uid, now)

    def _lives(self, transaction: Transaction, exchange: Exchange) -> bool:
        """Whether a unit that was taken as down has answered; if not, the transaction ends."""
        key = question_key(self._asked)
        if exchange.error is None:
            self.health.answered(transaction.uid, exchange.latency, key, self._asked)
            return True
        self.health.failed(transaction.uid, exchange.error, key)
        self._end(transaction, "DEVICE_DOWN")
        return False

    def _take(self, transaction: Transaction, exchange: Exchange) -> None:
        """What has come of a transaction's question."""
        self._queue.close(transaction)
        transaction.elapsed += exchange.elapsed
        transaction.latency = exchange.latency
        transaction.heard = transaction.heard + exchange.heard
        transaction.raw = exchange.raw
        if exchange.error is None:
            self._take_answer(transaction, exchange)
        elif exchange.error == "PORT_LOST":
            self._end(transaction, "PORT_LOST")
            self._fail_all("PORT_LOST")
        elif exchange.odd and not self._doubtful:
            self._take_odd(transaction, exchange)
        elif exchange.odd:
            self._heard(transaction.uid, exchange.odd)  # an older question's answer: this one's may come yet
            self._owe(transaction, exchange)
            self._fail(transaction, exchange.error)
        elif exchange.error == "TIMEOUT" and exchange.hurried:
            self._await_later(transaction, exchange)
        elif self._disturbed and exchange.raw and self._repeats(transaction, exchange):
            pass
        else:
            if exchange.owed:
                self._owe(transaction, exchange)
            transaction.heard_uid = exchange.frames[0][0] if exchange.error == "FOREIGN" else None
            self._fail(transaction, exchange.error)

    def _patience_ms(self, transaction: Transaction) -> int:
        """How long an answer is waited for while others wait: as the settings say, or twice what the unit took; one for
        which nobody waits any more for the shortest time."""
        least = int(PATIENCE_SEC * 1000)
        if transaction.done.is_set():
            return least
        uid = transaction.uid
        return max(least, self._of_unit(uid, "responseTimeoutMs"), self.health.patience_ms(uid))

    def _timeout(self, transaction: Transaction) -> float:
        """Seconds in which the answer must begin: never less than a device needs that keeps to the rules."""
        timeout = transaction.timeout
        if timeout is None:
            timeout = self._of_unit(transaction.uid, "responseTimeoutMs") / 1000
        return max(timeout, (transaction.line or self._line).shortest_wait())

    def _of_unit(self, uid: int, name: str) -> int:
        """A setting of the line, or of the unit where that has its own."""
        row = self._units.get(uid)
        own = None if row is None else dict(row)[name]
        return int(self._serial[name] if own is None else own)  # type: ignore[literal-required, arg-type]

    def _rest(self, uid: int, now: int) -> None:
        """Leave the line and the unit alone as the settings say, and a unit that doubles until its copies have come."""
        if self._serial["restMs"]:
            self._free_at = now + self._serial["restMs"]
        row = self._units.get(uid)
        pause = max(row["restMs"] if row is not None else 0, self._port.copies.wait_us(uid) // 1000)
        if pause:
            self._rests[uid] = now + pause

    def _repeats(self, transaction: Transaction, exchange: Exchange) -> bool:
        """Ask once more what was disturbed by a frame that this device itself had provoked; reads alone. The answer to
        the first try may come all the same, to whatever is asked before the second."""
        if transaction.repeated or transaction.done.is_set() or transaction.pdu[0] not in READ_ONLY:
            return False
        transaction.repeated = True
        self._owe(transaction, exchange)
        self._put_back(transaction)
        return True

    def _put_back(self, transaction: Transaction) -> None:
        self._queue.put_back(transaction)
        self._waiting.set()

    # What came of it

    def _take_answer(self, transaction: Transaction, exchange: Exchange) -> None:
        uid, pdu = transaction.uid, exchange.pdu
        if uid == 0 and transaction.lane != SEARCH:
            self._counts["ok"] += 1
            self._end(transaction, None)
            return
        self.health.answered(uid, exchange.latency, transaction.key, transaction.pdu)
        if pdu[0] & 0x80 and self._debts.has_other(uid, transaction.pdu, self._now()):  # it fits any of its function
            if self._repeats(transaction, exchange):
                return
            if transaction.repeated:
                self._fail(transaction, "TIMEOUT")  # better no answer than the older question's
                return
        self._answer(transaction, pdu)

    def _take_odd(self, transaction: Transaction, exchange: Exchange) -> None:
        """An answer with another content than the specification says: as it came for whoever did not ask for more."""
        self.health.answered(transaction.uid, exchange.latency, transaction.key, transaction.pdu)
        for one in [transaction] + transaction.sharers:
            one.raw = exchange.raw
            if one.strict:
                one.elapsed = transaction.elapsed
                one.heard = exchange.heard + [one.uid]
                one.finish("BAD_FRAME", self._now())
                self._counts["crcErrors"] += 1
        self._answer(transaction, exchange.odd)

    def _answer(self, transaction: Transaction, pdu: bytes) -> None:
        transaction.answer = pdu
        if pdu[0] & 0x80:
            self._counts["exceptions"] += 1
            transaction.exception = pdu[1]
            self._end(transaction, "EXCEPTION")
        else:
            self._counts["ok"] += 1
            self._end(transaction, None)

    def _await_later(self, transaction: Transaction, exchange: Exchange) -> None:
        """The line was given free: the answer comes as a frame that nobody else has asked for, or its time passes."""
        asked = self._now() - int(exchange.latency * 1000)
        until = asked + int(self._timeout(transaction) * 1000)
        waiting = None if transaction.done.is_set() else transaction
        self._debts.add(transaction.uid, transaction.pdu, asked, until, waiting)

    def _owe(self, transaction: Transaction, exchange: Exchange) -> None:
        """Its answer may come yet."""
        now = self._now()
        until = now + self._serial["lateHorizonMs"]
        self._debts.add(transaction.uid, transaction.pdu, now - int(exchange.latency * 1000), until)

    def _heard(self, uid: int, pdu: bytes) -> bool:
        """A frame came that is no question's answer on the line; whether it is one that was owed."""
        self.health.heard(uid)
        debt = self._debts.pay(uid, pdu)
        if debt is None:
            return False
        now = self._now()
        self._rest(uid, now)
        late = (now - debt.asked) / 1000
        if debt.transaction is None:
            self.health.late(uid, late)
        else:
            self.health.answered(uid, late, debt.transaction.key, debt.pdu)
            debt.transaction.elapsed = late
            self._traced_late(debt.transaction, debt, pdu)
            self._answer(debt.transaction, pdu)
        self._advance_after(0)
        return True

    def _fail(self, transaction: Transaction, error: str) -> None:
        """A transaction's wait is over without an answer: try again, or end it."""
        if transaction.lane != SEARCH:
            self.health.failed(transaction.uid, error, transaction.key)
        self._counts["crcErrors" if error == "BAD_FRAME" else "timeouts"] += 1
        if transaction.retries is None:
            again = self._of_unit(transaction.uid, "retries")
            transaction.retries = again if transaction.pdu[0] in READ_ONLY else 0
        transaction.retries -= 1
        if transaction.retries >= 0 and not transaction.done.is_set():
            self._put_back(transaction)
        else:
            self._end(transaction, error)

    def _traced(self, transaction: Transaction, pdu: bytes, exchange: Exchange | None) -> None:
        """Show an exchange, or that there was none, to whoever keeps them."""
        if self.on_exchange is not None:
            self.on_exchange(transaction, pdu, exchange)

    def _traced_late(self, transaction: Transaction, debt: Debt, pdu: bytes) -> None:
        """The exchange of a question whose answer came when the line had been given free."""
        now = self._now()
        exchange = Exchange(None, pdu)
        exchange.latency = (now - debt.asked) / 1000
        exchange.began = 1000 * debt.asked
        exchange.first = exchange.ended = 1000 * now
        self._traced(transaction, debt.pdu, exchange)

    def _end(self, transaction: Transaction, error: str | None) -> None:
        """End a transaction and those that share it, once; nobody joins it from now on."""
        if error == "DEVICE_DOWN":
            transaction.error = error
            self._traced(transaction, transaction.pdu, None)
        self._queue.close(transaction)
        sharers, transaction.sharers = transaction.sharers, []
        for sharer in sharers:
            sharer.answer = transaction.answer
            sharer.exception = transaction.exception
            sharer.elapsed = transaction.elapsed
            sharer.raw = transaction.raw
            sharer.heard_uid = transaction.heard_uid
            sharer.finish(error, self._now())
        transaction.finish(error, self._now())

    def _drop(self, transaction: Transaction, error: str) -> None:
        """End a transaction that waits, without those that share it."""
        if self._queue.remove(transaction) or self._debts.release(transaction):
            self._queue.close(transaction)
            transaction.finish(error, self._now())
            if error == "BUS_BUSY":
                self._traced(transaction, transaction.pdu, None)

    def _fail_all(self, error: str) -> None:
        for transaction in self._debts.clear():
            self._end(transaction, error)
        transaction = self._queue.take(_any)
        while transaction is not None:
            self._end(transaction, error)
            transaction = self._queue.take(_any)

    def _mark_load(self, now: int) -> None:
        if now - self._load_marks[1][0] >= LOAD_WINDOW:
            self._load_marks = [self._load_marks[1], (now, self._port.busy_time)]


def _any(transaction: Transaction) -> bool:
    return True


def _line_of(uid: int, pdu: bytes, exchange: Exchange) -> str:
    """A question and what came of it, in hexadecimal."""
    answer = exchange.pdu or exchange.odd
    came = answer.hex() if answer else f"{exchange.error or 'nothing'} {(exchange.raw or b'').hex()}".strip()
    return f"bus: unit {uid}: {pdu.hex()} -> {came} in {int(exchange.elapsed * 1000)} ms"
