"""The simulated Modbus world: its devices, its line in line time, and the whole process behind its ptys."""

import asyncio
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import types

import pytest
import serial
from pymodbus.client import ModbusSerialClient

from hal.simulated.world.client import World, WorldGone
from hal.simulated.world.commands import Commands
from hal.simulated.world.devices import Devices, Request
from hal.simulated.world.faults import Fault
from hal.simulated.world.line import Line
from hal.simulated.world.line_setting import LineSetting

READ_NAMEPLATE = bytes.fromhex("0300000004")
NAMEPLATE = bytes.fromhex("030800fc006808fc1388")


def rtu(uid: int, pdu: bytes) -> bytes:
    """An RTU frame, its CRC computed bit by bit as the specification has it."""
    frame = bytes([uid]) + pdu
    crc = 0xFFFF
    for byte in frame:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return frame + struct.pack("<H", crc)


def ascii_frame(uid: int, pdu: bytes) -> bytes:
    """An ASCII frame."""
    frame = bytes([uid]) + pdu
    return b":" + (frame + bytes([-sum(frame) & 0xFF])).hex().upper().encode() + b"\r\n"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A line whose time is the test's."""

    def __init__(self, baud_rate: int = 9600, stop_bits: int = 1) -> None:
        self.clock = Clock()
        self.tty = (baud_rate, stop_bits)
        self.devices = Devices(9600, "N", self.clock)
        self.line = Line(self.devices, self._arrived, lambda: self.tty)
        self.arrivals: list[tuple[float, bytes]] = []

    def _arrived(self, data: bytes) -> None:
        self.arrivals.append((self.clock.now, data))

    def send(self, data: bytes) -> float:
        """Send as the master; the time of the first bit."""
        self.line.receive(data, self.clock.now)
        return self.clock.now

    def run(self, seconds: float = 1.0) -> bytes:
        """Let time pass; what came to the master meanwhile."""
        end = self.clock.now + seconds
        while (due := self.line.next_due()) and due.time <= end:
            self.clock.now = max(self.clock.now, due.time)
            self.line.run(self.clock.now)
        self.clock.now = end
        arrived = b"".join(data for _, data in self.arrivals)
        self.arrivals.clear()
        return arrived

    def ask(self, uid: int, pdu: bytes) -> bytes:
        """What the line gives back to an RTU request."""
        self.send(rtu(uid, pdu))
        return self.run()


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def commands(devices) -> Commands:
    return Commands({}, devices)


@pytest.fixture
def devices() -> Devices:
    return Devices(9600, "N", Clock())


def ask(devices: Devices, uid: int, pdu: str) -> str:
    answer = devices.ask(Request(uid, bytes.fromhex(pdu), False), LineSetting(9600))
    return answer.pdu.hex() if answer else ""


@pytest.mark.parametrize(
    ("uid", "request_pdu", "answer_pdu"),
    [
        (1, "0300000004", "030800fc006808fc1388"),
        (1, "0400000001", "04024366"),  # the first half of 230.0 as a float
        (1, "0100000010", "01020000"),
        (1, "0200000003", "020107"),
        (2, "050003ff00", "050003ff00"),
        (2, "0f0000000a02ff03", "0f0000000a"),
        (100, "060001012c", "060001012c"),
        (100, "1000010002040064000a", "1000010002"),
        (100, "16000100f2000f", "16000100f2000f"),
        (100, "17000100010005000102abcd", "170205dc"),
        (1, "08000012345678", "08000012345678"),
        (1, "2b0e0400", "2b0e0483000001" + "000f" + b"Simulated Works".hex()),
        (100, "410102030405", "410504030201"),
        (100, "41", "41"),
    ],
)
def test_a_device_carries_out_each_standard_function(devices, uid, request_pdu, answer_pdu):
    assert ask(devices, uid, request_pdu) == answer_pdu


