"""What fails on lines that are not as the books say, on the simulated world in virtual time."""

import asyncio
import collections
import itertools

import pytest

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, SEARCH, Transaction
from firmware.services.settings.table import SETTINGS
from hal.rs485.framing import Line
from tests.hal.rs485.virtual_wire import WAYS, VirtualPort, WorldPort, frame
from tests.virtual_time import milliseconds, run

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    """Every way in which bytes are handed over."""
    monkeypatch.setattr(VirtualPort, "usual_way", request.param)


def read(address, count=1, func=3):
    return bytes([func, address >> 8, address & 0xFF, 0, count])


class Rig:
    """A bus on the simulated world, or on devices that the test plays: `answer(port, data)`."""

    def __init__(self, clock, answer=None, units=(), baud_rate=9600, **serial):
        self.clock = clock
        self.port = WorldPort(clock, baud_rate) if answer is None else VirtualPort(clock)
        self.port.far = None if answer is None else lambda data: answer(self.port, data)
        self.bus = Bus(self.port, dict(SERIAL, baudRate=baud_rate, **serial), milliseconds(clock), units)

    async def ask(self, uid, pdu, lane=GATEWAY, source="a", **more):
        transaction = Transaction(uid, pdu, lane, source, **more)
        self.bus.submit(transaction)
        await transaction.done.wait()
        return transaction

    def unit(self, uid=1):
        return self.bus.health.state(lambda age: "")[str(uid)]


def on_a_bus(*rig, **options):
    """Runs a test that is a coroutine function of a rig."""

    def decorate(main):
        def test():
            async def whole(clock):
                made = Rig(clock, *rig, **options)
                await made.bus.start()
                await main(made)
                await made.bus.stop()

            run(whole)

        test.__name__ = main.__name__
        return test

    return decorate


# Searches


@on_a_bus()
async def test_no_read_is_lost_in_a_search_beside_a_slow_unit(rig):
    async def search():
        while True:
            for uid in range(10, 30):
                await rig.bus.exchange(uid, read(0), SEARCH, "search", timeout=0.035)

    searching = asyncio.create_task(search())
    errors = collections.Counter()
    for _ in range(500):
        asked = await rig.ask(1, read(0, 10), INTERACTIVE)
        errors[asked.error] += 1
        await asyncio.sleep(0.005)
    searching.cancel()
    assert errors == {None: 500}


# Spoilt answers

