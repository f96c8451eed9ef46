"""Random sequences of submit, cancel, share, unplug, silence and stop: every transaction ends, within its own bound."""

import asyncio
import random

import pytest

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, SEARCH, Transaction
from firmware.services.errors import Refused
from firmware.services.settings.table import SETTINGS
from hal.rs485.copies import Copies
from hal.rs485.exchange import Exchange
from tests.firmware.bus.test_arbiter import call_with
from tests.virtual_time import milliseconds, run

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
ANSWER_SEC = 0.01
QUEUE_SEC = 60.0  # more than all that can wait takes


class Line:
    """A port in virtual time. Units listed in `silent` do not answer; `broken` makes exchanges raise."""

    def __init__(self):
        self.is_open = True
        self.line = None
        self.stray_bytes = 0
        self.busy_time = 0.0
        self.on_frame = None
        self.copies = Copies()
        self.silent = set()
        self.broken = False
        self.asked = []
        self._lost = asyncio.Event()

    async def configure(self, line):
        self.line = line

    def unplug(self):
        self.is_open = False
        self._lost.set()

    def plug(self):
        self.is_open = True
        self._lost.clear()

    def has_left(self):
        return True

    def ask(self, uid, pdu, timeout, on_end):
        self.asked.append((uid, pdu))
        if self.broken:
            raise RuntimeError("the driver has a fault")
        self._task = asyncio.create_task(call_with(self.transact(uid, timeout, pdu), on_end))

    def tell_all(self, pdu, turnaround, on_end):
        self.ask(0, pdu, turnaround, on_end)

    async def transact(self, uid, timeout, pdu):
        if not self.is_open:
            return Exchange("PORT_LOST")
        silent = uid in self.silent
        try:
            async with asyncio.timeout(timeout if silent else ANSWER_SEC):
                await self._lost.wait()
                return Exchange("PORT_LOST")
        except TimeoutError:
            return Exchange("TIMEOUT", owed=True) if silent else Exchange(None, pdu + bytes([uid]))

    async def stop(self):
        self.unplug()


class Model:
    """Drives a bus at random and keeps what each transaction may end with."""

    def __init__(self, seed, clock):
        self.source = random.Random(seed)
        self.clock = clock
        self.port = Line()
        self.bus = Bus(self.port, dict(SERIAL, healthCheck=bool(seed % 2)), milliseconds(clock))
        self.given = []  # [transaction, set of errors that it may end with]

    def submit(self):
        pick = self.source.choice
        function = pick((3, 3, 3, 4, 6))
        uid = pick((0, 1, 2, 3)) if function == 6 else pick((1, 2, 3))
        transaction = Transaction(
            uid,
            bytes([function, 0, pick((0, 1)), 0, 1]),
            pick((INTERACTIVE, GATEWAY, SEARCH)),
            pick("abcdef"),
            pick((None, None, 0.5)),
            pick((None, None, 0, 2)),
        )
        try:
            self.bus.submit(transaction)
        except Refused:
            return
        self.given.append([transaction, {None, "TIMEOUT", "DEVICE_DOWN"}])
        if self.port.broken:
            self.given[-1][1].add("PORT_LOST")  # it may have met the fault already

    def allow(self, *errors):
        for transaction, allowed in self.given:
            if not transaction.done.is_set():
                allowed.update(errors)

    def cancel(self):
        waiting = [entry for entry in self.given if not entry[0].done.is_set()]
        if waiting:
            transaction, allowed = self.source.choice(waiting)
            allowed.add("CANCELLED")
            self.bus.cancel(transaction)

    async def step(self):
        action = self.source.random()
        if action < 0.6:
            self.submit()
        elif action < 0.7:
            self.cancel()
        elif action < 0.76:
            self.allow("PORT_LOST")
            self.port.unplug()
        elif action < 0.9:
            self.port.plug()
        elif action < 0.95:
            self.port.silent ^= {self.source.choice((1, 2, 3))}
        elif action < 0.97:
            self.port.broken = not self.port.broken
        if self.port.broken or not self.port.is_open:
            self.allow("PORT_LOST")
        if action > 0.5:
            await asyncio.sleep(self.source.choice((0, 0, 0.004, 0.02, 0.3)))
        if self.port.broken:
            self.allow("PORT_LOST")

    def check(self):
        for transaction, allowed in self.given:
            assert transaction.done.is_set(), (transaction.uid, transaction.pdu, transaction.lane)
            assert transaction.error in allowed
            if transaction.error is None and transaction.uid:
                assert transaction.answer == transaction.pdu + bytes([transaction.uid])


