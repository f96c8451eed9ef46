"""The search, on the real port and the simulated world."""

import asyncio
import time

import pytest

from firmware.api.endpoints import ENDPOINTS
from firmware.api.endpoints.bus.search import find_result, modbus_find_start, modbus_find_stop, search_of
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import INTERACTIVE, Transaction
from firmware.services.search.devices import Discovery
from firmware.services.settings.table import SETTINGS
from hal.fields import BadField
from hal.rs485.checksums import crc16
from hal.simulated.rs485 import SimulatedPort
from tests.firmware.calls import call

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
BODY = next(endpoint.body for endpoint in ENDPOINTS if endpoint.path == "/api/modbus/find/start/")


class Rig:
    def __init__(self, state_dir, late_horizon_ms=100):
        self.port = SimulatedPort({}, str(state_dir))
        self.bus = Bus(self.port, dict(SERIAL, lateHorizonMs=late_horizon_ms))
        self.discovery = Discovery(self.bus, SERIAL)

    async def __aenter__(self):
        await self.port.start()
        await self.bus.start()
        return self

    async def __aexit__(self, *exc):
        await self.discovery.stop()
        await self.bus.stop()

    async def start(self, **fields):
        """As HTTP has it."""
        body = BODY.check(dict({"baudRate": 9600, "charFormat": 5, "fastSearch": True}, **fields))
        return await modbus_find_start(call({"discovery": self.discovery}, body))

    async def end(self):
        return await modbus_find_stop(call({"discovery": self.discovery}))

    async def finish(self, seconds=30):
        end = time.monotonic() + seconds
        while find_result(self.discovery, False)["status"] == "RUNNING":
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        return find_result(self.discovery, True)

    async def search(self, **fields):
        assert await self.start(**fields) == {"status": "DONE"}
        return await self.finish()


def uids(result):
    return [found["uid"] for found in result["foundDevices"]]


async def test_a_fast_search_finds_what_is_there_and_nothing_else(tmp_path):
    async with Rig(tmp_path, late_horizon_ms=1000) as rig:
        result = await rig.search(uidFrom=1, uidTo=35)
        assert result["status"] == "DONE"
        assert result["progress"] == 100
        assert result["etaSec"] == 0
        # Unit 17 takes 300 ms: it is found where its late answer does not collide with another probe.
        assert [uid for uid in uids(result) if uid != 17] == [1, 2, 33]
        assert result["foundDevices"][0] == {
            "uid": 1,
            "baudRate": 9600,
            "charFormat": 5,
            "frameMode": 0,
            "verdict": "answer",
        }


async def test_a_thorough_search_finds_the_slow_one_by_its_own_answer(tmp_path):
    async with Rig(tmp_path) as rig:
        assert uids(await rig.search(uidFrom=16, uidTo=17, fastSearch=False)) == [17]


async def test_unit_0_is_asked_as_any_other_where_it_is_named(tmp_path):
    async with Rig(tmp_path) as rig:
        assert uids(await rig.search(uidFrom=0, uidTo=1)) == [1]


