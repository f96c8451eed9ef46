"""Devices, other servers and load generators in processes of their own."""

import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Process:
    """A server in a process of its own, ready once it has printed its first line."""

    def __init__(self, arguments: "list[str]"):
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self.process.stdout is not None
        self.first_line = self.process.stdout.readline()

    def cpu_seconds(self) -> float:
        """CPU time that the process has used, with all its threads."""
        threads = pathlib.Path(f"/proc/{self.process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    def rss_mb(self) -> float:
        """Resident memory in MB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait()


class DeviceProcess(Process):
    """Runs `python -m firmware` with factory settings, and perhaps `parts`, of the benchmark's own."""

    def __init__(self, settings: dict, python: str = sys.executable, parts: "dict | None" = None):
        self.state = tempfile.mkdtemp(prefix="mc252-bench-")
        config = json.loads((ROOT / "board-configs" / "simulated.json").read_text())
        config.update(parts or {}, settings=settings)
        board = pathlib.Path(self.state) / "board.json"
        board.write_text(json.dumps(config))
        arguments = ["--board", str(board), "--state-dir", self.state]
        super().__init__([python, "-m", "firmware", *arguments, "--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"])
        words = self.first_line.split(", ")
        self.url = words[0]
        self.http_port = int(words[0].rstrip("/").rsplit(":", 1)[1])
        self.modbus_port = int(words[1].rsplit(":", 1)[1])

    async def control(self, line: str) -> dict:
        """A command of the control socket; name -> text of its answer."""
        reader, writer = await asyncio.open_unix_connection(os.path.join(self.state, "control"))
        writer.write((line + "\n").encode())
        answer = (await reader.readline()).decode().split()
        writer.close()
        if answer[0] != "ok":
            raise RuntimeError(" ".join(answer))
        return dict(word.split("=", 1) for word in answer[1:] if "=" in word)

    def stop(self) -> None:
        """End the process and remove its state."""
        super().stop()
        shutil.rmtree(self.state)


def log_in(port: int) -> str:
    """A token of the simulated board's factory login."""
    url = f"http://127.0.0.1:{port}/api/login/"
    with urllib.request.urlopen(url + "salt/") as answer:
        salt = json.load(answer)["salt"]
    digest = hashlib.sha1(("adminmc252-sim" + salt).encode()).hexdigest()
    body = json.dumps({"username": "admin", "password": digest}).encode()
    with urllib.request.urlopen(url, body) as answer:
        return json.load(answer)["token"]


@contextlib.contextmanager
def load(port: int, connections: int, seconds: float, request: bytes) -> "Iterator[dict]":
    """What benchmarks/load.py measured; its connections stay open inside the `with` block."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.load", str(port), str(connections), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(request)
            process.stdin.close()
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def wire_share(stats: dict, silence_us: float, seconds: float) -> float:
    """What part of the time the line was as busy as the specification lets it be: frames, the devices' own turnaround
    and one silence for each question."""
    used = sum(int(stats[name]) for name in ("requestWireUs", "answerWireUs", "turnaroundUs"))
    return (used + int(stats["frames"]) * silence_us) / (seconds * 1e6)


def silence_us(baud_rate: int, bits: int = 11) -> float:
    """Microseconds between two RTU frames (serial line specification, section 2.5.1.1)."""
    return 3.5e6 * bits / baud_rate if baud_rate <= 19200 else 1750.0
