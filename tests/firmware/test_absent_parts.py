"""A board that lacks parts: what they need is neither imported nor built, and whatever needs them is refused."""

import json
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import pytest

from tests.machine.starter import environment

ROOT = pathlib.Path(__file__).parents[2]
WHOLE = json.loads((ROOT / "board-configs" / "simulated.json").read_text())
HEAP = "656K"  # enough for the firmware to start on MicroPython from source, and for the module `machine` of the tests;
# boards have the code of both in flash memory

NEEDED_BY = {  # part -> modules that only it needs
    "rs485": {"firmware.services.bus.arbiter", "firmware.services.search.devices", "firmware.services.search.classes"},
    "card": {"firmware.services.card.files", "firmware.services.card.paths", "firmware.services.card.uploads"},
    "clock": {"firmware.services.time.clock", "firmware.services.time.sntp", "hal.runtime.datagrams"},
    "modem": {"firmware.services.network.gsm"},
    "network": {"firmware.services.network.interfaces", "firmware.http.vpn_listener"},
    "updater": {"firmware.services.update.updates"},
}

BUILD = """
import asyncio, json, sys
from firmware.device import Device
from hal.board import load_board

async def main():
    Device(load_board(sys.argv[1], sys.argv[2]), sys.argv[2])
    print(json.dumps(sorted(sys.modules)))

asyncio.run(main())
"""


def modules_of(tmp_path, board):
    path = tmp_path / "board.json"
    path.write_text(json.dumps(board))
    settings = board.setdefault("settings", {})
    settings.update({"gsm": {"enabled": True}, "wgCloud": {"enabled": True}})
    path.write_text(json.dumps(board))
    command = [sys.executable, "-c", BUILD, str(path), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_what_a_part_needs_is_there_with_it(tmp_path):
    there = modules_of(tmp_path, dict(WHOLE))
    for part, modules in NEEDED_BY.items():
        assert WHOLE.get(part) is None or modules <= there, part


@pytest.mark.parametrize("part", NEEDED_BY)
def test_what_only_an_absent_part_needs_is_not_imported(tmp_path, part):
    assert modules_of(tmp_path, dict(WHOLE, **{part: None})) & NEEDED_BY[part] == set()


def micropython():
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.mark.skipif(micropython() is None, reason="no MicroPython here")
def test_micropython_starts_and_answers_in_a_small_heap(tmp_path):
    port = free_port()
    board = tmp_path / "board.json"
    board.write_text(json.dumps({"board": "small", "system": {"driver": "micropython"}}))
    arguments = ["--board", str(board), "--state-dir", str(tmp_path), "--http", f"127.0.0.1:{port}"]
    process = subprocess.Popen(
        [micropython(), "-X", f"heapsize={HEAP}", "-m", "firmware", *arguments],
        cwd=ROOT,
        env=environment(str(tmp_path)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert version(process, port).startswith(b"HTTP/1.1 200 ")
    finally:
        process.terminate()
        said = process.communicate(timeout=10)[0]
    assert "MemoryError" not in said


def version(process, port):
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                sock.sendall(b"GET /api/version/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
                return sock.recv(4096)
        except ConnectionError:
            time.sleep(0.05)
    return b""
