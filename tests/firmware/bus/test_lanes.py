"""Who gets the line when many want it, in virtual time."""

import asyncio

import pytest

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.lanes import SHARES_LIMIT, Lane, Shares
from firmware.services.bus.queue import Queue
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, SEARCH, Transaction
from firmware.services.errors import Refused
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import SETTINGS
from hal.rs485.framing import Line
from tests.hal.rs485.virtual_wire import VirtualPort, frame
from tests.virtual_time import milliseconds, run

DEFAULTS = {field.name: field.default for field in SETTINGS}
ABSENT = 99


def answer(port, data):
    if data[0] != ABSENT:
        port.deliver(0.01, frame(data[0], bytes([3, 2, 0, data[3]])))


def read(address):
    return bytes([3, address >> 8, address & 0xFF, 0, 1])


class Rig:
    def __init__(self, clock):
        self.clock = clock
        self.port = VirtualPort(clock)
        self.port.far = lambda data: answer(self.port, data)
        self.bus = Bus(self.port, dict(DEFAULTS["serial"], healthCheck=False, lateHorizonMs=0), milliseconds(clock))
        self.answered = {}  # who -> answers
        self.tasks = []

    async def ask(self, uid, pdu, lane, source, **more):
        transaction = Transaction(uid, pdu, lane, source, **more)
        self.bus.submit(transaction)
        await transaction.done.wait()
        return transaction

    def busy(self, who, lane, uid=None, depth=4, **more):
        """Somebody who always has `depth` requests waiting, to a unit of his own."""
        uid = uid or 1 + len(self.tasks)

        async def loop(number):
            register = 0
            while True:
                register = (register + 1) % 200
                asked = await self.ask(uid, read(register + 200 * number), lane, who, **more)
                self.answered[who] = self.answered.get(who, 0) + (asked.error is None)

        self.tasks += [asyncio.create_task(loop(number)) for number in range(depth)]


def on_a_bus(main):
    async def whole(clock):
        rig = Rig(clock)
        await rig.bus.start()
        await main(rig)
        for task in rig.tasks:
            task.cancel()
        await rig.bus.stop()

    run(whole)


def test_every_lane_has_its_share_while_all_have_work():
    async def main(rig):
        for name in ("first", "second", "third"):
            rig.busy(name, INTERACTIVE)
        rig.busy("gateway", GATEWAY)
        rig.busy("search", SEARCH, depth=1)
        await asyncio.sleep(60)
        total = sum(rig.answered.values())
        interactive = sum(rig.answered[name] for name in ("first", "second", "third"))
        assert 0.44 < interactive / total < 0.56
        assert 0.31 < rig.answered["gateway"] / total < 0.43
        assert 0.09 < rig.answered["search"] / total < 0.16

    on_a_bus(main)


def test_one_source_never_has_more_than_its_part_of_a_lane_however_many_requests_it_queues():
    async def main(rig):
        rig.busy("greedy", INTERACTIVE, depth=30)
        for name in ("second", "third"):
            rig.busy(name, INTERACTIVE, depth=1)
        await asyncio.sleep(60)
        counts = [rig.answered[name] for name in ("greedy", "second", "third")]
        assert max(counts) < 1.1 * min(counts)

    on_a_bus(main)


def test_time_counts_and_not_the_number_of_exchanges():
    async def main(rig):
        rig.busy("slow", GATEWAY, uid=ABSENT, depth=1)
        rig.busy("quick", GATEWAY, depth=4)
        await asyncio.sleep(60)
        slow = sum(data[0] == ABSENT for _, data in rig.port.questions) * 0.2
        assert 0.4 < slow / 60 < 0.6

    on_a_bus(main)


def test_a_lane_or_a_source_alone_has_the_whole_line():
    async def main(rig):
        rig.busy("search", SEARCH, depth=1)
        await asyncio.sleep(10)
        alone = rig.answered["search"]
        rig.busy("gateway", GATEWAY)
        await asyncio.sleep(10)
        assert rig.answered["search"] - alone > alone * 0.2
        assert rig.answered["gateway"] > alone * 0.6

    on_a_bus(main)


