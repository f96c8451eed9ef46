"""The arbiter's order, on a port that the test plays."""

import asyncio

import pytest

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.queue import LANE_LIMIT
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, SEARCH, Transaction
from firmware.services.errors import Refused
from firmware.services.settings.table import SETTINGS
from hal.rs485.copies import Copies
from hal.rs485.exchange import Exchange

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
READ = bytes([3, 0, 0, 0, 1])
WRITE = bytes([6, 0, 0, 0, 1])


async def call_with(exchange, on_end):
    """Call a function with what a coroutine returns."""
    on_end(await exchange)


class ScriptedPort:
    """A port whose exchanges end when the test says so. `script(uid, pdu)` returns an Exchange."""

    def __init__(self):
        self.is_open = True
        self.line = None
        self.stray_bytes = 0
        self.busy_time = 0.0
        self.on_frame = None
        self.copies = Copies()
        self.asked = []
        self.lines = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.script = lambda uid, pdu: Exchange(None, bytes([pdu[0], 2, 0, uid]))

    async def configure(self, line):
        self.line = line

    def has_left(self):
        return True

    def ask(self, uid, pdu, timeout, on_end):
        self._task = asyncio.create_task(call_with(self.transact(uid, pdu, timeout), on_end))

    def tell_all(self, pdu, turnaround, on_end):
        self._task = asyncio.create_task(call_with(self.broadcast(pdu, turnaround), on_end))

    async def transact(self, uid, pdu, timeout):
        self.asked.append(uid)
        self.lines.append(self.line.baud_rate)
        await self.gate.wait()
        await asyncio.sleep(0)
        return self.script(uid, pdu)

    async def broadcast(self, pdu, turnaround):
        self.asked.append(0)
        await self.gate.wait()
        return Exchange(None)

    async def stop(self):
        self.is_open = False


class Rig:
    def __init__(self, **serial):
        self.now = 100.0
        self.port = ScriptedPort()
        self.bus = Bus(self.port, dict(SERIAL, **serial), lambda: int(self.now * 1000))

    async def __aenter__(self):
        await self.bus.start()
        return self

    async def __aexit__(self, *exc):
        self.port.gate.set()
        await self.bus.stop()

    def submit(self, uid, lane=INTERACTIVE, source="a", pdu=READ, **more):
        transaction = Transaction(uid, pdu, lane, source, **more)
        self.bus.submit(transaction)
        return transaction

    async def hold(self):
        """Begin an exchange with unit 99 that lasts until `release`."""
        self.port.gate.clear()
        self.submit(99, source="blocker")
        while not self.port.asked:
            await asyncio.sleep(0)
        self.port.asked.clear()

    async def release(self, *transactions):
        self.port.gate.set()
        for transaction in transactions:
            await asyncio.wait_for(transaction.done.wait(), 5)
        return self.port.asked


async def test_lanes_have_priorities():
    async with Rig() as rig:
        await rig.hold()
        search = rig.submit(3, SEARCH)
        gateway = rig.submit(2, GATEWAY)
        interactive = rig.submit(1, INTERACTIVE)
        assert await rig.release(search, gateway, interactive) == [1, 2, 3]


async def test_sources_inside_a_lane_take_turns():
    async with Rig() as rig:
        await rig.hold()
        waiting = [rig.submit(uid, GATEWAY, "greedy") for uid in range(1, 6)]
        waiting += [rig.submit(11, GATEWAY, "modest"), rig.submit(21, GATEWAY, "third")]
        waiting += [rig.submit(12, GATEWAY, "modest")]
        assert await rig.release(*waiting) == [1, 11, 21, 2, 12, 3, 4, 5]


async def test_the_search_gets_a_turn_while_the_gateway_is_busy():
    async with Rig() as rig:
        await rig.hold()
        waiting = [rig.submit(uid, GATEWAY) for uid in range(1, 9)] + [rig.submit(50 + uid, SEARCH) for uid in range(2)]
        asked = await rig.release(*waiting)
        assert asked.index(50) <= 3
        assert asked.index(51) <= 7


