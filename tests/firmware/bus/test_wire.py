"""Everything that goes wrong on a wire, from the API's requests down to the simulated devices and back."""

import asyncio
import random
import shutil
import subprocess

import pytest

from firmware.api.endpoints import ENDPOINTS
from firmware.api.endpoints.bus.modbus import modbus_req, modbus_resp
from firmware.services.bus.arbiter import Bus
from firmware.services.routing.requests import RESULTS_LIMIT, ModbusRequests
from firmware.services.settings.table import SETTINGS
from hal.simulated.rs485 import SimulatedPort
from tests.firmware.calls import call

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
BODY = next(endpoint.body for endpoint in ENDPOINTS if endpoint.path == "/api/modbus/req/")
NAMEPLATE = [252, 104, 2300, 5000]


class Rig:
    def __init__(self, state_dir, **serial):
        self.now = 0.0
        self.state_dir = state_dir
        self.port = SimulatedPort({}, str(state_dir))
        self.bus = Bus(self.port, dict(dict(SERIAL, lateHorizonMs=200, healthCheck=False), **serial))
        self.requests = ModbusRequests(self.bus, lambda: self.now)

    async def __aenter__(self):
        await self.port.start()
        await self.bus.start()
        return self

    async def __aexit__(self, *exc):
        await self.bus.stop()

    async def ask(self, **fields):
        return await self.result(await self.submit(**fields), 10000)

    async def submit(self, **fields):
        return (await modbus_req(call({"modbus_requests": self.requests}, BODY.check(fields))))["tid"]

    async def result(self, tid, wait):
        """As HTTP has it, waited for so many milliseconds."""
        return await modbus_resp(call({"modbus_requests": self.requests}, query={"tid": tid, "wait": wait}))

    async def read(self, uid=1, addr=0, count=4, func=3, **more):
        return await self.ask(uid=uid, func=func, addr=addr, count=count, **more)

    async def world(self, **command):
        answer = await self.port.world.command(command)
        assert "error" not in answer, answer
        return answer


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"kind": "silent"}, "TIMEOUT"),
        ({"kind": "late", "delayMs": 350}, "TIMEOUT"),
        ({"kind": "noise"}, None),
        ({"kind": "noiseAfter"}, None),
        ({"kind": "garble"}, "BAD_FRAME"),
        ({"kind": "truncate"}, "BAD_FRAME"),
        ({"kind": "wrongUnit"}, "FOREIGN"),
        ({"kind": "wrongFunction"}, "BAD_FRAME"),
        ({"kind": "wrongLength"}, "BAD_FRAME"),
        ({"kind": "split", "gapMs": 10}, None),
        ({"kind": "raw", "hex": "ffff00aa"}, "BAD_FRAME"),
        ({"kind": "raw", "hex": "0103020005"}, "BAD_FRAME"),
    ],
)
async def test_each_fault_has_its_code_and_the_next_answer_is_right(tmp_path, fault, error):
    async with Rig(tmp_path) as rig:
        await rig.world(cmd="fault", uid=1, count=1, **fault)
        result = await rig.read()
        assert result["errorCode"] == error
        assert result["status"] == ("DONE" if error is None else "ERROR")
        assert result["values"] == (NAMEPLATE if error is None else None)
        assert (result["raw"] is not None) == (error in ("BAD_FRAME", "FOREIGN"))
        assert (result["heardUid"] is not None) == (error == "FOREIGN")
        if error is not None:
            assert result["elapsedMs"] < 1000
        other, again = await asyncio.gather(rig.read(uid=33, addr=0, count=1), rig.read())
        assert other["status"] == "DONE"
        assert again["values"] == NAMEPLATE