@pytest.fixture
def quiet(monkeypatch):
    monkeypatch.setattr("firmware.services.bus.arbiter.log_exception", lambda exc: None)


def test_whatever_happens_every_transaction_ends_with_its_own_answer_or_a_cause(quiet):
    async def main(clock):
        for seed in range(60):
            model = Model(seed, clock)
            await model.bus.start()
            for _ in range(150):
                await model.step()
            model.port.broken = False
            if seed % 3 == 0:
                model.allow("CANCELLED")
                await model.bus.stop()
            await asyncio.sleep(QUEUE_SEC)
            model.check()
            assert model.bus.state()["queued"] == 0
            await model.bus.stop()

    run(main)


def test_a_read_is_asked_again_after_the_port_was_lost_while_it_waited():
    async def main(clock):
        port = Line()
        bus = Bus(port, SERIAL, milliseconds(clock))
        await bus.start()
        bus.submit(Transaction(2, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "slow"))
        await asyncio.sleep(0.001)
        read = Transaction(1, bytes([3, 0, 0, 0, 1]), GATEWAY, "client")
        bus.submit(read)
        port.unplug()
        await read.done.wait()
        assert read.error == "PORT_LOST"
        port.plug()
        for _ in range(3):
            again = Transaction(1, bytes([3, 0, 0, 0, 1]), GATEWAY, "client")
            bus.submit(again)
            await asyncio.sleep(1)
            assert (again.error, again.answer) == (None, bytes([3, 0, 0, 0, 1, 1]))
        await bus.stop()

    run(main)


def test_what_is_on_the_line_when_the_bus_stops_ends_too():
    async def main(clock):
        port = Line()
        port.silent = {1}
        bus = Bus(port, SERIAL, milliseconds(clock))
        await bus.start()
        asked = Transaction(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "a", 60.0)
        bus.submit(asked)
        await asyncio.sleep(0.1)
        await bus.stop()
        assert asked.error == "CANCELLED"
        with pytest.raises(Refused):
            bus.submit(Transaction(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "a"))

    run(main)


def test_a_fault_in_the_driver_ends_the_request_that_met_it(quiet):
    async def main(clock):
        port = Line()
        bus = Bus(port, SERIAL, milliseconds(clock))
        await bus.start()
        port.broken = True
        asked = Transaction(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "a")
        bus.submit(asked)
        await asyncio.wait_for(asked.done.wait(), 1)
        assert asked.error == "PORT_LOST"
        port.broken = False
        after = Transaction(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "a")
        bus.submit(after)
        await asyncio.wait_for(after.done.wait(), 1)
        assert after.error is None
        await bus.stop()

    run(main)


def test_a_fault_before_a_question_is_sent_ends_its_request_too(quiet, monkeypatch):
    async def main(clock):
        bus = Bus(Line(), SERIAL, milliseconds(clock))
        await bus.start()
        for broken in (True, False):
            with monkeypatch.context() as patch:
                if broken:
                    patch.setattr(Line, "ask", lambda *arguments: 1 // 0)
                asked = Transaction(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "a")
                bus.submit(asked)
                await asyncio.wait_for(asked.done.wait(), 1)
                assert asked.error == ("PORT_LOST" if broken else None)
        await bus.stop()

    run(main)
