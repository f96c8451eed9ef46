"""The search, on the real port and the simulated world."""

import asyncio
import time

import pytest

from firmware.api.endpoints import ENDPOINTS
from firmware.services.bus.arbiter import INTERACTIVE, Bus
from firmware.services.search.devices import Discovery
from firmware.services.settings.table import SETTINGS
from hal.fields import BadField
from hal.simulated.rs485 import SimulatedPort

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

    def start(self, **fields):
        return self.discovery.begin(BODY.check(dict({"baudRate": 9600, "charFormat": 5, "fastSearch": True}, **fields)))

    async def finish(self, seconds=30):
        end = time.monotonic() + seconds
        while self.discovery.result(False)["status"] == "RUNNING":
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        return self.discovery.result(True)

    async def search(self, **fields):
        assert self.start(**fields) == {"status": "DONE"}
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
        assert result["foundDevices"][0]["identity"]


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


async def test_a_second_start_is_busy_and_stop_ends_within_a_probe(tmp_path):
    async with Rig(tmp_path) as rig:
        assert rig.discovery.result(True) == {"status": "IDLE", "progress": 0, "etaSec": 0, "foundDevices": []}
        assert rig.start() == {"status": "DONE"}
        assert rig.start() == {"status": "BUSY"}
        await asyncio.sleep(0.2)
        running = rig.discovery.result(False)
        assert running["status"] == "RUNNING"
        assert 0 < running["etaSec"] < 120
        assert await rig.discovery.end() == {"status": "DONE"}
        assert rig.discovery.result(False)["status"] == "STOPPED"
        await asyncio.sleep(0.2)
        sent = rig.bus.state()["sent"]
        await asyncio.sleep(0.2)
        assert rig.bus.state()["sent"] == sent
        assert rig.start(uidFrom=1, uidTo=1) == {"status": "DONE"}


async def test_normal_traffic_goes_on_during_a_search_at_other_settings(tmp_path):
    async with Rig(tmp_path) as rig:
        rig.start(baudRate=115200, charFormat=0)
        for _ in range(20):
            answer = await rig.bus.exchange(1, bytes([3, 0, 0, 0, 4]), INTERACTIVE, "test")
            assert answer.error is None
            assert answer.answer[2:4] == bytes([0, 252])


async def test_a_vanished_port_ends_the_search_with_an_error(tmp_path):
    async with Rig(tmp_path) as rig:
        rig.start()
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
