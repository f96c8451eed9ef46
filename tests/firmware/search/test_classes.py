"""The template search, on the real port and the simulated world."""

import asyncio
import json
import time

import pytest

from firmware.api.endpoints.bus.search import class_find_meta_info, class_find_start, class_find_stop, class_result
from firmware.services.bus.arbiter import Bus
from firmware.services.errors import Refused
from firmware.services.search import classes as template_search
from firmware.services.search.absent import NoTemplateSearch
from firmware.services.search.classes import TemplateSearch
from firmware.services.settings.table import SETTINGS
from hal.simulated.rs485 import SimulatedPort
from tests.firmware.calls import call

SERIAL = next(field.default for field in SETTINGS if field.name == "serial")
METER = {
    "meta": {"class": "meter.simulated", "title": "Simulated energy meter", "version": "1"},
    "identify": [{"func": 3, "addr": 0, "count": 2, "equals": [252, 104]}],
    "params": [
        {"name": "mains", "func": 3, "addr": 2, "type": "uint16", "scale": 0.1, "unit": "V"},
        {"name": "frequency", "func": 3, "addr": 3, "type": "uint16", "scale": 0.01, "unit": "Hz"},
        {"name": "voltage", "func": 4, "addr": 0, "type": "float32", "unit": "V"},
        {"name": "phase1", "func": 2, "addr": 0, "type": "bool"},
        {"name": "absent", "func": 4, "addr": 5000, "type": "uint16"},
    ],
}
LINE = (9600, 5, 0)


class Rig:
    def __init__(self, state_dir, files):
        self.port = SimulatedPort({}, str(state_dir))
        self.bus = Bus(self.port, dict(SERIAL, lateHorizonMs=50))
        self.files = files
        self.search = TemplateSearch(self.bus, self.read, dict(SERIAL))
        self.services = {"template_search": self.search}

    async def read(self, path, limit):
        if path not in self.files:
            raise Refused("NOT_FOUND", "there is no such file")
        if len(self.files[path]) > limit:
            raise Refused("TOO_LARGE", "too long")
        return self.files[path]

    async def begin(self, path, line, with_meta):
        """As HTTP has it."""
        body = dict(zip(("baudRate", "charFormat", "frameMode"), line, strict=True), filePath=path)
        return await class_find_start(call(self.services, body, {"search-meta-info": with_meta}))

    async def meta_info(self, path):
        return await class_find_meta_info(call(self.services, {"filePath": path}))

    async def end(self):
        return await class_find_stop(call(self.services))

    def result(self):
        return class_result(self.search)

    async def __aenter__(self):
        await self.port.start()
        await self.bus.start()
        return self

    async def __aexit__(self, *exc):
        await self.search.stop()
        await self.bus.stop()

    async def finish(self):
        end = time.monotonic() + 30
        while self.result()["status"] == "RUNNING":
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        return self.result()


@pytest.fixture
def few_units(monkeypatch):
    monkeypatch.setattr(template_search, "LAST_UID", 3)
    monkeypatch.setattr(template_search, "THOROUGH_WAIT", 0.05)


async def test_a_device_of_the_class_is_found_with_its_parameters(tmp_path, few_units):
    async with Rig(tmp_path, {"/meter.json": json.dumps(METER).encode()}) as rig:
        assert rig.result()["status"] == "IDLE"
        started = await rig.begin("/meter.json", LINE, True)
        assert started == {
            "status": "DONE",
            "errorCode": None,
            "metaInfo": dict(METER["meta"], manufacturer="", source=""),
        }
        assert (await rig.begin("/meter.json", LINE, False))["status"] == "BUSY"
        result = await rig.finish()
        assert (result["status"], result["progress"], result["etaSec"]) == ("DONE", 100, 0)
        (found,) = result["foundDevices"]
        assert (found["uid"], found["class"], found["title"]) == (1, "meter.simulated", "Simulated energy meter")
        assert found["baudRate"] == 9600
        params = found["params"]
        assert (params["mains"], params["frequency"], params["phase1"], params["absent"]) == (230.0, 50.0, True, None)
        assert 150 < float(params["voltage"]) < 300


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "silent", "count": 1},
        {"kind": "garble", "count": 2},
        {"kind": "raw", "hex": "0183058133", "count": 1},
        {"kind": "raw", "hex": "018306c132", "count": 2},
    ],
)
async def test_an_answer_that_is_lost_or_spoilt_hides_no_device(tmp_path, few_units, fault):
    async with Rig(tmp_path, {"/meter.json": json.dumps(METER).encode()}) as rig:
        assert "error" not in await rig.port.world.command(dict(fault, cmd="fault", uid=1))
        await rig.begin("/meter.json", LINE, False)
        result = await rig.finish()
        found = [(device["uid"], device["params"]["mains"]) for device in result["foundDevices"]]
        assert (found, result["unjudged"]) == ([(1, 230.0)], [])