KINDS = {
    "silent": "TIMEOUT",
    "late": "TIMEOUT",
    "noise": None,
    "noiseAfter": None,
    "garble": "BAD_FRAME",
    "truncate": "BAD_FRAME",
    "wrongUnit": "FOREIGN",
    "wrongFunction": "BAD_FRAME",
    "wrongLength": "BAD_FRAME",
    "split": None,
    "double": None,
    "raw": "BAD_FRAME",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("baud_rate", [9600, 19200, 115200])
def test_each_fault_has_its_code_and_the_answers_after_it_are_right(kind, baud_rate):
    @on_a_bus(baud_rate=baud_rate, lateHorizonMs=200, healthCheck=False)
    async def main(rig):
        for count in (1, 4, 60):
            rig.port.fault(kind, 1, 1, {"late": 0.35, "split": 0.01, "double": 0.003}.get(kind, 0.0), b"\xff\0\xaa\1\3")
            spoilt = await rig.ask(1, read(0, count), strict=True)
            look_alike = (
                kind == "garble" and spoilt.error == "FOREIGN"
            )  # a flipped bit made a frame of another, now and then
            assert spoilt.error == KINDS[kind] or look_alike
            await asyncio.sleep(0.2 if kind == "double" else 0)
            other, again = await asyncio.gather(rig.ask(33, read(0), source="b"), rig.ask(1, read(0, 4), source="c"))
            assert (other.error, other.answer[1]) == (None, 2)
            assert (again.error, again.answer) == (None, bytes([3, 8, 0, 252, 0, 104, 8, 252, 19, 136]))
            await asyncio.sleep(0.5)

    main()


@pytest.mark.parametrize("baud_rate", [9600, 19200, 115200])
def test_an_answer_costs_no_more_time_than_the_line_takes_however_it_is_handed_over(baud_rate):
    @on_a_bus(baud_rate=baud_rate)
    async def main(rig):
        for pdu, size in ((read(0, 60), 125), (read(60000), 5), (read(0, 1), 7)):
            asked = await rig.ask(1, pdu)
            least = (8 * 11 + size * 10) / baud_rate  # 8N2 asked, 8N1 answered
            turnaround = 0.02  # of the device, with the silence that it needs
            assert least <= asked.elapsed <= least + turnaround

    main()


# Units that do not answer everything


def only_below(first_lacking):
    """A device that stays silent on registers from a first one on."""

    def answer(port, data):
        address = data[2] << 8 | data[3]
        if address < first_lacking:
            port.deliver(0.01, frame(data[0], bytes([3, 2, 0, address])))

    return answer


@on_a_bus()
async def test_three_silent_questions_do_not_bar_those_that_the_unit_answers(rig):
    rig.port.fault("silent", 1, 3)
    errors = [(await rig.ask(1, read(register))).error for register in (20, 21, 22, 0, 1, 2, 3)]
    assert errors == ["TIMEOUT"] * 3 + [None] * 4


@on_a_bus(only_below(20))
async def test_a_unit_is_down_only_by_questions_that_it_has_answered(rig):
    for _ in range(12):
        assert (await rig.ask(1, read(5))).error is None
        assert (await rig.ask(1, read(25))).error in ("TIMEOUT", "DEVICE_DOWN")
        await asyncio.sleep(1)
    assert not rig.unit()["down"]
    assert (await rig.ask(1, read(25))).error == "DEVICE_DOWN"  # asked at growing pauses only
    rig.port.far = None
    for _ in range(4):
        assert (await rig.ask(1, read(5))).error == "TIMEOUT"
        await asyncio.sleep(1)
    assert rig.unit()["down"]
    assert [(await rig.ask(1, read(5))).error for _ in range(2)] == ["TIMEOUT", "DEVICE_DOWN"]  # a probe was due


@on_a_bus(only_below(20))
async def test_questions_that_are_never_answered_cost_others_nothing(rig):
    for _ in range(10):
        await rig.ask(1, read(25))
        await asyncio.sleep(2)
    asked = len(rig.port.questions)
    started = rig.clock()
    for _ in range(40):
        stubborn = rig.ask(1, read(25), source="stubborn")
        other = rig.ask(1, read(5), source="other")
        assert [one.error for one in await asyncio.gather(stubborn, other)] == ["DEVICE_DOWN", None]
    assert rig.clock() - started < 40 * 0.06
    assert len(rig.port.questions) == asked + 40


@on_a_bus(only_below(20))
async def test_a_probe_of_a_unit_that_is_down_repeats_what_it_has_answered(rig):
    far = rig.port.far
    assert (await rig.ask(1, read(5))).error is None
    rig.port.far = None
    for _ in range(5):
        await rig.ask(1, read(5))
        await asyncio.sleep(1)
    await asyncio.sleep(11)
    async with asyncio.timeout(30):
        assert (await rig.ask(1, read(30))).error == "DEVICE_DOWN"  # for which 5 was asked, in vain
    assert rig.port.questions[-1][1][3] == 5
    rig.port.far = far
    await asyncio.sleep(30)
    assert (await rig.ask(1, read(30))).error == "TIMEOUT"  # a question that it stays silent on
    assert not rig.unit()["down"]
    assert [data[3] for _, data in rig.port.questions[-2:]] == [5, 30]


@on_a_bus(only_below(20))
async def test_only_what_could_be_confused_waits_for_a_late_answer(rig):
    assert (await rig.ask(1, read(25))).error == "TIMEOUT"
    started = rig.clock()
    longer, other = bytes([3, 0, 1, 0, 2]), bytes([4, 0, 1, 0, 1])
    rig.port.far = lambda data: rig.port.deliver(0.01, frame(1, bytes([data[1], 2 * data[5]]) + bytes(2 * data[5])))
    for pdu in (longer, other):
        assert (await rig.ask(1, pdu)).error is None
    assert rig.clock() - started < 0.2
    assert (await rig.ask(1, read(26))).error is None
    assert rig.clock() - started > 0.9


def late(seconds):
    return lambda port, data: port.deliver(seconds, frame(data[0], bytes([3, 2, 0, data[3]])))


@on_a_bus(late(0.6))
async def test_late_answers_teach_the_timeout_that_a_unit_needs(rig):
    for register in range(6):
        assert (await rig.ask(1, read(register))).error == "TIMEOUT"
    assert 600 <= rig.unit()["suggestedTimeoutMs"] <= 1400
    assert (await rig.ask(1, read(9), timeout=rig.unit()["suggestedTimeoutMs"] / 1000)).answer == bytes([3, 2, 0, 9])


# Pauses


def needs_a_pause(seconds):
    """A device that does not hear a question sooner than so long after its last answer."""

    def answer(port, data):
        now = port.seconds()
        if now >= getattr(port, "device_free", 0.0):
            port.deliver(0.01, frame(data[0], bytes([3, 2, 0, data[3]])))
            port.device_free = now + 0.03 + seconds

    return answer


@on_a_bus(
    needs_a_pause(0.49), units=[{"uidFrom": 1, "uidTo": 3, "restMs": 500, "responseTimeoutMs": None, "retries": None}]
)
async def test_a_unit_is_left_alone_as_the_settings_say_and_others_are_served_meanwhile(rig):
    far, asked = rig.port.far, [1, 1, 1, 9, 9, 9]
    rig.port.far = lambda data: far(data) if data[0] == 1 else late(0.01)(rig.port, data)
    answers = [rig.ask(uid, read(register), source=uid) for register, uid in enumerate(asked)]
    assert [one.error for one in await asyncio.gather(*answers)] == [None] * 6
    assert [data[0] for _, data in rig.port.questions] == [1, 9, 9, 9, 1, 1]


@on_a_bus(needs_a_pause(0.4), restMs=500)
async def test_the_line_rests_between_an_answer_and_the_next_question(rig):
    assert [(await rig.ask(1, read(register))).error for register in range(4)] == [None] * 4
    times = [time for time, _ in rig.port.questions]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= 0.5


@on_a_bus(
    late(0.5), units=[{"uidFrom": 7, "uidTo": 7, "restMs": 0, "responseTimeoutMs": 800, "retries": 2}], lateHorizonMs=0
)
async def test_a_unit_has_a_timeout_and_retries_of_its_own(rig):
    assert (await rig.ask(7, read(1))).error is None
    assert (await rig.ask(6, read(1))).error == "TIMEOUT"
    rig.port.far = None
    rig.port.questions.clear()
    assert (await rig.ask(7, read(2))).error == "TIMEOUT"
    assert len(rig.port.questions) == 3


@on_a_bus(needs_a_pause(0.3), lateHorizonMs=0, healthCheck=False)
async def test_silence_after_short_pauses_only_gives_a_hint(rig):
    for pause in (0.4, 0.4, 0.01, 0.35, 0.02, 0.4, 0.015, 0.5):
        await asyncio.sleep(pause)
        await rig.ask(1, read(5))
    assert 300 <= rig.unit()["suggestedRestMs"] <= 420
    assert rig.unit(1)["timeouts"] == 3


# Answers with another content than the specification says

CLAMPED = (bytes([6, 0, 13, 0, 106]), bytes([6, 0, 13, 0, 100]))
COIL = (bytes([5, 0, 1, 0xFF, 0]), bytes([5, 0, 1, 0, 1]))
SHORT_ID = (bytes([17]), bytes([17, 3]) + b"abcd")
WIDE = (bytes([3, 0, 0, 0, 1]), bytes([3, 4, 0, 1, 2, 3]))
ECHOED = (bytes([16, 0, 1, 0, 1, 2, 0, 5]), bytes([16, 0, 1, 0, 1, 2, 0, 5]))


@pytest.mark.parametrize(("question", "odd"), [CLAMPED, COIL, SHORT_ID, WIDE, ECHOED])
def test_an_odd_answer_goes_as_it_came_to_whoever_asked_raw(question, odd):
    @on_a_bus(lambda port, data: port.deliver(0.01, frame(1, odd)))
    async def main(rig):
        rig.port._echoes = False
        raw = await rig.ask(1, question)
        assert (raw.error, raw.answer) == (None, odd)
        assert raw.elapsed < 0.3
        strict = await rig.ask(1, question, strict=True)
        assert (strict.error, strict.raw) == ("BAD_FRAME", frame(1, odd))
        assert rig.bus.state()["crcErrors"] == 1
        assert not rig.unit()["down"]

    main()


@on_a_bus(lambda port, data: port.deliver(0.01, frame(1, CLAMPED[1])))
async def test_a_strict_and_a_raw_request_that_share_an_exchange_get_each_his_own(rig):
    question = bytes([3, 0, 0, 0, 1])
    rig.port.far = lambda data: rig.port.deliver(0.01, frame(1, WIDE[1]))
    blocker = rig.ask(1, read(99), source="blocker")
    strict = rig.ask(1, question, source="b", strict=True)
    raw = rig.ask(1, question, source="c")
    _, strict, raw = await asyncio.gather(blocker, strict, raw)
    assert len(rig.port.questions) == 2
    assert (strict.error, raw.error, raw.answer) == ("BAD_FRAME", None, WIDE[1])


@on_a_bus(late(0.3))
async def test_an_odd_answer_is_nobodys_while_another_is_owed(rig):
    assert (await rig.ask(1, read(5))).error == "TIMEOUT"
    rig.port.far = None
    longer = await rig.ask(1, read(6, 2))  # the late answer falls into this exchange
    assert (longer.error, longer.answer) == ("BAD_FRAME", b"")


@on_a_bus(lambda port, data: port.deliver(0.01, frame(9, bytes([3, 2, 0, 1]))))
async def test_who_answered_instead_is_told(rig):
    asked = await rig.ask(1, read(5))
    assert (asked.error, asked.heard_uid) == ("FOREIGN", 9)


# Slow lines


@pytest.mark.parametrize("baud_rate", [75, 110, 150, 200, 300, 600])
@pytest.mark.parametrize("gap", [0, 1000])
def test_devices_that_keep_to_the_rules_are_heard_on_slow_lines(monkeypatch, baud_rate, gap):
    monkeypatch.setattr(VirtualPort, "usual_way", (1, VirtualPort.usual_way[1]))  # no adapter collects for seconds

    @on_a_bus(baud_rate=baud_rate, responseTimeoutMs=10, frameGapUs=gap)
    async def main(rig):
        for _ in range(2):
            assert (await rig.ask(1, read(0, 4))).answer[2:4] == bytes([0, 252])
            await asyncio.sleep(1)  # the simulated devices want their silence, whatever the setting says
        found = await rig.bus.exchange(2, read(0), SEARCH, "search", Line(baud_rate, 5), 0.035)
        assert found.error is None

    main()


def test_a_short_pause_between_frames_does_not_cut_answers():
    def answer(port, data):
        pdu = frame(1, bytes([3, 2, 0, 5]))
        loop = asyncio.get_running_loop()
        for index, byte in enumerate(pdu):
            loop.call_later(1.0 + 0.15 * index, port.arrive, bytes([byte]))

    @on_a_bus(answer, baud_rate=150, frameGapUs=500, responseTimeoutMs=10)
    async def main(rig):
        assert (await rig.ask(1, read(5))).answer == bytes([3, 2, 0, 5])

    main()