def test_report_server_id_names_the_device(devices):
    assert b"SIM-33" in bytes.fromhex(ask(devices, 33, "11"))


def test_each_device_has_its_own_identification(devices):
    for uid in (1, 33, 100):
        assert f"SIM-{uid}-".encode() not in bytes.fromhex(ask(devices, uid, "2b0e0100"))
        assert f"SIM-{uid}".encode() in bytes.fromhex(ask(devices, uid, "2b0e0100"))


@pytest.mark.parametrize(
    ("uid", "request_pdu", "answer_pdu"),
    [
        (1, "41", "c101"),  # the vendor's function is the drive's alone
        (2, "11", "9101"),
        (17, "2b0e0100", "ab01"),
        (1, "2b0d0100", "ab01"),
        (1, "0800010000", "8801"),
        (1, "7f", "ff01"),
        (1, "0300800001", "8302"),
        (1, "0600000001", "8602"),  # the nameplate is read only
        (1, "0300000000", "8303"),
        (1, "030000", "8303"),
        (2, "0500001234", "8503"),
        (1, "2b0e0900", "ab03"),
        (33, "0303ea0001", "8302"),
        (33, "0303ee0001", "8306"),
        (33, "0603ec0001", "8604"),
        (33, "0303f30001", "830b"),
        (1, "8303", ""),
    ],
)
def test_a_device_refuses_with_the_fitting_exception(devices, uid, request_pdu, answer_pdu):
    assert ask(devices, uid, request_pdu) == answer_pdu


def test_measured_values_change_with_time(bench):
    energy = bytes.fromhex("0400100002")
    before = struct.unpack(">I", bench.ask(1, energy)[3:7])[0]
    bench.clock.now += 100
    after = struct.unpack(">I", bench.ask(1, energy)[3:7])[0]
    assert 100 <= after - before <= 102


def test_inputs_of_the_relay_module_follow_its_coils(devices):
    ask(devices, 2, "050003ff00")
    assert ask(devices, 2, "0200000008") == "020108"
    ask(devices, 2, "0500030000")
    assert ask(devices, 2, "0200000008") == "020100"


def test_the_drive_follows_its_control_word(bench):
    assert bench.ask(100, bytes.fromhex("0400000002"))[3:7].hex() == "00020000"
    bench.ask(100, bytes.fromhex("0600000001"))
    bench.clock.now += 1
    status, speed = struct.unpack(">HH", bench.ask(100, bytes.fromhex("0400000002"))[3:7])
    assert status & 1 and 0 < speed < 1500
    bench.clock.now += 10
    assert bench.ask(100, bytes.fromhex("0400000002"))[3:7].hex() == "000305dc"


def test_a_broadcast_reaches_all_and_nobody_answers(bench):
    assert bench.ask(0, bytes.fromhex("0600050bad")) == b""
    for uid in (1, 2, 17, 33, 100):
        assert bench.ask(uid, bytes.fromhex("0300050001"))[3:5].hex() == "0bad"


@pytest.mark.parametrize(
    ("receiver", "sender", "heard"),
    [
        (LineSetting(9600), LineSetting(9600), True),
        (LineSetting(9600), LineSetting(9600, stop_bits=2), True),
        (LineSetting(9600, stop_bits=2), LineSetting(9600), True),
        (LineSetting(9600), LineSetting(9700), True),
        (LineSetting(9600), LineSetting(10400), False),
        (LineSetting(9600), LineSetting(9600, parity="E"), False),
        (LineSetting(9600, parity="E"), LineSetting(9600), False),
        (LineSetting(9600, parity="E"), LineSetting(9600, parity="O"), False),
        (LineSetting(9600, parity="E"), LineSetting(9600, parity="E"), True),
        (LineSetting(9600), LineSetting(9600, parity="M"), True),
        (LineSetting(9600), LineSetting(9600, parity="S"), False),
        (LineSetting(9600, parity="M"), LineSetting(9600, stop_bits=2), True),
        (LineSetting(9600, parity="M"), LineSetting(9600), False),
        (LineSetting(9600), LineSetting(9600, data_bits=7), False),
    ],
)
def test_a_uart_hears_only_what_matches_its_setting(receiver, sender, heard):
    assert receiver.hears(sender) is heard


