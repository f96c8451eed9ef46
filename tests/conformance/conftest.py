"""A running device to ask over HTTP: the firmware on CPython, on MicroPython, or one whose URL is in MC252_URL.

Nothing here or in the tests beside it knows a device's insides. A device of MC252_URL must have the simulated board's
login, or that of MC252_USER and MC252_PASSWORD.
"""

import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse

import pytest

ROOT = pathlib.Path(__file__).parents[2]
USER = os.environ.get("MC252_USER", "admin")
PASSWORD = os.environ.get("MC252_PASSWORD", "mc252-sim")


class Device:
    """A device's address, and ways to ask it."""

    def __init__(self, url: str, modbus: "int | None" = None, runtime: str = "url"):
        parts = urllib.parse.urlsplit(url)
        self.host = parts.hostname
        self.port = parts.port or 80
        self.modbus = modbus  # port of Modbus TCP, None where that is not known
        self.runtime = runtime
        self._token = None

    def connect(self) -> "Wire":
        """A raw connection."""
        return Wire(socket.create_connection((self.host, self.port), timeout=10))

    def ask(self, method, path, body=None, headers=None, host=True):
        """(status, JSON body, headers by lower-case name) of one request on a connection of its own."""
        with self.connect() as wire:
            wire.request(method, path, body, dict(headers or {}, Connection="close"), host)
            return wire.answer(method)

    def call(self, method, path, body=None, status=200):
        """The JSON of an answer to a logged-in client, which must have this status."""
        if self._token is None:
            self._token = self.token()
        headers = {"Authorization": "Bearer " + self._token}
        got, answer, _ = self.ask(method, path, None if body is None else json.dumps(body), headers)
        assert got == status, answer
        return answer

    def state(self, key):
        """What the device says of a part, which it must have; else the test is skipped."""
        state = self.call("GET", f"/api/state/get/?{key}")[key]
        if state is None:
            assert self.runtime != "cpython"
            assert self.runtime == "url" or key in lacking(), f"docs/micropython.md does not say that it lacks {key}"
            pytest.skip(f"the device has no {key}")
        return state

    def restart(self):
        """Have it restart, and wait until it answers anew."""
        before = self.state("system")["uptimeSec"]
        assert self.call("POST", "/api/cmd/reboot/", {}) == {}
        self._token = None
        for _ in range(300):
            try:
                if self.state("system")["uptimeSec"] < max(before, 3):
                    return
            except (OSError, AssertionError):
                self._token = None
            time.sleep(0.1)
        raise AssertionError("it has not come back")

    def digest(self, password=PASSWORD, user=USER):
        """What to send as password, for a new salt."""
        salt = self.ask("GET", "/api/login/salt/")[1]["salt"]
        return hashlib.sha1((user + password + salt).encode()).hexdigest()

    def token(self):
        """A new session's token."""
        status, body, _ = self.ask("POST", "/api/login/", json.dumps({"username": USER, "password": self.digest()}))
        assert status == 200, body
        return body["token"]


class Wire:
    """One connection on which bytes are sent and answers are read."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def send(self, data: bytes):
        self.sock.sendall(data)

    def request(self, method, path, body=None, headers=None, host=True):
        """Send a whole request, with or without a Host of its own."""
        content = (body or "").encode()
        lines = [f"{method} {path} HTTP/1.1"] + ["Host: 127.0.0.1"] * host
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None:
            lines.append(f"Content-Length: {len(content)}")
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode() + content)

    def answer(self, method="GET"):
        """(status, JSON body or None, headers by lower-case name) of the next answer."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        if int(status) == 100:
            return 100, None, headers
        body = b"" if method == "HEAD" else self._body(headers)
        assert headers["content-type"].startswith("application/json")
        return int(status), json.loads(body) if body else None, headers

    def _body(self, headers):
        if headers.get("transfer-encoding") != "chunked":
            return self._count(int(headers["content-length"]))
        parts = []
        while size := int(self._until(b"\r\n"), 16):
            parts.append(self._count(size))
            assert self._count(2) == b"\r\n"
        assert self._count(2) == b"\r\n"
        return b"".join(parts)

    def closed(self) -> bool:
        """Whether the device has closed the connection, nothing more being sent."""
        try:
            return self.buffer == b"" and self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _until(self, mark):
        while mark not in self.buffer:
            data = self.sock.recv(65536)
            assert data, f"closed after {self.buffer!r}"
            self.buffer += data
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def _count(self, count):
        while len(self.buffer) < count:
            data = self.sock.recv(65536)
            assert data, "closed in the middle of a body"
            self.buffer += data
        body, self.buffer = self.buffer[:count], self.buffer[count:]
        return body


def lacking():
    """The parts that docs/micropython.md says are skipped there."""
    text = (ROOT / "docs" / "micropython.md").read_text()
    return re.findall(r"^\| `(\w+)` \|", text.split("## What is skipped there")[1].split("\n## ")[0], re.MULTILINE)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def micropython() -> "str | None":
    """The MicroPython of this environment, if it has one."""
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return str(beside) if beside.exists() else shutil.which("micropython")


def start(runtime, state):
    """(process, device) of the firmware on a runtime."""
    port, modbus = free_port(), free_port()
    http, modbus_tcp = f"127.0.0.1:{port}", f"127.0.0.1:{modbus}"
    if runtime == "cpython":
        arguments = ["--state-dir", str(state), "--http", http, "--modbus-tcp", modbus_tcp]
        command = [sys.executable, "-m", "firmware", *arguments, "--board", "board-configs/simulated.json"]
    else:
        if micropython() is None:
            pytest.skip("there is no MicroPython for this machine")
        board = "board-configs/micropython-unix.json"
        command = [sys.executable, "-m", "tests.machine.starter", str(state), board, http, modbus_tcp]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline().startswith("http://")
    return process, Device(f"http://127.0.0.1:{port}", modbus, runtime)


@pytest.fixture(scope="session", params=["url"] if "MC252_URL" in os.environ else ["cpython", "micropython"])
def device(request, tmp_path_factory):
    """A running device."""
    if request.param == "url":
        yield Device(os.environ["MC252_URL"])
        return
    process, device = start(request.param, tmp_path_factory.mktemp(request.param))
    try:
        yield device
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def authorized(device):
    """Headers of a logged-in client."""
    return {"Authorization": "Bearer " + device.token()}