def test_a_long_wait_for_one_unit_gives_the_line_free_when_others_wait():
    async def main(rig):
        forever = asyncio.create_task(rig.ask(ABSENT, read(1), INTERACTIVE, "http", timeout=60.0))
        await asyncio.sleep(0.1)
        started = rig.clock()
        asked = await rig.ask(1, read(5), GATEWAY, "client")
        assert asked.error is None
        assert rig.clock() - started < 1.5
        rig.busy("gateway", GATEWAY)
        await asyncio.sleep(30)
        assert rig.answered["gateway"] > 500
        assert not forever.done()
        rig.port.deliver(0.0, frame(ABSENT, bytes([3, 2, 0, 77])))
        late = await asyncio.wait_for(forever, 1)
        assert (late.error, late.answer) == (None, bytes([3, 2, 0, 77]))

    on_a_bus(main)


def test_a_long_wait_ends_with_its_own_timeout():
    async def main(rig):
        started = rig.clock()
        forever = asyncio.create_task(rig.ask(ABSENT, read(1), INTERACTIVE, "http", timeout=20.0))
        rig.busy("gateway", GATEWAY)
        assert (await forever).error == "TIMEOUT"
        assert 20 <= rig.clock() - started < 21

    on_a_bus(main)


def test_a_waiting_request_of_the_gateway_gets_its_exception_before_its_client_gives_up():
    async def main(rig):
        rig.bus._units = {ABSENT: {"restMs": 0, "responseTimeoutMs": 60000, "retries": 0}}
        router = ModbusRouter(rig.bus, None, Forwarding([]), DEFAULTS["modbusTcp"], clock=milliseconds(rig.clock))
        hog = asyncio.create_task(rig.ask(ABSENT, read(1), INTERACTIVE, "http"))
        await asyncio.sleep(0.1)
        started = rig.clock()
        answers = []
        for register in range(5):
            router.ask(1, read(register), "client", lambda pdu: answers.append((pdu, rig.clock() - started)))
        await asyncio.sleep(4)
        assert [pdu for pdu, _ in answers] == [bytes([0x83, 6])] * 5
        assert 2.5 < answers[0][1] <= answers[-1][1] < 3.0
        assert not hog.done()
        hog.cancel()

    on_a_bus(main)


def test_cancelling_one_request_of_a_source_leaves_its_others():
    async def main(rig):
        first = asyncio.create_task(rig.ask(ABSENT, read(1), GATEWAY, "a"))
        await asyncio.sleep(0.01)
        waiting = [Transaction(1, read(register), GATEWAY, "a") for register in range(5)]
        for transaction in waiting:
            rig.bus.submit(transaction)
        rig.bus.cancel(waiting[2])
        await first
        await asyncio.sleep(1)
        assert [one.error for one in waiting] == [None, None, "CANCELLED", None, None]

    on_a_bus(main)


def test_reads_with_other_retries_or_another_timeout_do_not_share_an_exchange():
    async def main(rig):
        first = asyncio.create_task(rig.ask(ABSENT, read(1), GATEWAY, "blocker"))
        await asyncio.sleep(0.01)
        rig.port.questions.clear()
        different = [{}, {}, {"retries": 2}, {"timeout": 0.5}]
        reads = [rig.ask(1, read(7), GATEWAY, number, **more) for number, more in enumerate(different)]
        assert [one.error for one in await asyncio.gather(*reads)] == [None] * 4
        assert len(rig.port.questions) == 3
        await first

    on_a_bus(main)


