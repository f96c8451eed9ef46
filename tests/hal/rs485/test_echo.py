"""Our own bytes given back, answers that repeat their question, and answers with holes, on a line in virtual time."""

import asyncio

import pytest

from hal.rs485.framing import Line
from tests.hal.rs485.exchanges import transact
from tests.hal.rs485.virtual_wire import WAYS, VirtualPort, frame
from tests.virtual_time import run

READ = bytes([3, 0, 0, 0, 1])
WRITE = bytes([6, 0, 10, 0, 99])
LINE = Line(9600, 5)


@pytest.fixture(params=WAYS, autouse=True)
def way(request, monkeypatch):
    """Every way in which bytes are handed over."""
    monkeypatch.setattr(VirtualPort, "usual_way", request.param)


def on_a_wire(far, main, line=LINE, lump=None):
    async def whole(clock):
        port = VirtualPort(clock, lump=lump)
        port.far = lambda data: far(port, data)
        await port.configure(line)
        await main(port)

    run(whole)


def at_once(data, port):
    asyncio.get_running_loop().call_soon(port.arrive, data)


def usb_cdc(port, data):
    """A device that has the whole question and answers before a real line had carried it."""
    answer = frame(1, bytes([3, 2, 0, 5])) if data[1] == 3 else data
    at_once(answer, port)


def echoing(port, data, answers=True):
    """An adapter that hears itself, and a device behind it."""
    for index, byte in enumerate(data):
        asyncio.get_running_loop().call_later((index + 1) * LINE.char_time, port.arrive, bytes([byte]))
    if answers:
        port.deliver(0.02, frame(1, bytes([3, 2, 0, 5])) if data[1] == 3 else data)


def test_an_early_answer_like_its_question_is_one_on_a_line_that_is_known_not_to_echo():
    async def main(port):
        for _ in range(2):
            assert (await transact(port, 1, READ, 0.2)).error is None
        for _ in range(3):
            exchange = await transact(port, 1, WRITE, 0.2)
            assert (exchange.error, exchange.pdu) == (None, WRITE)
            assert exchange.elapsed < 0.02

    on_a_wire(usb_cdc, main)


@pytest.mark.parametrize("pdu", [WRITE, bytes([5, 0, 1, 0xFF, 0])])
@pytest.mark.parametrize(("latency", "lump"), [(0.005, 1), (0.005, 3), (0.04, 16)])
def test_the_first_write_after_the_start_does_not_wait_its_whole_timeout(pdu, latency, lump):
    async def main(port):
        exchange = await transact(port, 1, pdu, 4.0)
        assert (exchange.error, exchange.pdu) == (None, pdu)
        assert exchange.elapsed < 0.1

    on_a_wire(lambda port, data: port.deliver(latency, data), main, lump=lump)


def test_a_first_write_whose_answer_comes_in_one_lump_waits_a_quarter_of_a_second_at_most():
    async def main(port):
        exchange = await transact(port, 1, WRITE, 4.0)
        assert (exchange.error, exchange.pdu) == (None, WRITE)
        assert exchange.elapsed < 0.3

    on_a_wire(lambda port, data: port.deliver(0.004, data), main, lump=256)


def test_an_echo_alone_is_no_success_on_an_adapter_that_echoes():
    async def main(port):
        assert (await transact(port, 1, READ, 0.2)).error is None
        assert (await transact(port, 1, WRITE, 0.2)).error is None
        port.far = lambda data: echoing(port, data, answers=False)
        for pdu in (WRITE, READ):
            exchange = await transact(port, 1, pdu, 0.2)
            assert (exchange.error, exchange.owed) == ("ECHO", True)
        port.far = lambda data: at_once(data, port)  # handed back in one lump, before the line has carried it
        assert (await transact(port, 1, WRITE, 0.2)).error == "ECHO"

    on_a_wire(echoing, main)