async def test_an_echoing_adapter(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.world(cmd="fault", kind="echo")
        assert (await rig.read())["values"] == NAMEPLATE
        write = {"uid": 100, "func": 6, "addr": 10, "value": 77}
        assert (await rig.ask(**write))["status"] == "DONE"
        assert (await rig.read(uid=77))["errorCode"] == "ECHO"
        assert (await rig.ask(**dict(write, uid=77)))["errorCode"] == "ECHO"
        assert (await rig.read(uid=100, addr=10, count=1))["values"] == [77]
        await rig.world(cmd="clear")
        assert (await rig.read())["values"] == NAMEPLATE
        assert (await rig.ask(**write))["status"] == "DONE"


async def test_a_babbling_line_ends_in_an_error_in_time_and_recovers(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.world(cmd="fault", kind="babble", ms=600)
        result = await rig.read()
        assert result["errorCode"] in ("BAD_FRAME", "TIMEOUT", "FOREIGN")
        await asyncio.sleep(0.7)
        assert (await rig.read())["values"] == NAMEPLATE


async def test_exceptions_pass_through(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.read(addr=60000, count=1)
        assert (result["status"], result["errorCode"], result["exception"]) == ("ERROR", "EXCEPTION", 2)


async def test_the_bytes_of_a_raw_fault_may_be_digits_alone(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.port.control(["fault", "raw", "uid=1", "hex=0102030405"])
        result = await rig.read()
        assert (result["errorCode"], result["raw"]) == ("BAD_FRAME", "AQIDBAU=")


async def test_ascii_devices_with_8_data_bits(tmp_path):
    async with Rig(tmp_path, frameMode=1, charFormat=4, asciiDataBits=8) as rig:
        assert rig.port.line.data_bits == 8
        assert (await rig.read(uid=50, count=1))["values"] == [50]


async def test_a_slow_device_answers_within_a_timeout_of_its_own(tmp_path):
    async with Rig(tmp_path) as rig:
        assert (await rig.read(uid=17, count=1))["errorCode"] == "TIMEOUT"
        result = await rig.read(uid=17, count=1, timeoutMs=1000)
        assert result["status"] == "DONE"
        assert result["elapsedMs"] >= 300


async def test_any_function_code_goes_through_unchanged(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.ask(uid=100, func=0x41, data="AAECAwQFBgcICQ==")
        assert result["data"] == "CQgHBgUEAwIBAA=="
        for func in (7, 99, 127):
            result = await rig.ask(uid=1, func=func, data="")
            assert (result["errorCode"], result["exception"]) == ("EXCEPTION", 1)


async def test_a_broadcast_reaches_all_and_has_no_answer(tmp_path):
    async with Rig(tmp_path) as rig:
        result = await rig.ask(uid=0, func=6, addr=10, value=4321)
        assert (result["status"], result["data"], result["values"]) == ("DONE", "", None)
        assert result["elapsedMs"] >= 100
        assert (await rig.read(uid=100, addr=10, count=1))["values"] == [4321]


async def test_coils_and_registers_of_all_four_kinds(tmp_path):
    async with Rig(tmp_path) as rig:
        assert (await rig.ask(uid=2, func=15, addr=0, values=[1, 0, 1, 1, 0, 0, 0, 1, 1]))["status"] == "DONE"
        expected = [True, False, True, True, False, False, False, True, True]
        assert (await rig.read(uid=2, func=1, count=9))["values"] == expected
        assert len((await rig.read(uid=2, func=2, count=8))["values"]) == 8
        assert len((await rig.read(uid=1, func=4, count=2))["values"]) == 2
        assert (await rig.ask(uid=100, func=16, addr=10, values=[5, 6, 7]))["status"] == "DONE"
        assert (await rig.read(uid=100, addr=10, count=3))["values"] == [5, 6, 7]


async def test_other_rates_parities_and_framings(tmp_path):
    async with Rig(tmp_path, baudRate=19200, charFormat=0) as rig:
        assert (await rig.read(uid=247, count=1))["status"] == "DONE"
        assert (await rig.read(uid=1, count=1))["status"] == "ERROR"
    async with Rig(tmp_path, frameMode=1, charFormat=0) as rig:
        assert (await rig.read(uid=50, count=1))["status"] == "DONE"


@pytest.mark.parametrize("char_format", range(6))
async def test_every_character_format_is_taken(tmp_path, char_format):
    async with Rig(tmp_path, charFormat=char_format) as rig:
        await rig.world(
            cmd="devices", baudRate=9600, parity="EOSMNN"[char_format], stopBits=(1, 1, 1, 1, 1, 2)[char_format]
        )
        assert (await rig.read())["values"] == NAMEPLATE


async def test_nobody_ever_gets_somebody_elses_data(tmp_path):
    source = random.Random(11)
    kinds = ["silent", "late", "noise", "noiseAfter", "garble", "truncate", "wrongUnit", "wrongFunction", "wrongLength"]
    async with Rig(tmp_path, baudRate=115200, responseTimeoutMs=20, lateHorizonMs=60) as rig:
        await rig.world(cmd="devices", baudRate=115200)
        for start in range(0, 30, 10):
            values = [1000 + register for register in range(start, start + 10)]
            assert (await rig.ask(uid=100, func=16, addr=10 + start, values=values))["status"] == "DONE"
        counts = {}

        async def client(uid):
            for _ in range(60):
                if uid == 1:
                    addr = source.randrange(4)
                    result = await rig.read(uid=1, addr=addr, count=1)
                    right = [NAMEPLATE[addr]]
                else:
                    addr = source.randrange(30)
                    result = await rig.read(uid=100, addr=10 + addr, count=1)
                    right = [1000 + addr]
                counts[result["errorCode"]] = counts.get(result["errorCode"], 0) + 1
                assert result["values"] in (right, None)
                if source.random() < 0.4:
                    fault = {"kind": source.choice(kinds), "uid": source.choice([1, 100]), "count": 1, "delayMs": 30}
                    await rig.world(cmd="fault", **fault)

        await asyncio.gather(client(1), client(100), client(1), client(100))
        assert counts[None] > 40
        assert {"TIMEOUT", "BAD_FRAME", "FOREIGN"} <= set(counts)


async def test_results_live_a_minute_and_are_bounded(tmp_path):
    async with Rig(tmp_path, baudRate=115200) as rig:
        await rig.world(cmd="devices", baudRate=115200)
        first = await rig.read(count=1)
        assert first["tid"] == 1
        assert (await rig.result(1, 0)) == first
        for _ in range(RESULTS_LIMIT):
            await rig.read(count=1)
        assert len(rig.requests._entries) == RESULTS_LIMIT
        with pytest.raises(Exception, match="there is no result 1"):
            await rig.result(1, 0)
        assert (await rig.result(2, 0))["status"] == "DONE"


async def test_a_result_is_pending_until_it_is_there(tmp_path):
    async with Rig(tmp_path) as rig:
        tid = await rig.submit(uid=17, func=3, addr=0, count=1, timeoutMs=900)
        assert (await rig.result(tid, 0))["status"] == "PENDING"
        assert (await rig.result(tid, 10))["status"] == "PENDING"
        assert (await rig.result(tid, 5000))["status"] == "DONE"


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
async def test_an_independent_tool_on_the_second_port_agrees(tmp_path):
    async with Rig(tmp_path) as rig:
        tool = rig.port.world.tool
        for kind, func, uid, addr, count in (("4", 3, 1, 0, 4), ("4", 3, 100, 10, 5), ("0", 1, 2, 0, 8)):
            output = await asyncio.to_thread(
                subprocess.run,
                f"mbpoll -m rtu -b 9600 -P none -t {kind} -a {uid} -0 -r {addr} -c {count} -1 -o 2 {tool}".split(),
                capture_output=True,
                text=True,
                timeout=20,
            )
            found = [int(line.split()[1]) for line in output.stdout.splitlines() if line.startswith("[")]
            assert [int(value) for value in (await rig.read(uid, addr, count, func))["values"]] == found