async def test_an_interactive_request_waits_for_one_exchange_at_the_most():
    async with Rig() as rig:
        await rig.hold()
        waiting = [rig.submit(uid, GATEWAY, uid) for uid in range(1, 20)] + [rig.submit(40, SEARCH)]
        mine = rig.submit(30, INTERACTIVE)
        asked = await rig.release(mine, *waiting)
        assert asked[0] == 30


async def test_lanes_are_bounded_and_say_so():
    async with Rig() as rig:
        await rig.hold()
        for number in range(LANE_LIMIT):
            rig.submit(1 + number % 200, GATEWAY, number, pdu=bytes([3, number, 0, 0, 1]))
        with pytest.raises(Refused) as caught:
            rig.submit(1, GATEWAY, pdu=WRITE)
        assert (caught.value.code, caught.value.retry_after) == ("BUS_BUSY", 1)
        assert rig.bus.state()["queued"] == LANE_LIMIT
        assert not rig.submit(5, INTERACTIVE).done.is_set()


async def test_a_unit_that_owes_an_answer_is_held_and_others_are_served():
    async with Rig() as rig:
        rig.port.script = lambda uid, pdu: (
            Exchange("TIMEOUT", owed=True) if uid == 1 else Exchange(None, bytes([3, 2, 0, uid]))
        )
        first = rig.submit(1)
        await first.done.wait()
        assert first.error == "TIMEOUT"
        again, other = rig.submit(1), rig.submit(2)
        await other.done.wait()
        assert not again.done.is_set()
        assert rig.port.asked == [1, 2]
        rig.now += 1.0
        rig.bus._advance()
        await asyncio.wait_for(again.done.wait(), 5)
        assert rig.port.asked == [1, 2, 1]


@pytest.mark.parametrize("while_idle", [True, False])
async def test_the_late_answer_ends_the_hold(while_idle):
    async with Rig() as rig:
        rig.port.script = lambda uid, pdu: Exchange("TIMEOUT", owed=True)
        await rig.submit(1).done.wait()
        late = bytes([3, 2, 0, 1])

        def script(uid, pdu):
            if not while_idle:
                rig.port.on_frame(1, late)
            return Exchange(None, bytes([3, 2, 0, uid]), frames=[] if while_idle else [(1, late)])

        rig.port.script = script
        again = rig.submit(1)
        if while_idle:
            rig.port.on_frame(1, late)
        else:
            await rig.submit(2).done.wait()
        await asyncio.wait_for(again.done.wait(), 5)
        assert again.error is None


async def test_reads_are_repeated_as_the_setting_says_and_writes_are_not():
    async with Rig(retries=2, lateHorizonMs=0) as rig:
        rig.port.script = lambda uid, pdu: Exchange("BAD_FRAME")
        read, write = rig.submit(1), rig.submit(2, pdu=WRITE)
        await rig.release(read, write)
        assert sorted(rig.port.asked) == [1, 1, 1, 2]
        assert (read.error, write.error) == ("BAD_FRAME", "BAD_FRAME")


async def test_a_write_is_repeated_where_it_is_asked_for():
    async with Rig(lateHorizonMs=0) as rig:
        answers = [Exchange("TIMEOUT"), Exchange(None, WRITE)]
        rig.port.script = lambda uid, pdu: answers.pop(0)
        write = rig.submit(2, pdu=WRITE, retries=1)
        await rig.release(write)
        assert (write.error, write.answer) == (None, WRITE)


async def test_an_exception_is_not_repeated():
    async with Rig(retries=3) as rig:
        rig.port.script = lambda uid, pdu: Exchange(None, bytes([0x83, 2]))
        read = rig.submit(1)
        await rig.release(read)
        assert (read.error, read.exception, rig.port.asked) == ("EXCEPTION", 2, [1])


async def test_a_waiting_request_can_be_cancelled_and_one_on_the_line_ends_by_itself():
    async with Rig() as rig:
        await rig.hold()
        waiting = rig.submit(1)
        rig.bus.cancel(waiting)
        assert waiting.error == "CANCELLED"
        running = rig.submit(2)
        assert 1 not in await rig.release(running)
        rig.bus.cancel(running)
        assert running.error is None