@pytest.mark.parametrize(("address", "reason"), [(1005, "EXCEPTION 5"), (1006, "EXCEPTION 6"), (1004, "EXCEPTION 4")])
async def test_what_answers_but_cannot_be_judged_is_listed_with_its_reason(tmp_path, monkeypatch, address, reason):
    monkeypatch.setattr(template_search, "FIRST_UID", 32)
    monkeypatch.setattr(template_search, "LAST_UID", 34)
    monkeypatch.setattr(template_search, "THOROUGH_WAIT", 0.05)
    rules = [{"func": 3, "addr": address, "count": 1, "equals": [1]}]
    async with Rig(tmp_path, {"/t.json": json.dumps(dict(METER, identify=rules)).encode()}) as rig:
        await rig.begin("/t.json", LINE, False)
        result = await rig.finish()
        assert (result["foundDevices"], result["unjudged"]) == ([], [{"uid": 33, "reason": reason}])


@pytest.mark.parametrize(("refusable", "found"), [(True, [1]), (False, [])])
async def test_a_rule_may_hold_for_devices_that_lack_its_registers(tmp_path, few_units, refusable, found):
    rules = [*METER["identify"], {"func": 3, "addr": 9000, "count": 1, "equals": [1], "orRefused": refusable}]
    async with Rig(tmp_path, {"/t.json": json.dumps(dict(METER, identify=rules)).encode()}) as rig:
        await rig.begin("/t.json", LINE, False)
        result = await rig.finish()
        assert [device["uid"] for device in result["foundDevices"]] == found
        assert result["unjudged"] == []


async def test_why_a_parameter_is_null_is_said(tmp_path, few_units):
    async with Rig(tmp_path, {"/meter.json": json.dumps(METER).encode()}) as rig:
        await rig.begin("/meter.json", LINE, False)
        (found,) = (await rig.finish())["foundDevices"]
        assert found["missing"] == {"absent": "EXCEPTION 2"}


@pytest.mark.parametrize("path", ["/builtin/templates/wirenboard-mr6.json", "/BUILTIN/Templates/Wirenboard-MR6.json"])
async def test_shipped_templates_need_no_card(tmp_path, few_units, path):
    async with Rig(tmp_path, {}) as rig:
        started = await rig.begin(path, LINE, True)
        assert (started["status"], started["metaInfo"]["class"]) == ("DONE", "relay.wirenboard.mr6")
        assert (await rig.finish())["status"] == "DONE"


@pytest.mark.parametrize("name", ["", "no.json", "../templates/wirenboard-mr6.json", "wirenboard-mr6", "x/y"])
async def test_there_is_nothing_else_among_the_shipped_templates(tmp_path, name):
    async with Rig(tmp_path, {}) as rig:
        info = await rig.meta_info("/builtin/templates/" + name)
        assert info["errorCode"].startswith("NOT_FOUND: there is no such template: eastron-sdm230.json, ")


async def test_stop_ends_it(tmp_path):
    async with Rig(tmp_path, {"/meter.json": json.dumps(METER).encode()}) as rig:
        await rig.begin("/meter.json", LINE, False)
        await asyncio.sleep(0.1)
        assert rig.result()["etaSec"] > 0
        assert await rig.end() == {"status": "DONE"}
        assert rig.result()["status"] == "STOPPED"


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({}, "NOT_FOUND"),
        ({"/t.json": b"\xff\xd8\xff\xe0 JFIF"}, "BAD_TEMPLATE"),
        ({"/t.json": b"x" * 10_000_000}, "BAD_TEMPLATE: the file must not be longer"),
        ({"/t.json": b'{\n"meta": 5,\n"identify": [], "params": []}'}, "BAD_TEMPLATE: line 2: meta: must be an object"),
    ],
)
async def test_a_bad_file_is_said(tmp_path, files, code):
    async with Rig(tmp_path, files) as rig:
        info = await rig.meta_info("/t.json")
        assert (info["status"], info["metaInfo"]) == ("ERROR", None)
        assert info["errorCode"].startswith(code)
        started = await rig.begin("/t.json", LINE, False)
        assert started["errorCode"].startswith(code)
        assert rig.result()["status"] == "IDLE"


async def test_without_a_port_it_says_so():
    search = NoTemplateSearch()
    with pytest.raises(Refused, match="no RS-485 port"):
        await search.begin("/t.json", LINE)
