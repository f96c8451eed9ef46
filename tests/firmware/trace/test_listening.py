"""Setting serial.listenOnly: a device clipped to a line with another master, a real one, and the simulated world.

The master, the world and the device each have a pty; a relay between them is the line, which carries every byte at its
pace to whoever has not sent it.
"""

import os
import select
import subprocess
import sys
import threading
import time
import tty

import pytest
from pymodbus.client import ModbusSerialClient

from hal.rs485.framing import Line
from tests.firmware.running import BOARD, ROOT, Running
from tests.firmware.trace.test_captures import dissected, needs_tshark

LINE = Line(9600, 4)


class SharedLine:
    """A half-duplex line between a master's pty, the world's and one that only listens."""

    def __init__(self, folder):
        self.world = subprocess.Popen(
            [sys.executable, "-m", "hal.simulated.world.process", str(folder), "9600", "N"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.world.stdout.readline()
        self._master, self._master_slave = os.openpty()
        self._tap, self._tap_slave = os.openpty()
        self._units = os.open(str(folder / "rs485-tool"), os.O_RDWR | os.O_NOCTTY)
        for descriptor in (self._master, self._master_slave, self._tap, self._tap_slave, self._units):
            tty.setraw(descriptor)
        set_speed(self._units)
        self.master = os.ttyname(self._master_slave)
        self.tap = os.ttyname(self._tap_slave)
        self.said_by_tap = b""
        self._running = True
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def close(self):
        self._running = False
        self._thread.join()
        self.world.stdin.close()
        self.world.wait(10)
        self.world.stdout.close()
        for descriptor in (self._master, self._master_slave, self._tap, self._tap_slave, self._units):
            os.close(descriptor)

    def _carry(self):
        while self._running:
            readable, _, _ = select.select([self._master, self._units, self._tap], [], [], 0.05)
            for source in readable:
                data = os.read(source, 4096)
                if source == self._tap:
                    self.said_by_tap += data
                    continue
                os.write(self._units if source == self._master else self._master, data)
                for at in range(len(data)):  # the tap hears byte by byte
                    if source == self._master:
                        time.sleep(LINE.char_time)
                    os.write(self._tap, data[at : at + 1])


def set_speed(descriptor):
    import termios

    settings = termios.tcgetattr(descriptor)
    settings[4] = settings[5] = termios.B9600
    termios.tcsetattr(descriptor, termios.TCSANOW, settings)


@pytest.fixture
def line(tmp_path):
    shared = SharedLine(tmp_path)
    yield shared
    shared.close()


@needs_tshark
def test_a_device_that_only_listens_shows_what_another_master_asks_and_sends_nothing(line, tmp_path):
    state = tmp_path / "device"
    state.mkdir()
    serial = {"listenOnly": True, "baudRate": 9600, "charFormat": 4}
    board = dict(BOARD, rs485={"driver": "tty", "port": line.tap}, settings=dict(BOARD["settings"], serial=serial))
    with Running(state, board) as running:
        running.login()
        with ModbusSerialClient(line.master, baudrate=9600, timeout=1, retries=0) as master:
            registers = master.read_holding_registers(0, count=2, device_id=1).registers
            assert master.write_register(10, 77, device_id=100).registers == [77]
            assert master.read_holding_registers(60000, count=1, device_id=1).isError()
            with pytest.raises(Exception, match="No response"):
                master.read_holding_registers(0, count=1, device_id=99)
            assert master.read_coils(0, count=3, device_id=100).bits
        time.sleep(1.2)  # until the question to unit 99 counts as unanswered, had no other one come
        entries = running.get("modbus/trace/?since=0")["entries"]
        seen = [(entry["uid"], entry["func"], entry["cause"]) for entry in entries]
        assert seen == [(1, 3, None), (100, 6, None), (1, 3, "EXCEPTION"), (99, 3, "TIMEOUT"), (100, 1, None)]
        first = entries[0]
        assert (first["lane"], first["source"], first["question"]) == ("listen", "line", "010300000002")
        assert first["answer"] == "010304" + "".join(f"{value:04x}" for value in registers)
        assert LINE.wire_us(17) <= first["lineUs"] < 1000000
        packets = dissected(running.client.get("api/modbus/trace/capture/").content, tmp_path)
        assert packets[1]["modbus.regval_uint16"] == ",".join(str(value) for value in registers)
        asked = running.client.post("api/modbus/req/", json={"uid": 1, "func": 3, "addr": 0, "count": 1})
        assert (asked.status_code, asked.json()["error"]) == (503, "LISTEN_ONLY")
        search = {"baudRate": 9600, "charFormat": 4}
        assert running.client.post("api/modbus/find/start/", json=search).json()["error"] == "LISTEN_ONLY"
        assert running.get("modbus/find/result/")["status"] == "IDLE"
    assert line.said_by_tap == b""