def test_nobody_joins_a_read_that_waits_to_be_asked_again():
    async def main(rig):
        rig.bus = Bus(rig.port, dict(DEFAULTS["serial"], lateHorizonMs=0), milliseconds(rig.clock))
        await rig.bus.start()
        first = asyncio.create_task(rig.ask(ABSENT, read(1), GATEWAY, "a", retries=1))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(rig.ask(98, read(n), INTERACTIVE, "b", timeout=0.5)) for n in range(2)]
        rig.port.far = None
        await asyncio.sleep(0.3)  # it has timed out once, and others have the line
        second = asyncio.create_task(rig.ask(ABSENT, read(1), GATEWAY, "c", retries=0))
        assert {one.error for one in await asyncio.gather(first, second, *others)} == {"TIMEOUT"}
        assert [data[0] for _, data in rig.port.questions].count(ABSENT) == 3

    on_a_bus(main)


def test_a_search_asks_units_that_are_down():
    async def main(rig):
        bus = Bus(rig.port, dict(DEFAULTS["serial"], lateHorizonMs=0), milliseconds(rig.clock))
        await rig.bus.stop()
        await bus.start()
        for _ in range(4):
            await bus.exchange(ABSENT, read(1), GATEWAY, "a")
            await asyncio.sleep(1)
        rig.port.questions.clear()
        assert (await bus.exchange(ABSENT, read(1), GATEWAY, "a")).error == "TIMEOUT"  # a probe was due
        assert (await bus.exchange(ABSENT, read(1), GATEWAY, "a")).error == "DEVICE_DOWN"
        assert (await bus.exchange(ABSENT, read(1), SEARCH, "s", timeout=0.05)).error == "TIMEOUT"
        assert len(rig.port.questions) == 2
        await bus.stop()

    on_a_bus(main)


def test_a_lost_port_says_nothing_of_a_device():
    async def main(rig):
        asking = asyncio.create_task(rig.ask(ABSENT, read(1), GATEWAY, "a"))
        await asyncio.sleep(0.1)
        rig.port._lost("unplugged")
        assert (await asking).error == "PORT_LOST"
        unit = rig.bus.health.state(lambda age: "")[str(ABSENT)]
        assert (unit["ok"], unit["timeouts"], unit["badFrames"]) == (0, 0, 0)

    on_a_bus(main)


def test_what_is_put_back_is_before_the_others_of_its_source_and_they_keep_their_order():
    lane = Lane(1)
    first, second, third, again = (Transaction(1, read(number), GATEWAY, "one") for number in range(4))
    for transaction in (first, second, third):
        lane.put(transaction)
    lane.put(again, first=True)
    assert [lane.take(lambda transaction: True) for _ in range(5)] == [again, first, second, third, None]


# A lane and the shares in it, by themselves


def anybody(transaction):
    return True


def waiting(source, number=0, latest=0):
    transaction = Transaction(1, read(number), GATEWAY, source)
    transaction.latest = latest
    return transaction


def test_in_a_lane_those_who_have_used_least_are_next_and_equals_take_turns():
    lane = Lane(1)
    for number in range(3):
        for source in "abc":
            lane.put(waiting(source, number))
    lane.charge("a", 30)
    lane.charge("b", 10)
    order = []
    while lane.length:
        one = lane.take(anybody)
        order.append(one.source)
        lane.charge(one.source, 20)
    assert order == ["c", "b", "c", "a", "b", "c", "a", "b", "a"]
    assert lane.take(anybody) is None


def test_who_comes_later_has_used_no_less_than_those_who_waited():
    shares = Shares(100)
    assert shares.of("new") == 0
    shares.advance(50)
    assert (shares.of("new"), shares.of("other")) == (50, 50)
    shares.advance(40)
    assert shares.of("new") == 50
    shares.charge("new", 7)
    assert (shares.of("new"), shares.of("other")) == (57, 50)


def test_nobody_pays_for_a_long_exchange_for_ever():
    shares = Shares(100)
    shares.charge("long", 5000)
    assert shares.of("long") == 100
    shares.advance(30)
    shares.charge("long", 5000)
    assert shares.of("long") == 130
    lane = Lane(1)
    lane.put(waiting("long"))
    lane.charge("long", 60000)
    lane.charge("other", 1999)
    lane.put(waiting("other"))
    assert lane.take(anybody).source == "other"
    lane.charge("other", 2)
    lane.put(waiting("other"))
    assert lane.take(anybody).source == "long"  # 2 s ahead at the most