def test_a_device_is_silent_at_another_rate_or_parity(bench):
    bench.tty = (19200, 1)
    assert bench.ask(1, READ_NAMEPLATE) == b""
    bench.tty = (9600, 1)
    bench.line.character_format("E", 8)
    assert bench.ask(1, READ_NAMEPLATE) == b""
    bench.devices.jumper(9600, "E", 1)
    assert bench.ask(1, READ_NAMEPLATE) == rtu(1, NAMEPLATE)


def test_an_answer_that_the_master_cannot_read_comes_garbled(bench):
    bench.line.character_format("M", 8)
    got = bench.ask(1, READ_NAMEPLATE)
    assert len(got) == 13 and got != rtu(1, NAMEPLATE)


def test_the_weather_station_talks_19200_even_parity_only(bench):
    assert bench.ask(247, bytes.fromhex("0300000001")) == b""
    bench.tty = (19200, 1)
    bench.line.character_format("E", 8)
    assert bench.ask(247, bytes.fromhex("0300000001")) == rtu(247, bytes.fromhex("030200f7"))


@pytest.mark.parametrize(("parity", "data_bits"), [("N", 8), ("E", 7), ("E", 8)])
def test_the_scales_talk_ascii_in_any_format(bench, parity, data_bits):
    bench.line.character_format(parity, data_bits)
    request = bytes.fromhex("0300000001")
    bench.send(ascii_frame(50, request))
    assert bench.run() == ascii_frame(50, bytes.fromhex("03020032"))
    assert bench.ask(50, request) == b""


def test_an_ascii_frame_may_pause_for_less_than_a_second(bench):
    frame = ascii_frame(50, bytes.fromhex("0300000001"))
    bench.send(frame[:6])
    bench.run(0.5)
    bench.send(frame[6:])
    assert bench.run() == ascii_frame(50, bytes.fromhex("03020032"))
    bench.send(frame[:6])
    bench.run(1.5)
    bench.send(frame[6:])
    assert bench.run() == b""


def test_rtu_devices_ignore_ascii_frames(bench):
    bench.send(ascii_frame(1, READ_NAMEPLATE))
    assert bench.run() == b""


@pytest.mark.parametrize(("baud_rate", "silence"), [(9600, 35 / 9600), (19200, 35 / 19200), (115200, 0.00175)])
def test_an_answer_begins_after_the_silence_and_takes_its_time(baud_rate, silence):
    bench = Bench(baud_rate)
    bench.devices.jumper(baud_rate, "N", 1)
    sent = bench.send(rtu(1, READ_NAMEPLATE))
    arrivals = bench.arrivals
    while due := bench.line.next_due():
        bench.clock.now = due.time
        bench.line.run(due.time)
    answer_start = sent + 80 / baud_rate + silence
    count = 0
    for when, data in arrivals:
        count += len(data)
        assert when == pytest.approx(answer_start + count * 10 / baud_rate, abs=1e-9)
        assert len(data) * 10 / baud_rate <= silence
    assert count == 13


def test_parity_and_stop_bits_make_characters_longer():
    bench = Bench(stop_bits=2)
    bench.ask(1, READ_NAMEPLATE)
    assert bench.line.stats()["requestWireUs"] == pytest.approx(8 * 11 / 9600 * 1e6, abs=1)
    assert bench.line.stats()["answerWireUs"] == pytest.approx(13 * 10 / 9600 * 1e6, abs=1)


