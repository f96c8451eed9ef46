"""No answer is delivered to a question that it was not given to. `make doubled-answers` makes 50,000 exchanges each."""

import asyncio

import pytest

from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import GATEWAY, Transaction
from firmware.services.settings.table import SETTINGS
from hal.rs485.framing import Line
from hal.simulated.rs485 import SimulatedPort
from tests.firmware.bus.doubled_answers import exchanges
from tests.hal.rs485.exchanges import transact
from tests.hal.rs485.virtual_wire import VirtualPort, frame
from tests.virtual_time import milliseconds, run

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")


def read(address, count=1):
    return bytes([3, address >> 8, address & 0xFF, 0, count])


def value(*numbers, uid=1):
    return frame(uid, bytes([3, 2 * len(numbers)]) + b"".join(number.to_bytes(2, "big") for number in numbers))


@pytest.mark.parametrize(("lump", "baud_rate"), [(1, 9600), (16, 19200), (256, 115200)])
def test_devices_that_double_delay_reorder_and_repeat_never_make_a_wrong_answer(lump, baud_rate):
    tally = exchanges(1500, lump, lump, baud_rate)
    assert tally.wrong == 0
    assert tally.right > 1350
    assert tally.copies > 300


def on_a_wire(answer, main, line=None):
    async def whole(clock):
        port = VirtualPort(clock)
        port.far = lambda data: answer(port, data)
        await port.configure(line or Line(9600, 5))
        return await main(port)

    return run(whole)


def double(gap):
    def answer(port, data):
        register = data[3]
        for delay in (0.005, 0.005 + gap):
            port.deliver(delay, value(register))

    return answer


@pytest.mark.parametrize("gap", [0.001, 0.003, 0.006, 0.012, 0.025, 0.05, 0.09])
def test_every_answer_twice_gives_every_read_its_own(gap):
    async def main(port):
        for register in list(range(1, 40)) * 2:
            exchange = await transact(port, 1, read(register), 0.2)
            assert exchange.pdu in (b"", bytes([3, 2, 0, register]))
        return port.copies

    copies = on_a_wire(double(gap), main)
    assert copies.count >= 10
    assert copies.wait_us(1) >= gap * 1e6


def test_a_unit_that_doubles_is_left_alone_until_its_copy_has_come_and_others_are_served():
    def answer(port, data):
        port.deliver(0.005, value(data[3], uid=data[0]))
        if data[0] == 1:
            port.deliver(0.045, value(data[3], uid=1))

    async def main(clock):
        port = VirtualPort(clock)
        port.far = lambda data: answer(port, data)
        bus = Bus(port, SERIAL, milliseconds(clock))
        await bus.start()
        for _ in range(2):
            known = await bus.exchange(1, read(7), GATEWAY, "a")
            await asyncio.sleep(0.3)
        assert known.error is None
        asked = [Transaction(uid, read(register), GATEWAY, "a") for uid in (1, 2) for register in (11, 12)]
        port.questions.clear()
        for transaction in asked:
            bus.submit(transaction)
        for transaction in asked:
            await transaction.done.wait()
        assert [data[0] for _, data in port.questions] == [1, 2, 2, 1]
        assert [transaction.answer[-1] for transaction in asked] == [11, 12, 11, 12]
        assert bus.state()["copies"] == 3
        await bus.stop()

    run(main)


def test_a_frame_that_begins_before_the_question_has_left_is_not_its_answer():
    def answer(port, data):
        if data[3] == 99:
            port.deliver_now(value(1))  # nobody has asked for it, and it never came before
        port.deliver(0.03, value(data[3]))

    async def main(port):
        for register in range(20, 25):
            await transact(port, 1, read(register), 0.2)
        exchange = await transact(port, 1, read(99), 0.2)
        assert exchange.pdu == bytes([3, 2, 0, 99])
        assert exchange.heard == [1]

    on_a_wire(answer, main, Line(1200, 5))


def test_what_waits_in_the_tty_is_older_than_the_question():
    async def main(port):
        await transact(port, 1, read(5), 0.2)
        waiting = [value(77)]

        def poll():
            if waiting:
                port._received(waiting.pop())
            handed_over()

        handed_over, port._poll = port._poll, poll
        exchange = await transact(port, 1, read(6), 0.2)
        assert exchange.pdu == bytes([3, 2, 0, 6])
        assert exchange.heard == [1]

    on_a_wire(lambda port, data: port.deliver(0.01, value(data[3])), main)


def test_devices_that_answer_alike_cost_little_once_it_is_known_that_nobody_doubles():
    async def main(port):
        spent = []
        for register in range(60):
            exchange = await transact(port, 1, read(register), 0.2)
            assert exchange.pdu == bytes([3, 2, 0, 0])
            spent.append(exchange.elapsed)
        assert max(spent[-40:]) < 0.04
        assert port.copies.count == 0

    on_a_wire(lambda port, data: port.deliver(0.01, value(0)), main)


def test_the_answer_of_a_doubled_line_may_equal_the_one_before():
    async def main(port):
        for register in list(range(20)) * 2:
            exchange = await transact(port, 1, read(register), 0.2)
            assert exchange.pdu == bytes([3, 2, 0, 0])

    def answer(port, data):
        port.deliver(0.005, value(0))
        port.deliver(0.03, value(0))

    on_a_wire(answer, main)


def test_a_write_that_is_refused_like_the_one_before_it_is_not_sent_again():
    async def main(port):
        for register in range(5):
            exchange = await transact(port, 1, bytes([6, 0, register, 0, 1]), 0.2)
            assert exchange.pdu == bytes([0x86, 2])
        assert len(port.questions) == 5

    on_a_wire(lambda port, data: port.deliver(0.01, frame(1, bytes([0x86, 2]))), main)


@pytest.mark.alone
async def test_on_a_real_tty_doubled_answers_never_go_to_the_next_question(tmp_path):
    port = SimulatedPort({}, str(tmp_path))
    bus = Bus(port, dict(SERIAL, baudRate=115200, lateHorizonMs=100, healthCheck=False))
    await port.start()
    await bus.start()
    try:
        await port.world.command({"cmd": "devices", "baudRate": 115200})
        values = list(range(1000, 1040))
        write = bytes([16, 0, 10, 0, 40, 80]) + b"".join(number.to_bytes(2, "big") for number in values)
        assert (await bus.exchange(100, write, GATEWAY, "a")).error is None
        right = 0
        for gap in (1, 3, 8, 20):
            fault = {"cmd": "fault", "kind": "double", "uid": 100, "count": 40, "gapMs": gap}
            assert "error" not in await port.world.command(fault)
            for number in values:
                transaction = await bus.exchange(100, read(10 + number - 1000), GATEWAY, "a")
                assert transaction.answer in (b"", bytes([3, 2]) + number.to_bytes(2, "big"))
                right += transaction.error is None
        assert right > 140
    finally:
        await bus.stop()