async def test_a_cancelled_caller_leaves_nothing_behind():
    async with Rig() as rig:
        await rig.hold()
        caller = asyncio.create_task(rig.bus.exchange(1, READ, SEARCH, "a"))
        await asyncio.sleep(0)
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert rig.bus.state()["queued"] == 0


async def test_a_lost_port_fails_all_that_wait():
    async with Rig() as rig:
        await rig.hold()
        waiting = [rig.submit(uid, lane) for uid, lane in ((1, INTERACTIVE), (2, GATEWAY), (3, SEARCH))]
        rig.port.script = lambda uid, pdu: Exchange("PORT_LOST")
        rig.port.is_open = False
        await rig.release(*waiting)
        assert [transaction.error for transaction in waiting] == ["PORT_LOST"] * 3
        with pytest.raises(Refused) as caught:
            rig.submit(1)
        assert caught.value.code == "NO_PORT"


async def test_identical_reads_share_an_exchange():
    async with Rig() as rig:
        await rig.hold()
        reads = [rig.submit(1, GATEWAY, source) for source in range(8)]
        assert await rig.release(*reads) == [1]
        assert {read.answer for read in reads} == {bytes([3, 2, 0, 1])}


async def test_a_write_in_between_keeps_reads_apart():
    async with Rig() as rig:
        await rig.hold()
        before = rig.submit(1, GATEWAY, "a")
        write = rig.submit(1, GATEWAY, "a", WRITE)
        after = rig.submit(1, GATEWAY, "a")
        assert await rig.release(before, write, after) == [1, 1, 1]
    async with Rig() as rig:
        await rig.hold()
        before = rig.submit(1, GATEWAY, "a")
        broadcast = rig.submit(0, GATEWAY, "a", WRITE)
        after = rig.submit(1, GATEWAY, "a")
        assert await rig.release(before, broadcast, after) == [1, 0, 1]


async def test_nobody_joins_an_exchange_that_has_begun():
    async with Rig() as rig:
        rig.port.gate.clear()
        first = rig.submit(1)
        while not rig.port.asked:
            await asyncio.sleep(0)
        second = rig.submit(1)
        assert await rig.release(first, second) == [1, 1]


async def test_a_read_never_joins_one_of_a_lower_lane():
    async with Rig() as rig:
        await rig.hold()
        waiting = [rig.submit(5, GATEWAY), rig.submit(1, SEARCH)]
        mine = rig.submit(1, INTERACTIVE)
        asked = await rig.release(mine, *waiting)
        assert asked[0] == 1


async def test_a_shared_read_survives_the_one_that_asked_first():
    async with Rig() as rig:
        await rig.hold()
        first, second, third = (rig.submit(1, GATEWAY, source) for source in "abc")
        rig.bus.cancel(first)
        rig.bus.cancel(third)
        assert await rig.release(second) == [1]
        assert (first.error, second.error, third.error) == ("CANCELLED", None, "CANCELLED")


async def test_other_line_settings_are_used_for_one_exchange_alone():
    from hal.rs485.framing import Line

    async with Rig() as rig:
        await rig.hold()
        odd = rig.submit(1, SEARCH, line=Line(19200, 0))
        normal = rig.submit(2, GATEWAY)
        last = rig.submit(3, SEARCH, line=Line(19200, 0))
        rig.port.lines.clear()
        await rig.release(odd, normal, last)
        assert dict(zip(rig.port.asked, rig.port.lines, strict=True)) == {1: 19200, 2: 9600, 3: 19200}
        await asyncio.sleep(0.01)
        assert rig.port.line.baud_rate == 9600