def test_an_echo_as_the_very_first_thing_is_no_success_either():
    async def main(port):
        assert (await transact(port, 1, WRITE, 0.2)).error == "ECHO"

    on_a_wire(lambda port, data: echoing(port, data, answers=False), main)


def test_a_block_write_answered_by_its_own_request_is_an_odd_answer_and_no_echo():
    async def main(port):
        await transact(port, 1, READ, 0.2)
        block = bytes([16, 0, 1, 0, 1, 2, 0, 5])
        exchange = await transact(port, 1, block, 0.2)
        assert (exchange.error, exchange.odd) == ("BAD_FRAME", block)

    on_a_wire(usb_cdc, main)


@pytest.mark.parametrize("hole", [0.005, 0.045, 0.09])
@pytest.mark.parametrize("begins", [0.01, 0.19])
def test_an_answer_that_has_begun_may_pause(begins, hole):
    def far(port, data):
        answer = frame(1, bytes([3, 2, 0, 5]))
        port.deliver(begins, answer[:4])
        asyncio.get_running_loop().call_later(9 * LINE.char_time + begins + 0.005 + hole, port.arrive, answer[4:])

    async def main(port):
        exchange = await transact(port, 1, READ, 0.2)
        assert (exchange.error, exchange.pdu) == (None, bytes([3, 2, 0, 5]))

    on_a_wire(far, main)


def test_a_pause_too_long_ends_the_answer():
    def far(port, data):
        answer = frame(1, bytes([3, 2, 0, 5]))
        port.deliver(0.19, answer[:4])
        port.deliver(0.5, answer[4:])

    async def main(port):
        exchange = await transact(port, 1, READ, 0.2)
        assert exchange.error == "BAD_FRAME"
        assert exchange.elapsed < 0.4
        assert exchange.raw == frame(1, bytes([3, 2, 0, 5]))[:4]

    on_a_wire(far, main)


def test_functions_that_tell_no_length_end_by_silence_and_not_at_the_timeout():
    async def main(port):
        exchange = await transact(port, 1, bytes([0x41, 1]), 4.0)
        assert (exchange.error, exchange.pdu) == (None, bytes([0x41, 9, 8, 7]))
        assert exchange.elapsed < 0.1
        exchange = await transact(port, 1, bytes([0x42, 1]), 4.0)
        assert (exchange.error, exchange.pdu) == (None, bytes([0xC2, 1]))
        assert exchange.elapsed < 0.05

    def far(port, data):
        port.deliver(0.01, frame(1, bytes([0x41, 9, 8, 7]) if data[1] == 0x41 else bytes([0xC2, 1])))

    on_a_wire(far, main)


def test_the_second_and_later_frames_of_a_burst_are_told():
    burst = frame(9, bytes([3, 2, 0, 1])) + frame(8, bytes([0x83, 2])) + frame(7, bytes([16, 0, 0, 0, 1]))

    async def main(port):
        exchange = await transact(port, 1, READ, 0.2)
        assert (exchange.error, exchange.heard) == ("FOREIGN", [9, 8, 7])

    on_a_wire(lambda port, data: port.deliver(0.01, burst), main)


@pytest.mark.parametrize(
    ("answer", "owed"),
    [
        (frame(1, bytes([4, 2, 0, 5])), True),  # whole, but of another function: the right one may still come
        (frame(1, bytes([3, 2, 0, 5]))[:-1] + b"\x00", False),  # the answer, its end broken
        (b"\xff\x00\xaa", True),
        (frame(1, bytes([3, 4, 0, 5, 0, 6])), False),
    ],
)
def test_a_bad_frame_tells_whether_the_answer_may_still_come(answer, owed):
    async def main(port):
        exchange = await transact(port, 1, READ, 0.2)
        assert (exchange.error, exchange.owed) == ("BAD_FRAME", owed)

    on_a_wire(lambda port, data: port.deliver(0.01, answer), main)
