"""Captures of the trace: Wireshark's own program reads them, and shows what was on the line."""

import csv
import io
import shutil
import subprocess

import pytest

from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.captures import Capture
from firmware.services.trace.entry import FORWARD, Entry
from hal.rs485.framing import ASCII, Line
from tests.firmware.running import BOARD, Running

UTC = 1790000000000  # milliseconds
FIELDS = ("frame.time_epoch", "frame.comment", "frame.packet_flags_direction", "_ws.col.Protocol", "_ws.col.Info")
FIELDS += ("mbrtu.unit_id", "modbus.func_code", "modbus.regnum16", "modbus.regval_uint16", "modbus.bitval")
FIELDS += ("modbus.exception_code", "mbrtu.crc16.status")

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs Debian's tshark")


def dissected(data, tmp_path):
    """What tshark makes of a capture, told nothing but its name and to check checksums: a dictionary a packet."""
    path = tmp_path / "capture.pcapng"
    path.write_bytes(data)
    arguments = [argument for field in FIELDS for argument in ("-e", field)]
    check = ["-o", "mbrtu.crc_verification:TRUE"]
    outcome = subprocess.run(
        ["tshark", "-n", "-r", str(path), *check, "-T", "fields", "-E", "separator=|", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert outcome.returncode == 0, outcome.stderr
    return [dict(zip(FIELDS, line.split("|"), strict=True)) for line in outcome.stdout.splitlines()]


def kept(*entries):
    trace = BusTrace(65536, lambda: UTC, lambda: 0)
    for entry in entries:
        trace.add(entry)
    return trace


def exchange(at, question, answer="", line=(9600, 5, 0), **more):
    entry = Entry(0, "http 10.0.0.5", at, 1, bytes.fromhex(question))
    entry.answer = bytes.fromhex(answer)
    entry.line = line
    entry.line_us = 30000
    entry.first_us = 5000 if answer else None
    for name, value in more.items():
        setattr(entry, name, value)
    return entry


@needs_tshark
def test_tshark_shows_questions_and_answers_with_their_values_times_and_directions(tmp_path):
    trace = kept(exchange(1000001, "0300000002", "030404d2162e"), exchange(2000000, "0100130003", "010105"))
    packets = dissected(b"".join(Capture(trace, "pcapng", "MC252").parts()), tmp_path)
    assert [packet["_ws.col.Protocol"] for packet in packets] == ["Modbus RTU"] * 4
    assert [packet["_ws.col.Info"].split(":")[0].strip() for packet in packets] == ["Query", "Response"] * 2
    assert packets[1]["modbus.regval_uint16"] == "1234,5678"
    assert packets[3]["modbus.bitval"].lower() in ("1,0,1", "true,false,true")
    assert {packet["mbrtu.crc16.status"] for packet in packets} == {"1"}
    assert packets[0]["frame.time_epoch"] == "1790000001.000001000"
    sent = Line(9600, 5).wire_us(8)
    assert packets[1]["frame.time_epoch"] == f"1790000001.{5001 + sent:06d}000"
    assert packets[0]["frame.packet_flags_direction"] != packets[1]["frame.packet_flags_direction"]


@needs_tshark
def test_tshark_shows_causes_exceptions_and_what_was_thrown_away(tmp_path):
    late = bytes.fromhex("0103020007f986")
    trace = kept(
        exchange(1, "0300000001", "8302", cause="EXCEPTION"),
        exchange(2, "0300000001", cause="FOREIGN", heard_uid=7, thrown=[("noise", b"\x55\xaa"), ("late", late)]),
        exchange(3, "0600010007", "0600010007"),
        exchange(4, "0300000001", "030204d2", lane=FORWARD, line=None),
    )
    packets = dissected(b"".join(Capture(trace, "pcapng", "MC252").parts()), tmp_path)
    comments = [packet["frame.comment"] for packet in packets]
    assert packets[1]["modbus.exception_code"] == "2"
    assert comments[0].endswith("EXCEPTION")
    assert comments[2].endswith("FOREIGN: unit 7 answered")
    assert (comments[3], comments[4]) == ("2: thrown away: noise", "2: thrown away: late")
    assert packets[4]["modbus.regval_uint16"] == "7"
    assert (comments[5].startswith("3: question"), comments[6].startswith("3: answer")) == (True, True)
    assert packets[8]["modbus.regval_uint16"] == "1234"


@needs_tshark
@pytest.mark.parametrize(("uid", "frame_mode"), [(1, 0), (50, ASCII)])
def test_a_device_gives_a_capture_that_tshark_reads_for_rtu_and_ascii(tmp_path, uid, frame_mode):
    serial = {"frameMode": frame_mode, "responseTimeoutMs": 5000}  # however busy this machine is
    board = dict(BOARD, settings=dict(BOARD["settings"], serial=serial))
    with Running(tmp_path, board) as running:
        running.login()
        tid = running.post("modbus/req/", {"uid": uid, "func": 3, "addr": 0, "count": 2})["tid"]
        values = running.get(f"modbus/resp/?tid={tid}&wait=5000")["values"]
        assert values
        page = running.get("modbus/trace/")
        entry = page["entries"][-1]
        assert (entry["n"], entry["uid"], entry["question"]) == (page["last"], uid, f"{uid:02x}0300000002")
        assert (entry["lane"], entry["source"]) == ("interactive", "http 127.0.0.1")
        assert entry["frameMode"] == frame_mode
        assert 0 < entry["firstByteUs"] < entry["lineUs"] < 5000000
        answer = running.client.get("api/modbus/trace/capture/")
        assert "modbus.pcapng" in answer.headers["Content-Disposition"]
        packets = dissected(answer.content, tmp_path)
        assert packets[-1]["modbus.regval_uint16"] == ",".join([str(value) for value in values])
        assert [packet["mbrtu.unit_id"] for packet in packets[-2:]] == [str(uid)] * 2
        table = running.client.get("api/modbus/trace/capture/?format=csv")
        row = list(csv.DictReader(io.StringIO(table.text)))[-1]
        assert (row["question"], row["answer"]) == (entry["question"], entry["answer"])
