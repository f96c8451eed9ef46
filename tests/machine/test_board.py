"""The simulated microcontroller as `make run-micropython` starts it: what the Modbus world answers through its UART."""

import json
import signal
import socket
import struct
import subprocess
import sys
import urllib.request

import pytest

from tests.machine.starter import ROOT
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Running:
    """A board that runs, and the ports at which it serves."""

    def __init__(self, folder):
        self.http, self.modbus = free_port(), free_port()
        arguments = ["-m", "firmware", "--board", "board-configs/micropython-unix.json", "--state-dir", str(folder)]
        addresses = ["--http", f"127.0.0.1:{self.http}", "--modbus-tcp", f"127.0.0.1:{self.modbus}"]
        command = [sys.executable, "-m", "tests.machine.starter", str(folder), "--", *arguments, *addresses]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert f"Modbus TCP 127.0.0.1:{self.modbus}" in self.process.stdout.readline()

    def ask(self, uid, pdu):
        """The PDU that answers one by Modbus TCP."""
        with socket.create_connection(("127.0.0.1", self.modbus), timeout=10) as sock:
            sock.sendall(struct.pack(">HHHB", 7, 0, len(pdu) + 1, uid) + pdu)
            return sock.recv(300)[7:]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=10)
        return self.process.returncode


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    running = Running(tmp_path_factory.mktemp("board"))
    yield running
    assert running.stop() == 0


def test_devices_on_the_line_answer_through_the_gateway(board):
    assert board.ask(1, bytes([3, 0, 0, 0, 4])) == struct.pack(">BB4H", 3, 8, 252, 104, 2300, 5000)
    assert board.ask(2, bytes([6, 0, 9, 1, 2])) == bytes([6, 0, 9, 1, 2])
    assert board.ask(2, bytes([3, 0, 9, 0, 1])) == bytes([3, 2, 1, 2])
    assert board.ask(33, bytes([3, 3, 233, 0, 1])) == bytes([0x83, 1])


def test_nobody_there_is_the_gateways_exception(board):
    assert board.ask(77, bytes([3, 0, 0, 0, 1])) == bytes([0x83, 0x0B])


def test_http_is_served_beside_it(board):
    with urllib.request.urlopen(f"http://127.0.0.1:{board.http}/api/login/salt/", timeout=10) as answer:
        assert json.load(answer)["salt"]