async def test_other_line_settings_are_searched_and_the_port_goes_back(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.search(uidFrom=246, uidTo=247, baudRates=[9600, 19200], charFormats=[4, 0])
        assert [(found["uid"], found["baudRate"], found["charFormat"]) for found in result["foundDevices"]] == [
            (247, 19200, 0)
        ]
        answer = await rig.bus.exchange(1, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "test")
        assert answer.error is None


async def test_stop_at_first_ends_with_the_first_line_that_answers(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.search(uidFrom=1, uidTo=2, baudRates=[9600, 19200], stopAtFirst=True)
        assert {found["baudRate"] for found in result["foundDevices"]} == {9600}
        assert result["status"] == "DONE"


async def test_ascii_devices_are_found_by_an_ascii_search(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.search(uidFrom=50, uidTo=50, frameMode=1, charFormat=0)
        assert [(found["uid"], found["frameMode"]) for found in result["foundDevices"]] == [(50, 1)]


async def test_identify_asks_who_they_are(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.search(uidFrom=1, uidTo=1, identify=True)
        assert result["foundDevices"][0]["identity"] == "Simulated Works SIM-1 1.4"


@pytest.mark.parametrize(
    ("fault", "verdict"),
    [
        ({"kind": "wrongLength", "uid": 1, "count": 9}, "odd"),
        ({"kind": "garble", "uid": 1, "count": 1}, "answer"),
        ({"kind": "garble", "uid": 1, "count": 9}, "collision"),
    ],
)
async def test_verdicts(tmp_path, fault, verdict):
    async with Rig(tmp_path) as rig:
        assert "error" not in await rig.port.world.command(dict(fault, cmd="fault"))
        result = await rig.search(uidFrom=1, uidTo=1)
        assert [found["verdict"] for found in result["foundDevices"]] == [verdict]


async def test_an_exception_is_an_answer_too(tmp_path):
    async with Rig(tmp_path) as rig:
        assert "error" not in await rig.port.world.command(
            {"cmd": "fault", "kind": "raw", "uid": 33, "hex": "218302c1f1", "count": 1}
        )
        result = await rig.search(uidFrom=33, uidTo=33)
        assert [found["uid"] for found in result["foundDevices"]] == [33]


def frame(uid, *pdu):
    return (bytes([uid, *pdu]) + crc16(bytes([uid, *pdu]))).hex()


@pytest.mark.parametrize(("fast", "first", "last"), [(True, 15, 19), (False, 17, 17)])
async def test_a_late_answer_to_somebody_else_makes_no_device(tmp_path, fast, first, last):
    async with Rig(tmp_path, late_horizon_ms=1000) as rig:
        assert "error" not in await rig.port.world.command(
            {"cmd": "fault", "kind": "late", "uid": 17, "count": 1, "delayMs": 1500}
        )
        late = await rig.bus.exchange(17, bytes([3, 0, 0, 0, 1]), INTERACTIVE, "test")
        assert late.error == "TIMEOUT"
        assert uids(await rig.search(uidFrom=first, uidTo=last, baudRate=2400, fastSearch=fast)) == []


@pytest.mark.parametrize("asked", [1, 5])
async def test_the_questions_of_another_master_are_no_devices(tmp_path, asked):
    async with Rig(tmp_path) as rig:
        fault = {"cmd": "fault", "kind": "raw", "uid": 1, "count": 64, "hex": frame(asked, 3, 0, 0, 0, 2)}
        assert "error" not in await rig.port.world.command(fault)
        assert uids(await rig.search(uidFrom=1, uidTo=5)) == [2]


async def test_a_slow_device_that_is_heard_too_late_is_asked_again(tmp_path):
    async with Rig(tmp_path, late_horizon_ms=1000) as rig:
        assert uids(await rig.search(uidFrom=16, uidTo=26)) == [17]


@pytest.mark.parametrize("code", [10, 11])
async def test_a_gateway_that_says_that_nobody_is_there_is_nobody(tmp_path, code):
    async with Rig(tmp_path) as rig:
        fault = {"cmd": "fault", "kind": "raw", "uid": 1, "count": 64, "hex": frame(1, 0x83, code)}
        assert "error" not in await rig.port.world.command(fault)
        assert "error" not in await rig.port.world.command(dict(fault, hex=frame(1, 0x84, code)))
        assert uids(await rig.search(uidFrom=1, uidTo=1)) == []


class Listener:
    """In place of the bus: unit 9 answers some functions alone, and is silent at others; counts what is asked."""

    def __init__(self, functions):
        self.functions = functions
        self.asked = []

    def refuse_where_it_only_listens(self):
        """It asks."""

    async def exchange(self, uid, pdu, lane, source, line, wait):
        self.asked.append((uid, pdu[0], line, wait))
        transaction = Transaction(uid, pdu, lane, source, wait, 0, line)
        if uid == 9 and pdu[0] in self.functions:
            transaction.answered(bytes([pdu[0], 2, 0, 0]), 0.0)
        else:
            transaction.finish("TIMEOUT", 0.0)
        await asyncio.sleep(0)
        return transaction


async def search_by(listener, **fields):
    discovery = Discovery(listener, SERIAL)
    discovery.begin(
        search_of(BODY.check(dict({"baudRate": 9600, "charFormat": 5, "uidFrom": 8, "uidTo": 10}, **fields)))
    )
    while discovery.is_running():
        await asyncio.sleep(0)
    result = find_result(discovery, True)
    assert (result["status"], result["progress"]) == ("DONE", 100)
    return uids(result)


@pytest.mark.parametrize("function", [3, 4, 1, 43, 17])
async def test_a_device_that_knows_one_function_alone_is_found(function):
    assert await search_by(Listener([function]), allProbes=True) == [9]
    assert await search_by(Listener([function]), fastSearch=True) == ([9] if function in (3, 4) else [])


async def test_who_was_found_is_asked_nothing_more():
    listener = Listener([4])
    await search_by(listener, allProbes=True)
    assert [function for uid, function, _, _ in listener.asked if uid == 9] == [3, 4]
    assert [function for uid, function, _, _ in listener.asked if uid == 10] == [3, 4, 1, 43, 17]


@pytest.mark.parametrize("rate", [75, 110, 300, 1200, 9600, 115200])
async def test_the_waits_of_a_search_follow_the_rate(rate):
    listener = Listener([])
    await search_by(listener, baudRate=rate, fastSearch=True)
    for _, _, line, wait in listener.asked:
        # The device's silence and answer, a tty that collects for 16 ms, and 10 ms for the device itself.
        assert wait >= 4.5 * line.char_time + 0.026
        assert wait <= 0.12 + 10 * line.char_time


async def test_a_second_start_is_busy_and_stop_ends_within_a_probe(tmp_path):
    async with Rig(tmp_path) as rig:
        assert find_result(rig.discovery, True) == {"status": "IDLE", "progress": 0, "etaSec": 0, "foundDevices": []}
        assert await rig.start() == {"status": "DONE"}
        assert await rig.start() == {"status": "BUSY"}
        await asyncio.sleep(0.2)
        running = find_result(rig.discovery, False)
        assert running["status"] == "RUNNING"
        assert 0 < running["etaSec"] < 120
        assert await rig.end() == {"status": "DONE"}
        assert find_result(rig.discovery, False)["status"] == "STOPPED"
        await asyncio.sleep(0.2)
        sent = rig.bus.state()["sent"]
        await asyncio.sleep(0.2)
        assert rig.bus.state()["sent"] == sent
        assert await rig.start(uidFrom=1, uidTo=1) == {"status": "DONE"}


async def test_stopped_is_said_when_the_last_probe_has_left_the_line(tmp_path):
    async with Rig(tmp_path) as rig:
        rig.discovery._serial = dict(SERIAL, responseTimeoutMs=60000)
        await rig.start(uidFrom=200, uidTo=247, fastSearch=False)
        while not rig.bus.state()["sent"]:
            await asyncio.sleep(0.01)
        assert await rig.end() == {"status": "DONE"}
        answer = await asyncio.wait_for(rig.bus.exchange(1, bytes([3, 0, 0, 0, 4]), INTERACTIVE, "test"), 10)
        assert (answer.error, rig.bus.state()["sent"]) == (None, 2)


async def test_normal_traffic_goes_on_during_a_search_at_other_settings(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.start(baudRate=115200, charFormat=0)
        for _ in range(20):
            answer = await rig.bus.exchange(1, bytes([3, 0, 0, 0, 4]), INTERACTIVE, "test")
            assert answer.error is None
            assert answer.answer[2:4] == bytes([0, 252])


async def test_a_vanished_port_ends_the_search_with_an_error(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.start()
        await asyncio.sleep(0.1)
        await rig.port.world.command({"cmd": "unplug"})
        assert (await rig.finish())["status"] == "ERROR"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"uidFrom": 5, "uidTo": 4}, "uidTo"),
        ({"baudRate": 74}, "baudRate"),
        ({"charFormat": 6}, "charFormat"),
        ({"baudRates": []}, "baudRates"),
        ({"baudRate": None}, "baudRate"),
    ],
)
async def test_bad_fields_are_named(fields, named):
    with pytest.raises(BadField, match=named):
        BODY.check(dict({"baudRate": 9600, "charFormat": 5}, **fields))