def test_stats_tell_the_shortest_silence_and_start_anew(bench):
    bench.ask(1, READ_NAMEPLATE)
    bench.line.stats(reset=True)
    sent = bench.send(rtu(1, READ_NAMEPLATE))
    end = sent + 80 / 9600 + 35 / 9600 + 130 / 9600
    bench.run(end - sent + 0.005)
    bench.ask(1, READ_NAMEPLATE)
    stats = bench.line.stats()
    assert stats["shortestSilenceUs"] == 5000
    assert (stats["frames"], stats["answers"], stats["unreadable"]) == (2, 2, 0)
    assert stats["turnaroundUs"] == round(2 * 35 / 9600 * 1e6)


def test_a_request_glued_to_the_answer_before_is_not_answered(bench):
    bench.send(rtu(1, READ_NAMEPLATE))
    bench.run(250 / 9600)
    bench.clock.now = 100.0 + 245 / 9600 + 10 / 9600
    assert bench.ask(1, READ_NAMEPLATE) == b""
    assert bench.line.stats()["unreadable"] == 1
    assert bench.ask(1, READ_NAMEPLATE) == rtu(1, NAMEPLATE)


def test_a_switch_lets_masters_without_a_silence_in(bench):
    commands = Commands({"rs485": types.SimpleNamespace(line=bench.line)}, bench.devices)
    for needed, answer in ((True, b""), (False, rtu(1, NAMEPLATE)), (True, b"")):
        command = {"cmd": "silence", "needed": needed}
        assert commands.answer(json.dumps(command).encode()) == b"{}\n"
        bench.ask(1, READ_NAMEPLATE)
        bench.clock.now = bench.line._free_at
        assert bench.ask(1, READ_NAMEPLATE) == answer
        bench.clock.now += 1
    assert b"BadField" not in commands.answer(b'{"cmd":"silence"}')


def test_an_answer_that_is_doubled_comes_once_more_after_the_gap(bench):
    bench.line.add_fault(Fault("double", 1, 1, 0.02), bench.clock.now)
    sent = bench.send(rtu(1, READ_NAMEPLATE))
    end = 80 / 9600 + 35 / 9600 + 130 / 9600
    bench.clock.now = sent
    assert bench.run(end + 0.001) == rtu(1, NAMEPLATE)
    assert bench.run(0.015) == b""
    assert bench.run(0.1) == rtu(1, NAMEPLATE)


def test_two_requests_without_a_silence_are_one_unreadable_run(bench):
    bench.send(rtu(0, bytes.fromhex("0600050001")) + rtu(1, READ_NAMEPLATE))
    assert bench.run() == b""
    assert bench.line.stats()["unreadable"] == 1


def test_the_slow_device_answers_late_even_when_the_master_talks_to_another(bench):
    bench.send(rtu(17, bytes.fromhex("0300000001")))
    assert bench.run(0.1) == b""
    bench.send(rtu(1, READ_NAMEPLATE))
    assert bench.run(0.1) == rtu(1, NAMEPLATE)
    assert bench.run(0.2) == rtu(17, bytes.fromhex("030206a4"))


def test_two_devices_at_once_garble_each_other(bench):
    first = bench.send(rtu(17, bytes.fromhex("0300000001")))
    bench.run(first + 80 / 9600 + 0.3 - 200 / 9600 - bench.clock.now)
    bench.send(rtu(1, READ_NAMEPLATE))
    got = bench.run()
    assert len(got) == 13 + 3  # the second goes on after the first has ended
    assert rtu(1, NAMEPLATE) not in got and rtu(17, bytes.fromhex("030206a4")) not in got
    assert bench.line.stats()["collisions"] == 1


def test_a_request_into_an_answer_garbles_both(bench):
    bench.send(rtu(1, READ_NAMEPLATE))
    got = bench.run(150 / 9600)
    bench.send(rtu(2, READ_NAMEPLATE))
    got += bench.run()
    assert len(got) == 13 and got != rtu(1, NAMEPLATE)
    assert bench.line.stats()["shortestSilenceUs"] == 0