def test_the_use_of_few_is_remembered_and_those_ahead_are_the_last_to_be_forgotten():
    shares = Shares(2000)
    shares.charge("ahead", 20)
    shares.advance(10)
    for number in range(SHARES_LIMIT - 1):
        shares.charge(number, 0)
    shares.charge("one more", 5)
    assert (shares.of("ahead"), shares.of("one more"), len(shares._used)) == (20, 15, 2)
    for number in range(SHARES_LIMIT - 2):
        shares.charge(number, 5)
    assert (shares.of("ahead"), shares.of(0), len(shares._used)) == (20, 15, SHARES_LIMIT)
    shares.charge("too many", 5)
    assert (shares.of("too many"), shares.of("ahead"), len(shares._used)) == (15, 10, 1)


def test_whoever_may_not_be_asked_is_passed_over_and_keeps_his_place():
    lane = Lane(1)
    first, second, other = waiting("a", 1), waiting("a", 2), waiting("b", 3)
    for transaction in (first, second, other):
        lane.put(transaction)
    assert lane.take(lambda transaction: transaction is not first) is second
    assert lane.take(lambda transaction: False) is None
    assert lane.length == 2
    assert lane.take(anybody) is other  # whose turn had not come
    assert lane.take(anybody) is first


def test_a_lane_gives_out_what_waits_and_nothing_else():
    lane = Lane(1)
    first, second, stranger = waiting("a", 1), waiting("a", 2), waiting("a", 3)
    lane.put(first)
    lane.put(second)
    assert lane.length == 2
    assert not lane.remove(stranger)
    assert lane.remove(first)
    assert not lane.remove(first)
    assert lane.length == 1
    assert lane.remove(second)
    assert (lane.length, lane.take(anybody)) == (0, None)


def test_who_shares_takes_the_place_of_who_asked_and_may_leave_by_himself():
    lane = Lane(1)
    asked, second, third, behind = waiting("a"), waiting("b"), waiting("c"), waiting("a", 9)
    asked.sharers = [second, third]
    lane.put(asked)
    lane.put(behind)
    assert lane.remove(asked)
    assert lane.length == 2
    assert second.sharers == [third]
    assert lane.remove(third)
    assert second.sharers == []
    assert lane.length == 2
    assert [lane.take(anybody), lane.take(anybody)] == [second, behind]


def test_who_has_waited_too_long_is_told_and_so_is_who_shares_with_him():
    lane = Lane(1)
    early, late, sharer = waiting("a", 1, latest=100), waiting("b", 2, latest=200), waiting("c", 2, latest=100)
    late.sharers = [sharer]
    lane.put(early)
    lane.put(late)
    assert lane.overdue(99) == []
    assert lane.overdue(100) == [early, sharer]
    assert lane.overdue(200) == [early, late, sharer]


def first_of(queue):
    """The lane whose turn it is; what waits there goes on waiting."""
    one = queue.take(anybody)
    queue.put_back(one)
    return one.lane


def queue_of_all_lanes():
    queue = Queue()
    for lane in (INTERACTIVE, GATEWAY, SEARCH):
        queue.put(Transaction(1 + lane, read(1), lane, "one"))
    return queue


@pytest.mark.parametrize(("used", "first"), [(400, INTERACTIVE), (401, GATEWAY)])
def test_somebody_at_a_keyboard_is_first_for_four_tenths_of_a_second_beyond_his_part(used, first):
    queue = queue_of_all_lanes()
    queue.charge(Transaction(1, read(1), INTERACTIVE, "one"), used)
    assert first_of(queue) == first


