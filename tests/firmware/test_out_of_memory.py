"""Out of memory is an answer: nothing of what was asked for is done, the device lives on and counts."""

import asyncio
import json

import pytest

from firmware.api.errors import error_answer
from firmware.http.messages.http1 import RequestReader
from firmware.http.slots import Slots
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.pdu import Fields
from firmware.services.errors import Refused
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.requests import RESULT_SEC, RESULTS_LIMIT, ModbusRequests
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import SETTINGS
from hal.runtime import memory
from hal.runtime.memory import MEMORY
from hal.service import Service
from tests.firmware.http.rig import Rig as HttpRig
from tests.firmware.http.rig import answer, get
from tests.hal.rs485.virtual_wire import VirtualPort
from tests.virtual_time import milliseconds, run

DEFAULTS = {field.name: field.default for field in SETTINGS}
WRITE = bytes([6, 0, 9, 1, 2])


@pytest.fixture(autouse=True)
def counted():
    before = MEMORY.shortages
    MEMORY.sufficed()
    yield lambda: MEMORY.shortages - before
    MEMORY.restart = None


def too_little(*arguments):
    raise MemoryError("memory allocation failed, allocating 4096 bytes")


async def lacking(request):
    too_little()


async def test_a_request_that_there_is_no_memory_for_is_told_so_and_the_next_is_served(counted, monkeypatch):
    async with HttpRig() as rig:
        rig.server.add("GET", "/much", lacking)
        reader, writer = await rig.connect()
        for _ in range(2):
            writer.write(get("/much"))
            status, body, fields = await answer(reader)
            assert (status, body["error"], fields["retry-after"]) == (503, "NO_MEMORY", "1")
        writer.write(get("/hello"))
        assert (await answer(reader))[0] == 200
        assert counted() == 2
        assert rig.server.errors == 0


async def test_a_body_that_there_is_no_memory_for_is_told_so_on_a_connection_that_ends(counted, monkeypatch):
    async with HttpRig() as rig:
        with monkeypatch.context() as patch:
            patch.setattr(RequestReader, "_take", too_little)
            reader, writer = await rig.connect()
            writer.write(get("/hello", method="POST", fields="Content-Length: 9\r\n") + b"123456789")
            status, body, _ = await answer(reader)
            assert (status, body["error"]) == (503, "NO_MEMORY")
        reader, writer = await rig.connect()
        writer.write(get("/hello"))
        assert (await answer(reader))[0] == 200
        assert counted() == 1


async def test_a_connection_that_there_is_no_memory_for_is_cut_and_counted(counted, monkeypatch):
    async with HttpRig() as rig:
        with monkeypatch.context() as patch:
            patch.setattr(Slots, "enter", too_little)
            assert await rig.status() is None
        await rig.until(lambda: rig.server.connection_count() == 0)
        assert counted() == 1
        assert rig.server.errors == 0
        assert await rig.status() == 200


async def test_a_device_that_can_do_nothing_any_more_starts_anew(monkeypatch):
    restarts = []
    MEMORY.restart = lambda: restarts.append("NO_MEMORY")
    monkeypatch.setattr(memory, "SHORTAGES_IN_A_ROW", 3)
    async with HttpRig(idle_sec=30, body_sec=30) as rig:
        rig.server.add("GET", "/much", lacking)
        reader, writer = await rig.connect()
        asked = [["/much"] * 2, ["/hello"], ["/much"] * 2]
        for path in [path for paths in asked for path in paths]:
            writer.write(get(path))
            await answer(reader)
        assert restarts == []
        writer.write(get("/much"))
        await answer(reader)
        assert restarts == ["NO_MEMORY"]


class Line:
    """A bus in virtual time, a way to it, and the requests of HTTP clients."""

    def __init__(self, clock):
        self.port = VirtualPort(clock)
        self.bus = Bus(self.port, DEFAULTS["serial"], milliseconds(clock))
        self.router = ModbusRouter(self.bus, None, Forwarding([]), DEFAULTS["modbusTcp"], clock=milliseconds(clock))
        self.requests = ModbusRequests(self.router, milliseconds(clock))

    async def __aenter__(self):
        await self.bus.start()
        await self.requests.start()
        return self

    async def __aexit__(self, *exc):
        await self.requests.stop()
        await self.bus.stop()


WRITING = Fields(func=6, addr=9, value=258)


@pytest.mark.parametrize("step", ["_share", "_advance"])
def test_what_there_is_no_memory_for_is_not_sent(step, monkeypatch):
    async def whole(clock):
        async with Line(clock) as line:
            monkeypatch.setattr(line.bus, step, too_little)
            with pytest.raises(MemoryError):
                line.requests.submit(1, WRITING, "a")
            answers = []
            assert line.router.ask(1, WRITE, "b", answers.append) is None
            await asyncio.sleep(3)
            assert line.port.questions == []
            assert answers == [bytes([0x86, 6])]
            monkeypatch.undo()
            assert line.requests.submit(1, WRITING, "a") == 1
            await asyncio.sleep(3)
            assert len(line.port.questions) == 1

    run(whole)


def test_a_write_is_not_sent_before_its_result_has_a_place(monkeypatch):
    async def whole(clock):
        async with Line(clock) as line:

            class Full(dict):
                __setitem__ = too_little

            line.requests._entries = Full()
            with pytest.raises(MemoryError):
                line.requests.submit(1, WRITING, "a")
            await asyncio.sleep(3)
            assert line.port.questions == []

    run(whole)


def test_results_are_dropped_when_their_time_is_over_though_nobody_asks():
    async def whole(clock):
        async with Line(clock) as line:
            for _ in range(5):
                line.requests.submit(1, WRITING, "a")
            await asyncio.sleep(5 + RESULT_SEC)
            assert line.requests._entries != {}
            await asyncio.sleep(15)
            assert line.requests._entries == {}

    run(whole)


def test_who_asks_much_pushes_out_results_of_its_own():
    async def whole(clock):
        async with Line(clock) as line:
            kept = line.requests.submit(1, WRITING, "quiet")
            await asyncio.sleep(2)
            first = kept + 1
            for _ in range(RESULTS_LIMIT):
                last = line.requests.submit(1, WRITING, "loud")
                await asyncio.sleep(0.1)
            assert (await line.requests.result(kept, 0)).is_done
            assert (await line.requests.result(last, 5)).is_done
            with pytest.raises(Refused):
                await line.requests.result(first, 0)

    run(whole)


async def test_what_ends_for_want_of_memory_has_the_device_start_anew(counted, capsys):
    restarts = []
    MEMORY.restart = lambda: restarts.append("NO_MEMORY")

    async def going_on():
        await asyncio.sleep(0)
        too_little()

    service = Service()
    service.keep_running(going_on())
    while not restarts:
        await asyncio.sleep(0)
    assert counted() == 1
    assert not service.is_alive()
    assert "out of memory: Service" in capsys.readouterr().err


def test_the_error_has_its_answer():
    told = error_answer("NO_MEMORY", "x")
    assert (told.status_code, json.loads(told.body)["error"], told.headers["Retry-After"]) == (503, "NO_MEMORY", "1")