GOOD = rtu(1, NAMEPLATE)


@pytest.mark.parametrize(
    ("kind", "fits"),
    [
        ("silent", lambda got: got == b""),
        ("noise", lambda got: len(got) > len(GOOD) and got.endswith(GOOD)),
        ("noiseAfter", lambda got: len(got) > len(GOOD) and got.startswith(GOOD)),
        ("garble", lambda got: sum((a ^ b).bit_count() for a, b in zip(got, GOOD, strict=True)) == 1),
        ("truncate", lambda got: got == GOOD[:6]),
        ("wrongUnit", lambda got: got == rtu(2, NAMEPLATE)),
        ("wrongFunction", lambda got: got == rtu(1, b"\x04" + NAMEPLATE[1:])),
        ("wrongLength", lambda got: got == rtu(1, NAMEPLATE[:-1])),
    ],
)
def test_a_fault_spoils_one_answer(bench, kind, fits):
    bench.line.add_fault(Fault(kind, uid=1), bench.clock.now)
    assert bench.ask(2, bytes.fromhex("0300000001")) == rtu(2, bytes.fromhex("030201f4"))
    assert fits(bench.ask(1, READ_NAMEPLATE))
    assert bench.ask(1, READ_NAMEPLATE) == GOOD


def test_a_fault_lasts_as_many_answers_as_asked_or_until_cleared(bench):
    bench.line.add_fault(Fault("silent", count=2), bench.clock.now)
    assert bench.ask(1, READ_NAMEPLATE) + bench.ask(2, READ_NAMEPLATE) == b""
    assert bench.ask(1, READ_NAMEPLATE) == GOOD
    bench.line.add_fault(Fault("silent", count=1000), bench.clock.now)
    bench.line.clear()
    assert bench.ask(1, READ_NAMEPLATE) == GOOD


def test_a_late_answer_comes_after_its_delay(bench):
    bench.line.add_fault(Fault("late", seconds=0.7), bench.clock.now)
    bench.send(rtu(1, READ_NAMEPLATE))
    assert bench.run(0.7) == b""
    assert bench.run(0.1) == GOOD


def test_a_split_answer_pauses_in_its_middle(bench):
    bench.line.add_fault(Fault("split", seconds=0.2), bench.clock.now)
    bench.send(rtu(1, READ_NAMEPLATE))
    assert bench.run(0.2) == GOOD[:6]
    assert bench.run(0.1) == GOOD[6:]


def test_a_raw_answer_is_sent_as_given(bench):
    bench.line.add_fault(Fault("raw", data=b"\1\2\3"), bench.clock.now)
    assert bench.ask(1, READ_NAMEPLATE) == b"\1\2\3"


def test_an_echoing_line_gives_the_request_back_until_cleared(bench):
    bench.line.add_fault(Fault("echo"), bench.clock.now)
    for _ in range(2):
        bench.send(rtu(1, READ_NAMEPLATE))
        assert bench.run(79 / 9600) != rtu(1, READ_NAMEPLATE)
        assert bench.run().endswith(GOOD)
    bench.line.clear()
    assert bench.ask(1, READ_NAMEPLATE) == GOOD


def test_a_babbling_line_carries_nothing_else(bench):
    bench.line.add_fault(Fault("babble", seconds=0.5), bench.clock.now)
    bench.run(0.1)
    assert len(bench.ask(1, READ_NAMEPLATE)) == pytest.approx(384, abs=4)
    assert bench.ask(1, READ_NAMEPLATE) == GOOD


@pytest.fixture
async def world(tmp_path):
    world = World(str(tmp_path))
    await world.start()
    yield world
    await world.stop()


APART = 0.05  # seconds before a question: a world that had no processor time may have read the one before just now