@pytest.mark.parametrize(("caught_up", "first"), [(2699, GATEWAY), (2700, INTERACTIVE)])
def test_a_lane_that_had_the_line_for_long_waits_for_no_more_than_four_seconds_of_its_own(caught_up, first):
    queue = queue_of_all_lanes()
    queue.remove(queue.take(lambda transaction: transaction.lane == SEARCH))
    queue.charge(Transaction(1, read(1), INTERACTIVE, "one"), 60000)
    queue.charge(Transaction(2, read(1), GATEWAY, "one"), caught_up)
    assert first_of(queue) == first


def test_a_lane_alone_saves_nothing_up_and_owes_nothing():
    queue = Queue()
    queue.put(Transaction(1, read(1), GATEWAY, "one"))
    queue.charge(Transaction(1, read(1), GATEWAY, "one"), 900)
    assert first_of(queue) == GATEWAY
    queue.put(Transaction(2, read(1), SEARCH, "one"))  # which comes now, and has used as much
    assert first_of(queue) == GATEWAY
    queue.charge(Transaction(1, read(1), GATEWAY, "one"), 1)
    assert first_of(queue) == SEARCH


def test_what_waits_is_counted_by_lane_and_each_lane_takes_64():
    queue = queue_of_all_lanes()
    for number in range(63):
        queue.put(Transaction(1, read(number), SEARCH, number))
    with pytest.raises(Refused, match="64 requests wait already") as caught:
        queue.put(Transaction(1, read(99), SEARCH, "other"))
    assert (caught.value.code, caught.value.retry_after) == ("BUS_BUSY", 1)
    queue.put(Transaction(1, read(99), GATEWAY, "other"))
    assert queue.lengths() == {"interactive": 1, "gateway": 2, "search": 64}
    assert not queue.is_empty()
    while queue.take(anybody) is not None:
        pass
    assert queue.is_empty()


def test_who_may_share_a_read_is_told_by_all_that_makes_it_the_same():
    queue = Queue()
    asked = Transaction(1, read(1), GATEWAY, "one")
    queue.put(asked)
    line = Line(9600, 5)
    assert queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is asked
    assert queue.shared_by(Transaction(1, read(1), SEARCH, "two")) is asked
    others = [
        Transaction(2, read(1), GATEWAY, "two"),
        Transaction(1, read(2), GATEWAY, "two"),
        Transaction(1, read(1), INTERACTIVE, "two"),  # who would wait further back
        Transaction(1, read(1), GATEWAY, "two", 0.5),
        Transaction(1, read(1), GATEWAY, "two", None, 2),
        Transaction(1, read(1), GATEWAY, "two", line=line),
    ]
    assert [queue.shared_by(other) for other in others] == [None] * len(others)
    asked.sharers = [Transaction(1, read(1), GATEWAY, number) for number in range(63)]
    assert queue.shared_by(others[0]) is None
    assert queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is asked
    asked.sharers.append(Transaction(1, read(1), GATEWAY, "the 64th"))
    assert queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is None


def test_reads_of_a_unit_are_closed_by_a_write_to_it_or_to_all_and_by_no_other():
    for uid, shares in ((2, True), (1, False), (0, False)):
        queue = Queue()
        asked = Transaction(1, read(1), GATEWAY, "one")
        queue.put(asked)
        queue.put(Transaction(1, bytes([7]), GATEWAY, "one"))  # which changes nothing
        queue.put(Transaction(uid, bytes([6, 0, 1, 0, 5]), GATEWAY, "one"))
        assert (queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is asked) == shares
    queue = Queue()
    queue.put(asked)
    queue.close(Transaction(1, read(1), GATEWAY, "other"))
    assert queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is asked
    queue.close(asked)
    assert queue.shared_by(Transaction(1, read(1), GATEWAY, "two")) is None
    for alone in (Transaction(1, read(1), GATEWAY, "one", line=Line(9600, 5)), Transaction(0, read(1), SEARCH, "one")):
        queue.put(alone)
        assert queue.shared_by(Transaction(alone.uid, read(1), SEARCH, "two")) is None
