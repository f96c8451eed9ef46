"""When a port wakes: before a question, and for an answer."""

import asyncio
import itertools

import pytest

from hal.rs485.framing import Line
from hal.rs485.port import AHEAD, PortFailed, Rs485Port
from tests.hal.rs485.exchanges import transact
from tests.hal.rs485.virtual_wire import VirtualPort, frame
from tests.virtual_time import run

READ_10 = bytes([3, 0, 0, 0, 10])
ANSWER = frame(1, bytes([3, 20]) + bytes(20))
FAST = Line(115200, 5)


class Timer:
    """Stands in for the clock and for the loop's timers, which ring `late` microseconds after their time."""

    def __init__(self, late):
        self.now = 0
        self.late = late
        self._rings = None

    def clock(self):
        self.now += 1
        return self.now

    def call_after(self, seconds, function):
        self._rings = self.now + round(seconds * 1000000), function
        return self

    def cancel(self):
        self._rings = None

    def ring(self):
        moment, function = self._rings
        self.now = max(self.now, moment) + self.late
        function()


class BarePort(Rs485Port):
    async def _open(self, line):
        pass

    def _close(self):
        pass

    def _write(self, data):
        self.asked = self._now()

    def silence(self, timer):
        """Microseconds of silence before a question, which is answered."""
        silent_since = timer.now
        self.ask(1, READ_10, 0.2, lambda exchange: None)
        timer.ring()
        timer.now += 30000
        self._received(ANSWER)
        return self.asked - silent_since


async def test_late_timers_are_set_earlier_and_no_question_leaves_before_the_silence_is_over(monkeypatch):
    timer = Timer(late=100)
    monkeypatch.setattr("hal.rs485.port.call_after", timer.call_after)
    port = BarePort(timer.clock)
    await port.configure(FAST)
    silences = [port.silence(timer) for _ in range(100)]
    assert silences[0] >= FAST.silence_us + timer.late
    assert silences[-1] < FAST.silence_us + timer.late // 4
    timer.late = 0
    silences += [port.silence(timer) for _ in range(100)]
    assert min(silences) >= FAST.silence_us


@pytest.mark.parametrize("lump,pauses", [(1, True), (8, True), (16, False), (256, False)])
def test_the_rest_of_an_answer_wakes_nobody_before_it_can_be_there(lump, pauses):
    """Once the line was seen to hand over bytes at its own pace: what is handed over in lumps is there soon."""

    async def main(clock):
        port = VirtualPort(clock, lambda data: port.deliver(0.002, ANSWER), lump, waits=True)
        await port.configure(FAST)
        for _ in range(6):
            port.pauses.clear()
            exchange = await transact(port, 1, READ_10, 0.2)
            assert exchange.pdu == ANSWER[1:-2]
            first = exchange.first
        rest = len(ANSWER) - max(5, lump) - AHEAD
        assert sum(port.pauses) == (FAST.wire_us(rest) if pauses else 0)
        assert exchange.ended <= first + FAST.wire_us(len(ANSWER))

    run(main)


@pytest.mark.parametrize("answers", [True, False])
def test_who_shares_the_processor_gives_way_from_a_question_to_its_end_and_no_longer(answers):
    async def main(clock):
        port = VirtualPort(clock, lambda data: port.deliver(0.002, ANSWER if answers else b""))
        told = []
        port._goes_first = lambda first: told.append((first, port.has_left()))
        await port.configure(FAST)
        for _ in range(2):
            exchange = await transact(port, 1, READ_10, 0.2)
            assert exchange.error == (None if answers else "TIMEOUT")
        assert told == [(True, False), (False, True)] * 2

    run(main)


def test_a_port_that_does_not_open_is_tried_again_with_growing_pauses_for_ever():
    class Missing(VirtualPort):
        tries: list[float] = []

        async def _open(self, line):
            self.tries.append(self.seconds())
            if len(self.tries) < 9:
                raise PortFailed("no such adapter")

    async def main(clock):
        port = Missing(clock)
        assert (await transact(port, 1, READ_10, 1)).error == "PORT_LOST"  # it was never configured
        await port.configure(FAST)
        assert (await transact(port, 1, READ_10, 1)).error == "PORT_LOST"
        while not port.is_open:
            await asyncio.sleep(0.01)
        await asyncio.sleep(100)
        await port.stop()
        return [round(after - before, 3) for before, after in itertools.pairwise(port.tries)]

    assert run(main) == [0.25, 0.5, 1, 2, 3, 3, 3, 3]