class Master:
    """A master with nothing but pyserial."""

    def __init__(self, path: str, baud_rate: int = 9600):
        self.port = serial.Serial(path, baud_rate, timeout=5)

    def __enter__(self) -> "Master":
        return self

    def __exit__(self, *_: object) -> None:
        self.port.close()

    def ask(self, uid: int, pdu: bytes, length: int) -> bytes:
        """The answer's first `length` bytes."""
        time.sleep(APART)
        self.port.write(rtu(uid, pdu))
        return self.port.read(length)

    def hears_nothing(self, uid: int, pdu: bytes) -> bool:
        """Whether nobody answers within five times what an answer takes."""
        self.port.timeout = 0.2
        silent = self.ask(uid, pdu, 1) == b""
        self.port.timeout = 5
        return silent


async def test_a_raw_master_and_a_modbus_library_see_the_same_devices(world):
    with Master(world.port) as master, ModbusSerialClient(world.tool, baudrate=9600, timeout=5) as client:
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD
        assert client.read_holding_registers(0, count=4, device_id=1).registers == [252, 104, 2300, 5000]
        assert master.ask(100, bytes.fromhex("060064beef"), 8) == rtu(100, bytes.fromhex("060064beef"))
        assert client.read_holding_registers(100, device_id=100).registers == [0xBEEF]
        assert client.write_coils(0, [True, False, True], device_id=2).isError() is False
        assert client.read_discrete_inputs(0, count=3, device_id=2).bits[:3] == [True, False, True]
        assert client.read_holding_registers(1006, device_id=33).exception_code == 6


@pytest.mark.skipif(not shutil.which("mbpoll"), reason="mbpoll is not installed")
async def test_mbpoll_reads_the_same_values(world):
    command = ["mbpoll", "-m", "rtu", "-a", "1", "-t", "4", "-0", "-r", "0", "-c", "4", "-b", "9600", "-P", "none"]
    shown = subprocess.run([*command, "-1", "-o", "2", world.tool], capture_output=True, text=True, check=False).stdout
    assert [line.split()[1] for line in shown.splitlines() if line.startswith("[")] == ["252", "104", "2300", "5000"]


async def test_the_world_follows_the_rate_that_the_master_sets(world):
    with Master(world.port, 19200) as master:
        assert master.hears_nothing(1, READ_NAMEPLATE)
        assert await world.command({"cmd": "devices", "baudRate": 19200}) == {}
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD
        await world.command({"cmd": "devices", "baudRate": 31250, "parity": "E"})
        await world.command({"cmd": "line", "parity": "E"})
        assert master.hears_nothing(1, READ_NAMEPLATE)
        master.port.baudrate = 31250  # a rate without a constant of its own
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD


async def test_a_world_can_start_at_another_rate(tmp_path):
    world = World(str(tmp_path), baud_rate=115200, parity="N")
    await world.start()
    with Master(world.port, 115200) as master:
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD
    await world.stop()


async def test_no_byte_comes_earlier_than_the_wire_allows(world):
    with Master(world.port) as master:
        master.ask(1, READ_NAMEPLATE, 13)  # the world is up from here on
        time.sleep(0.02)
        began = time.monotonic()
        master.port.write(rtu(1, bytes.fromhex("030000000a")))
        received = 0
        while received < 25:
            received += len(master.port.read(1))
            assert time.monotonic() - began >= (80 + 35 + 10 * received) / 9600


async def test_silences_and_wire_times_can_be_read_and_reset(world):
    with Master(world.port) as master:
        master.ask(1, READ_NAMEPLATE, 13)
        assert "shortestSilenceUs" in await world.command({"cmd": "stats", "reset": True})
        time.sleep(0.02)
        master.ask(1, READ_NAMEPLATE, 13)
    stats = await world.command({"cmd": "stats"})
    assert stats.pop("shortestSilenceUs") == stats.pop("medianSilenceUs") >= 20_000
    assert stats == {
        "frames": 1,
        "answers": 1,
        "unreadable": 0,
        "collisions": 0,
        "requestWireUs": 8333,
        "answerWireUs": 13542,
        "turnaroundUs": 3646,
    }


