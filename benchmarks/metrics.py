"""What a scrape of GET /metrics takes while 247 units are polled as fast as the line goes, and what it costs the line.

The units are a responder on a pty that answers for every address and takes the time that the bytes would take; the
clients poll all of them in turn through Modbus TCP. `python -m benchmarks.metrics` prints this table alone.
"""

import http.client
import statistics
import subprocess
import sys
import time

from benchmarks.rig import DeviceProcess, Process, log_in

BAUD_RATE = 115200
UNITS = 247
SECONDS = 4
ROUNDS = 3
IDLE_SCRAPES = 40

RESPONDER = """
import os, sys, time, tty
from hal.rs485.checksums import crc16
master, slave = os.openpty()
tty.setraw(slave)
print(os.ttyname(slave), flush=True)
char = 11 / int(sys.argv[1])
while True:
    question = os.read(master, 256)
    answer = question[:2] + bytes([20]) + bytes(20)
    answer += crc16(answer)
    time.sleep((len(question) + 3.5 + len(answer)) * char)
    os.write(master, answer)
"""

CLIENTS = """
import socket, struct, sys, threading
count = 0
def poll(first):
    global count
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    uid = first
    while True:
        sock.sendall(struct.pack(">HHHBBHH", 1, 0, 6, uid, 3, 0, 10))
        answer = sock.recv(300)
        assert len(answer) == 29, answer
        count += 1
        uid = uid % int(sys.argv[2]) + 1
for first in (1, 60, 120, 180):
    threading.Thread(target=poll, args=(first,), daemon=True).start()
print("polling", flush=True)
for line in sys.stdin:
    print(count, flush=True)
"""


class Clients(Process):
    """Four clients that poll all units, in a process of their own."""

    def __init__(self, port: int):
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLIENTS, str(port), str(UNITS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._ask()

    def _ask(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def count(self) -> int:
        """How many answers they have had."""
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return int(self._ask())


class Scraper:
    """A kept connection to /metrics."""

    def __init__(self, port: int, token: str):
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._headers = {"Authorization": "Bearer " + token}

    def scrape(self) -> "tuple[float, str]":
        """(milliseconds from the question to the last byte, the text)."""
        started = time.perf_counter()
        self._connection.request("GET", "/metrics", headers=self._headers)
        text = self._connection.getresponse().read().decode()
        return (time.perf_counter() - started) * 1000, text


def sent(text: str) -> int:
    """How many requests the device has sent on the line."""
    line = next(line for line in text.splitlines() if line.startswith("mc252_bus_sent_total "))
    return int(float(line.split()[1]))


def rate(clients: Clients, scraper: Scraper, times: "list[float] | None") -> float:
    """Exchanges a second; with `times`, /metrics is read ten times a second meanwhile, and they are kept there."""
    before, started = clients.count(), time.monotonic()
    while time.monotonic() - started < SECONDS:
        if times is not None:
            times.append(scraper.scrape()[0])
        time.sleep(0.1)
    return (clients.count() - before) / (time.monotonic() - started)


def row(name: str, times: "list[float]") -> str:
    """A row of the table of times."""
    ordered = sorted(times)
    return (
        f"| {name} | {statistics.median(ordered):.1f} | {ordered[len(ordered) * 95 // 100]:.1f} | {ordered[-1]:.1f} |"
    )


def main() -> None:
    """Print the tables."""
    responder = Process([sys.executable, "-c", RESPONDER, str(BAUD_RATE)])
    port = responder.first_line.strip()
    settings = {
        "serial": {"baudRate": BAUD_RATE, "responseTimeoutMs": 5000},
        "modbusTcp": {"port": 5020, "maxClients": 16, "ownUid": 0},
    }
    parts = {"rs485": {"driver": "tty", "port": port, "direction": "none"}}
    device = DeviceProcess(settings, parts=parts)
    try:
        clients = Clients(device.modbus_port)
        scraper = Scraper(device.http_port, log_in(device.http_port))
        while clients.count() < 40 * UNITS // 10:  # until every unit has been heard
            time.sleep(0.2)
        times: list[float] = []
        alone, watched = [], []
        for _ in range(ROUNDS):
            alone.append(rate(clients, scraper, None))
            watched.append(rate(clients, scraper, times))
        clients.stop()
        time.sleep(0.5)
        before = sent(scraper.scrape()[1])
        idle = [scraper.scrape()[0] for _ in range(IDLE_SCRAPES)]
        text = scraper.scrape()[1]
        asked = sent(text) - before
    finally:
        device.stop()
        responder.stop()
    series = sum(not line.startswith("#") for line in text.splitlines())
    print(f"\n## GET /metrics with {UNITS} units, {BAUD_RATE} bit/s\n")
    print(f"{series} series, {len(text)} bytes; {len(idle) + 1} scrapes of an idle line sent {asked} requests on it.\n")
    print("| line | median, ms | 95 % within, ms | longest, ms |")
    print("|---|---|---|---|")
    print(row("idle", idle))
    print(row("saturated", times))
    one, other = statistics.median(alone), statistics.median(watched)
    print(f"\nExchanges a second: {one:.0f} alone, {other:.0f} while /metrics is read ten times a second.")


if __name__ == "__main__":
    main()