async def test_a_port_that_refuses_its_settings_does_not_end_the_bus(monkeypatch, capsys):
    from firmware.services.bus import arbiter as bus
    from hal.rs485.framing import Line
    from hal.rs485.port import PortFailed

    monkeypatch.setattr(bus, "RESTORE_PAUSE", 0.01)
    async with Rig() as rig:
        rig.submit(1, SEARCH, line=Line(19200, 0))
        configure, refused = rig.port.configure, []

        async def refuse(line):
            if line.baud_rate == 9600 and len(refused) < 3:
                refused.append(line)
                raise PortFailed("busy")
            await configure(line)

        rig.port.configure = refuse
        while len(refused) < 3:
            await asyncio.sleep(0.001)
        after = rig.submit(2)
        await asyncio.wait_for(after.done.wait(), 5)
        assert after.error is None
        assert "busy" in capsys.readouterr().err


async def test_a_down_unit_fails_at_once_even_while_it_owes_an_answer():
    async with Rig() as rig:
        rig.port.script = lambda uid, pdu: Exchange("TIMEOUT", owed=True)
        for _ in range(4):
            await rig.submit(1).done.wait()
            rig.now += 1.0
        rig.now -= 0.9
        down = rig.submit(1)
        await asyncio.wait_for(down.done.wait(), 5)
        assert down.error == "DEVICE_DOWN"
        assert rig.port.asked == [1] * 4
        rig.port.script = lambda uid, pdu: Exchange(None, bytes([3, 2, 0, 1]))
        rig.now += 2.0
        back = rig.submit(1)
        await asyncio.wait_for(back.done.wait(), 5)
        assert back.error is None


async def test_state_counts():
    async with Rig() as rig:
        script = [Exchange(None, bytes([3, 2, 0, 1])), Exchange(None, bytes([0x83, 2])), Exchange("TIMEOUT")]
        script.append(Exchange("BAD_FRAME"))
        rig.port.script = lambda uid, pdu: script.pop(0)
        for uid in (1, 2, 3, 4):
            await rig.submit(uid).done.wait()
        state = rig.bus.state()
        counts = {name: state[name] for name in ("sent", "ok", "exceptions", "timeouts", "crcErrors", "queued")}
        assert counts == {"sent": 4, "ok": 1, "exceptions": 1, "timeouts": 1, "crcErrors": 1, "queued": 0}


async def test_every_exchange_is_shown_to_who_keeps_them_and_so_is_what_was_not_asked():
    async with Rig() as rig:
        shown = []
        rig.bus.on_exchange = lambda transaction, pdu, exchange: shown.append(
            (transaction.uid, transaction.error, exchange and exchange.error)
        )
        await rig.release(rig.submit(1))
        rig.port.script = lambda uid, pdu: Exchange("TIMEOUT")
        await rig.release(rig.submit(2, pdu=WRITE))
        await rig.hold()
        late = rig.submit(3, wait=0.2)
        rig.now += 1
        await asyncio.wait_for(late.done.wait(), 5)
        rig.port.gate.set()
        assert shown[:3] == [(1, None, None), (2, None, "TIMEOUT"), (3, "BUS_BUSY", None)]


async def test_the_answer_that_came_after_the_line_was_given_free_is_shown_as_an_exchange():
    async with Rig() as rig:
        shown = []
        rig.bus.on_exchange = lambda transaction, pdu, exchange: shown.append((exchange.error, exchange.pdu))
        hurried = Exchange("TIMEOUT")
        hurried.hurried = True
        rig.port.script = lambda uid, pdu: hurried
        waiting = rig.submit(1)
        while not shown:
            await asyncio.sleep(0)
        answer = bytes([3, 2, 0, 1])
        while not rig.port.on_frame(1, answer):
            await asyncio.sleep(0)
        assert (waiting.error, shown) == (None, [("TIMEOUT", b""), (None, answer)])


async def test_the_load_is_that_of_the_last_five_to_ten_seconds():
    async with Rig() as rig:
        loads = []
        for second in range(12):
            rig.now += 1
            rig.port.busy_time += second < 5
            loads.append(rig.bus.state()["loadPercent"])
        assert loads == [100, 100, 100, 100, 100, 83, 71, 62, 56, 0, 0, 0]
        rig.port.busy_time += 60  # what has begun earlier is counted at its end
        assert rig.bus.state()["loadPercent"] == 100
