"""Recordings of the trace on the SD card: whole however they end."""

import asyncio
import csv

import pytest

from firmware.services.card.files import CardFiles
from firmware.services.errors import Refused
from firmware.services.trace import recording as trace_recording
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.entry import Entry
from firmware.services.trace.recording import Recording
from hal.contracts import CardFull
from hal.simulated.card import SimulatedCard
from tests.firmware.running import Running
from tests.firmware.trace.test_captures import dissected, needs_tshark

UTC = 1790000000000


class Rig:
    """A recording on a simulated card whose time the test makes."""

    def __init__(self, folder, monkeypatch, size=65536):
        monkeypatch.setattr(trace_recording, "WRITE_SEC", 0.01)
        self.folder = folder / "card"
        self.folder.mkdir()
        self.card = SimulatedCard(SimulatedCard.OPTIONS.check({"folder": str(self.folder)}), str(folder))
        self.now = 1000000
        self.trace = BusTrace(size, lambda: UTC, lambda: self.now * 1000)
        self.files = CardFiles(self.card, str)
        self.recording = Recording(self.trace, self.files, "MC252", lambda: self.now)

    def add(self, count=1):
        for _ in range(count):
            entry = Entry(0, "http 10.0.0.5", self.now * 1000, 1, b"\x03\0\0\0\1")
            entry.answer = b"\x03\x02\x04\xd2"
            entry.line = (9600, 5, 0)
            self.trace.add(entry)

    async def until(self, **members):
        for _ in range(500):
            state = self.recording.state()
            if all(state[name] == value for name, value in members.items()):
                return state
            await asyncio.sleep(0.01)
        raise AssertionError(state)

    def rows(self):
        return list(csv.DictReader((self.folder / "night.csv").read_text().splitlines()))


async def test_what_passes_from_the_start_on_is_recorded_until_the_time_is_over(tmp_path, monkeypatch):
    rig = Rig(tmp_path, monkeypatch)
    rig.add(5)
    await rig.recording.begin("/night.csv", 60, 1 << 20)
    assert (rig.recording.state()["status"], rig.recording.state()["secLeft"]) == ("RUNNING", 60)
    rig.add(3)
    await rig.until(entries=3)
    rig.now += 30000
    rig.add(2)
    state = await rig.until(entries=5)
    assert (state["status"], state["secLeft"]) == ("RUNNING", 30)
    rig.now += 30000
    state = await rig.until(status="DONE")
    assert [int(row["n"]) for row in rig.rows()] == [6, 7, 8, 9, 10]
    assert state["bytes"] == (rig.folder / "night.csv").stat().st_size


async def test_who_stops_gets_all_that_was_there(tmp_path, monkeypatch):
    rig = Rig(tmp_path, monkeypatch)
    monkeypatch.setattr(trace_recording, "WRITE_SEC", 60)
    await rig.recording.begin("/night.csv", 3600, 1 << 20)
    with pytest.raises(Refused, match="under way"):
        await rig.recording.begin("/other.csv", 60, 1 << 20)
    rig.add(2000)
    await rig.recording.end()
    state = rig.recording.state()
    assert (state["status"], state["entries"] + state["lost"], len(rig.rows())) == ("STOPPED", 2000, state["entries"])
    assert state["lost"] > 0
    await rig.recording.begin("/night.csv", 60, 1 << 20)
    await rig.recording.stop()
    assert rig.rows() == []


@needs_tshark
async def test_a_file_is_never_longer_than_it_may_be_and_ends_with_a_whole_packet(tmp_path, monkeypatch):
    rig = Rig(tmp_path, monkeypatch)
    await rig.recording.begin("/night.pcapng", 3600, 20000)
    for _ in range(20):
        rig.add(20)
        await asyncio.sleep(0.02)
    state = await rig.until(status="DONE")
    assert 10000 < state["bytes"] <= 20000
    packets = dissected((rig.folder / "night.pcapng").read_bytes(), tmp_path)
    assert len(packets) == 2 * state["entries"]


async def test_a_card_that_is_pulled_ends_it_and_so_does_one_that_is_full(tmp_path, monkeypatch):
    rig = Rig(tmp_path, monkeypatch)
    await rig.recording.begin("/night.csv", 3600, 1 << 20)
    rig.add()
    await rig.until(entries=1)

    def full(size):
        raise CardFull

    rig.card.before_write = full
    rig.add()
    assert (await rig.until(status="ERROR"))["errorCode"] == "CARD_FULL"
    assert len(rig.rows()) == 1
    del rig.card.before_write
    await rig.recording.begin("/night.csv", 3600, 1 << 20)
    await rig.files.eject()
    rig.add()
    assert (await rig.until(status="ERROR"))["errorCode"] == "NO_CARD"
    with pytest.raises(Refused):
        await rig.recording.begin("/night.csv", 3600, 1 << 20)
    assert rig.recording.state()["errorCode"] == "NO_CARD"


def test_a_device_records_what_passes_on_its_line(tmp_path):
    with Running(tmp_path) as running:
        running.login()
        refused = running.client.post("api/modbus/trace/record/", json={})
        assert (refused.status_code, "filePath" in refused.json()["message"]) == (400, True)
        assert running.post("modbus/trace/record/", {"filePath": "/logs/line.csv"})["status"] == "RUNNING"
        again = running.client.post("api/modbus/trace/record/", json={"filePath": "/x.csv"})
        assert (again.status_code, again.json()["error"]) == (409, "RECORDING")
        tid = running.post("modbus/req/", {"uid": 1, "func": 3, "addr": 0, "count": 1})["tid"]
        running.get(f"modbus/resp/?tid={tid}&wait=5000")
        stopped = running.post("modbus/trace/record/", {"stop": True})
        assert (stopped["status"], stopped["entries"]) == ("STOPPED", 1)
        assert running.get("state/get/?recording")["recording"] == stopped
        assert running.post("card/file/info/", {"path": "/logs/line.csv"})["size"] == stopped["bytes"]
