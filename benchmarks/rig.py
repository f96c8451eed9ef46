"""A device in a process of its own, on the simulated board, for benchmarks to ask."""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")


class DeviceProcess:
    """Runs `python -m firmware` with factory settings of the benchmark's own."""

    def __init__(self, settings: dict):
        self.state = tempfile.mkdtemp(prefix="mc252-bench-")
        config = json.loads((ROOT / "board-configs" / "simulated.json").read_text())
        config["settings"] = settings
        board = pathlib.Path(self.state) / "board.json"
        board.write_text(json.dumps(config))
        arguments = ["--board", str(board), "--state-dir", self.state]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "firmware", *arguments, "--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split(", ")
        self.url = words[0]
        self.http_port = int(words[0].rstrip("/").rsplit(":", 1)[1])
        self.modbus_port = int(words[1].rsplit(":", 1)[1])

    def cpu_seconds(self) -> float:
        """CPU time that the device has used."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def rss_mb(self) -> float:
        """Resident memory in MB."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

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
        """End the process."""
        self.process.terminate()
        self.process.wait()


def wire_share(stats: dict, silence_us: float, seconds: float) -> float:
    """What part of the time the line was as busy as the specification lets it be: frames, the devices' own turnaround
    and one silence for each question."""
    used = sum(int(stats[name]) for name in ("requestWireUs", "answerWireUs", "turnaroundUs"))
    return (used + int(stats["frames"]) * silence_us) / (seconds * 1e6)


def silence_us(baud_rate: int, bits: int = 11) -> float:
    """Microseconds between two RTU frames (serial line specification, section 2.5.1.1)."""
    return 3.5e6 * bits / baud_rate if baud_rate <= 19200 else 1750.0
