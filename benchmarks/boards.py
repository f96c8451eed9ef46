"""The firmware on a simulated microcontroller beside that on CPython: share of the wire, requests a second."""

import asyncio
import json
import pathlib
import socket
import sys
import tempfile
import time
import urllib.request

from benchmarks.rig import ROOT, DeviceProcess, Process
from benchmarks.wire import share_of_wire

BAUD_RATES = (9600, 115200)
CLIENTS = 4
SECONDS = 4.0
REQUESTS = 200


class BoardProcess(Process):
    """Runs MicroPython with factory settings of the benchmark's own (tests/machine/starter.py)."""

    def __init__(self, settings: dict):
        self._folder = tempfile.TemporaryDirectory(prefix="mc252-bench-")
        folder = pathlib.Path(self._folder.name)
        config = json.loads((ROOT / "board-configs" / "micropython-unix.json").read_text())
        config["settings"] = settings
        (folder / "board.json").write_text(json.dumps(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.http_port = free.getsockname()[1]
        arguments = [str(folder), str(folder / "board.json"), f"127.0.0.1:{self.http_port}", "127.0.0.1:0"]
        super().__init__([sys.executable, "-m", "tests.machine.starter", *arguments])

    async def control(self, line: str) -> dict:
        """A command of the world; its answer."""
        _, name, *words = line.split()
        command: dict = {"cmd": name}
        for word in words:
            key, _, value = word.partition("=")
            command[key] = {"true": True}.get(value) or int(value)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int((pathlib.Path(self._folder.name) / "world").read_text())
        )
        writer.write(json.dumps(command).encode() + b"\n")
        answer: dict = json.loads(await reader.readline())
        writer.close()
        return answer

    def stop(self) -> None:
        """End the processes and remove their state."""
        super().stop()
        self._folder.cleanup()


def requests_a_second(port: int) -> float:
    """GET /api/version/, each on a connection of its own."""
    started = time.monotonic()
    for _ in range(REQUESTS):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/version/") as answer:
            answer.read()
    return REQUESTS / (time.monotonic() - started)


async def main() -> None:
    """The table of this module."""
    print(f"\nBoards: {CLIENTS} HTTP clients read 10 registers back to back, on CPython and on MicroPython in turn")
    print(f"{'bit/s':>8} {'runtime':>12} {'share':>7} {'reads/s':>8} {'requests/s':>11}")
    for baud_rate in BAUD_RATES:
        for name, kind in (("cpython", DeviceProcess), ("micropython", BoardProcess)):
            device = kind({"serial": {"baudRate": baud_rate}})
            try:
                share, reads, _ = await share_of_wire(device, baud_rate, CLIENTS, SECONDS)
                rate = await asyncio.to_thread(requests_a_second, device.http_port)
            finally:
                device.stop()
            print(f"{baud_rate:>8} {name:>12} {share:>7.3f} {reads:>8.1f} {rate:>11.0f}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
