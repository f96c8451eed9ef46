"""A device in a process of its own, for tests that talk to it as a user does."""

import hashlib
import json
import pathlib
import socket
import subprocess
import sys

import httpx

ROOT = pathlib.Path(__file__).parents[2]
BOARD = json.loads((ROOT / "board-configs" / "simulated.json").read_text())


class Running:
    """`python -m firmware` in a process of its own; `prefix` is the command that starts it."""

    module = "firmware"

    def __init__(self, state, board=None, http="127.0.0.1:0", modbus_tcp="127.0.0.1:0", prefix=(), arguments=()):
        self.state = pathlib.Path(state)
        path = self.state / "board.json"
        path.write_text(json.dumps(board or BOARD))
        self.arguments = ["--board", str(path), "--state-dir", str(self.state), "--http", http]
        if modbus_tcp:
            self.arguments += ["--modbus-tcp", modbus_tcp]
        self.arguments += arguments
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", self.module, *self.arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.client = None

    def __enter__(self):
        self.read_announcement()
        return self

    def __exit__(self, *exc):
        self.client.close()
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=10)

    def read_announcement(self):
        if self.client is not None:
            self.client.close()
        self.line = self.process.stdout.readline()
        self.client = httpx.Client(base_url=self.line.split(",")[0], trust_env=False, timeout=10)

    def login(self):
        salt = self.client.get("api/login/salt/").json()["salt"]
        digest = hashlib.sha1(f"adminmc252-sim{salt}".encode()).hexdigest()
        answer = self.client.post("api/login/", json={"username": "admin", "password": digest})
        self.client.headers["Authorization"] = "Bearer " + answer.json()["token"]

    def get(self, path):
        answer = self.client.get("api/" + path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path, body=None):
        answer = self.client.post("api/" + path, json=body or {})
        assert answer.status_code == 200, answer.text
        return answer.json()

    def control(self, line):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(self.state / "control"))
            sock.sendall(line.encode() + b"\n")
            return sock.recv(4096).decode().strip()