async def test_faults_are_made_and_cleared_by_command(world):
    with Master(world.port) as master:
        await world.command({"cmd": "fault", "kind": "raw", "hex": "0102 03", "uid": 1})
        assert master.ask(1, READ_NAMEPLATE, 3) == b"\1\2\3"
        await world.command({"cmd": "fault", "kind": "silent", "count": 9})
        await world.command({"cmd": "clear"})
        time.sleep(0.02)
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD


async def test_unplugging_hangs_the_port_up_and_plugging_brings_it_back(world):
    with Master(world.port) as master:
        assert await world.command({"cmd": "unplug"}) == {}
        assert not os.path.lexists(world.port)
        with pytest.raises((OSError, serial.SerialException)):
            os.write(master.port.fileno(), b"x")
        plugged = await world.command({"cmd": "plug"})
        assert os.path.realpath(world.port) == plugged["path"]
        with Master(world.port) as again:
            assert again.ask(1, READ_NAMEPLATE, 13) == GOOD


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ({"cmd": "explode"}, "cmd: must be one of"),
        ({"kind": "silent"}, "cmd: must be one of"),
        ({"cmd": ["line"]}, "cmd: must be one of"),
        ({"cmd": "fault", "kind": "odd"}, "kind: must be one of"),
        ({"cmd": "fault", "kind": "raw", "hex": "0g"}, "hexadecimal"),
        ({"cmd": "devices", "baudRate": "fast"}, "baudRate: must be an integer"),
        ({"cmd": "line", "parity": "N", "colour": 1}, "colour: is unknown"),
        (["cmd"], "not an object"),
    ],
)
def test_a_bad_command_gets_an_error(commands, command, complaint):
    assert complaint in json.loads(commands.answer(json.dumps(command).encode()))["error"]


async def test_the_world_survives_bad_commands(world):
    assert "error" in await world.command({"cmd": "explode"})
    await world.command({"cmd": "unplug"})
    assert "error" in await world.command({"cmd": "fault", "kind": "babble"})
    assert await world.command({"cmd": "clear"}) == {}


async def test_stopping_ends_the_process_and_takes_the_ports_away(world):
    pid = world.pid
    await world.stop()
    assert os.listdir(os.path.dirname(world.port)) == []
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(WorldGone):
        await world.command({"cmd": "stats"})


async def test_a_killed_world_is_noticed_and_can_be_started_again(world):
    os.kill(world.pid, signal.SIGKILL)
    with pytest.raises(WorldGone):
        await world.command({"cmd": "stats"})
    await world.stop()
    await world.start()
    with Master(world.port) as master:
        assert master.ask(1, READ_NAMEPLATE, 13) == GOOD


async def test_the_world_ends_when_its_starter_is_killed(tmp_path):
    starter = subprocess.Popen([sys.executable, "-c", _STARTER, str(tmp_path)], stdout=subprocess.PIPE)
    assert starter.stdout and starter.stdout.readline() == b"started\n"
    assert sorted(os.listdir(tmp_path)) == ["rs485", "rs485-tool"]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    deadline = time.monotonic() + 5
    while os.listdir(tmp_path) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert os.listdir(tmp_path) == []


async def test_an_idle_world_uses_no_processor(world):
    with Master(world.port) as master:
        master.ask(1, READ_NAMEPLATE, 13)
    await asyncio.sleep(0.05)
    before = _switches(world.pid)
    await asyncio.sleep(0.2)
    assert _switches(world.pid) == before


def _switches(pid: int) -> str:
    """How often the process has gone to sleep so far: it does not when it never wakes."""
    with open(f"/proc/{pid}/status") as status:
        return next(line for line in status if line.startswith("voluntary"))


_STARTER = """
import asyncio, sys
from hal.simulated.world.client import World

async def main():
    await World(sys.argv[1]).start()
    print("started", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
