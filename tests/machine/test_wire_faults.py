"""One table of what goes wrong on the wire, asked of devices on CPython and on MicroPython: the answers are equal.

`make test` asks by two functions, `make endure-micropython` by all.
"""

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.conformance.conftest import start
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

KINDS = {  # fault -> its further members
    "silent": {},
    "late": {"delayMs": 1100},
    "noise": {},
    "noiseAfter": {},
    "garble": {},
    "truncate": {},
    "wrongUnit": {},
    "wrongFunction": {},
    "wrongLength": {},
    "split": {"gapMs": 20},
    "double": {"gapMs": 20},
    "raw": {"hex": "0203"},
}
QUESTIONS = {
    3: {"addr": 0, "count": 4},
    16: {"addr": 0, "values": [500, 500]},
    1: {"addr": 0, "count": 5},
    2: {"addr": 0, "count": 7},
    4: {"addr": 2, "count": 1},
    5: {"addr": 1, "value": True},
    6: {"addr": 2, "value": 500},
    15: {"addr": 0, "values": [True, False, True]},
}
FUNCTIONS = list(QUESTIONS) if os.environ.get("MC252_WIRE") == "whole" else [3, 16]
UNIT = 2
WAIT_MS = 700
PAUSE = 0.15  # seconds


class Rig:
    """A device on a runtime, and the hand on its wire."""

    def __init__(self, runtime, folder):
        self.folder = folder
        self.runtime = runtime
        self.process, self.device = start(runtime, folder)

    def fault(self, kind):
        """Have the next answer of the unit spoilt."""
        members = dict(KINDS[kind], cmd="fault", kind=kind, uid=UNIT, count=1)
        if self.runtime == "cpython":
            words = [f"{name}={value}" for name, value in members.items() if name not in ("cmd", "kind")]
            line = " ".join(["rs485", "fault", kind, *words])
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(self.folder / "control"))
                self._send(sock, line)
        else:
            with socket.create_connection(("127.0.0.1", int((self.folder / "world").read_text()))) as sock:
                self._send(sock, json.dumps(members))

    def _send(self, sock, line):
        sock.sendall(line.encode() + b"\n")
        assert b"error" not in sock.recv(1000)

    def ask(self, func, wait_ms=WAIT_MS):
        """What a client learns of a question."""
        fields = dict(QUESTIONS[func], uid=UNIT, func=func, timeoutMs=wait_ms, retries=0)
        tid = self.device.call("POST", "/api/modbus/req/", fields)["tid"]
        result = self.device.call("GET", f"/api/modbus/resp/?tid={tid}&wait=9000")
        return {name: result[name] for name in ("status", "errorCode", "exception", "values", "data", "heardUid")}

    def table(self):
        """{"KIND FUNCTION": what was answered, and what the next question got}."""
        told = {}
        for func in FUNCTIONS:
            for kind in KINDS:
                self.fault(kind)
                spoilt = self.ask(func)
                time.sleep(PAUSE)  # or else a second copy may collide with the next question
                told[f"{kind} {func}"] = [spoilt, self.ask(func, 2000)]
        return told

    def stop(self):
        self.process.terminate()
        self.process.communicate(timeout=10)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    rigs = [Rig(runtime, tmp_path_factory.mktemp(runtime)) for runtime in ("cpython", "micropython")]
    try:
        with ThreadPoolExecutor(2) as pool:
            yield [task.result() for task in [pool.submit(rig.table) for rig in rigs]]
    finally:
        for rig in rigs:
            rig.stop()


@pytest.mark.parametrize("func", FUNCTIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_goes_wrong_on_the_wire_is_answered_alike(tables, kind, func):
    cpython, micropython = tables
    assert micropython[f"{kind} {func}"] == cpython[f"{kind} {func}"]


@pytest.mark.parametrize(
    ("kind", "error"), [("silent", "TIMEOUT"), ("garble", "BAD_FRAME"), ("wrongUnit", "FOREIGN"), ("split", None)]
)
def test_the_table_tells_faults_apart(tables, kind, error):
    for table in tables:
        spoilt, after = table[f"{kind} 3"]
        assert spoilt["errorCode"] == error
        assert after["status"] == "DONE"
