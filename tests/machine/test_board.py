"""The simulated microcontroller as `make run-micropython` starts it: what the Modbus world answers through its UART."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.request

import pytest

from tests.machine.starter import HEAP, ROOT, Board
from tests.micropython import NEEDS_MICROPYTHON

PASSWORD = "mc252-sim"

pytestmark = NEEDS_MICROPYTHON


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Running:
    """A board that runs, and the ports at which it serves."""

    def __init__(self, folder, board="board-configs/micropython-unix.json", heap=HEAP, **how):
        self.folder = folder
        self.token = None
        self.http, self.modbus = free_port(), free_port()
        addresses = [f"127.0.0.1:{self.http}", f"127.0.0.1:{self.modbus}"]
        arguments = [str(folder), str(board), *addresses]
        command = [sys.executable, "-m", "tests.machine.starter", *arguments]
        environ = dict(os.environ, MC252_HEAP=heap)
        self.process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True, **how)
        assert f"Modbus TCP 127.0.0.1:{self.modbus}" in self.process.stdout.readline()

    def ask(self, uid, pdu):
        """The PDU that answers one by Modbus TCP."""
        with socket.create_connection(("127.0.0.1", self.modbus), timeout=10) as sock:
            sock.sendall(struct.pack(">HHHB", 7, 0, len(pdu) + 1, uid) + pdu)
            return sock.recv(300)[7:]

    def request(self, method, path, body=None):
        """(status, JSON) of a request of a logged-in client."""
        if self.token is None:
            salt = self._fetch("GET", "/api/login/salt/")[1]["salt"]
            password = hashlib.sha1(f"admin{PASSWORD}{salt}".encode()).hexdigest()
            self.token = self._fetch("POST", "/api/login/", {"username": "admin", "password": password})[1]["token"]
        return self._fetch(method, path, body)

    def _fetch(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.http}{path}"
        request = urllib.request.Request(url, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)

    def started_again(self):
        """Wait until it has said anew where it is reached."""
        while not (said := self.process.stdout.readline()).startswith("http:"):
            assert said, "it has ended"  # else somebody has told why he starts again
        assert f"http://127.0.0.1:{self.http}" in said
        self.token = None

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
    state = board.request("GET", "/api/state/get/?system&time&bus")[1]
    assert state["system"]["startReason"] == "POWER_ON"
    assert state["time"] is not None and state["bus"]["portOpen"]


def test_what_chose_the_firmware_gives_its_memory_back(board):
    assert board.request("GET", "/api/state/get/?system")[1]["system"]["memFree"] > 110_000  # of 640 KB


def test_a_reboot_is_answered_and_then_the_board_really_restarts(board):
    assert board.request("POST", "/api/cmd/reboot/")[0] == 200
    board.started_again()
    assert board.request("GET", "/api/state/get/?system")[1]["system"]["startReason"] == "REBOOT"
    assert board.ask(1, bytes([3, 0, 0, 0, 1])) == bytes([3, 2, 0, 252])


def test_a_device_that_hangs_is_restarted_by_the_boards_watchdog(board):
    (board.folder / "watchdog").write_text("1")  # it should have been fed long ago
    board.started_again()
    assert board.request("GET", "/api/state/get/?system")[1]["system"]["startReason"] == "CRASH"


def test_a_machine_that_stood_still_is_no_board_that_hangs(tmp_path):
    config = json.loads((ROOT / "board-configs" / "micropython-unix.json").read_text())
    config["system"]["watchdogMs"] = 2000
    (tmp_path / "board.json").write_text(json.dumps(config))
    running = Running(tmp_path / "board", tmp_path / "board.json", start_new_session=True)
    os.killpg(running.process.pid, signal.SIGSTOP)
    time.sleep(2.2)
    os.kill(running.process.pid, signal.SIGCONT)  # it comes to look first
    time.sleep(0.3)
    os.killpg(running.process.pid, signal.SIGCONT)
    time.sleep(0.5)
    assert running.request("GET", "/api/state/get/?system")[1]["system"]["startReason"] == "POWER_ON"
    assert running.stop() == 0


async def test_a_plug_that_was_pulled_while_the_board_restarts_stays_out(tmp_path):
    board = Board(str(tmp_path), "board-configs/micropython-unix.json", "127.0.0.1:0", "127.0.0.1:0")
    board.end()
    async with asyncio.timeout(10):
        assert await board.run() == -signal.SIGTERM
