"""What it costs the bus that somebody watches: ten consoles on the trace's page, and one that reads nothing.

A console follows what firmware/web/events.js asks for on that page: the trace, the page's state and the frame's.
`python -m benchmarks.events` prints this table alone.
"""

import functools
import socket
import statistics
import subprocess
import sys

from benchmarks.gateway import READ_10, poll, polled, serial_settings
from benchmarks.rig import DeviceProcess, log_in
from hal.runtime import run

WATCHERS = 10
FOLLOWED = "access&devices&recording&card&system&trace"  # of the page bus/trace
ROUNDS = 5
SINK = """
import select, socket, sys
socks = []
for _ in range(int(sys.argv[3])):
    sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    head = f"GET /api/events/?{sys.argv[4]} HTTP/1.0\\r\\nAuthorization: Bearer {sys.argv[2]}\\r\\n\\r\\n"
    sock.sendall(head.encode())
    assert b" 200 " in sock.recv(4096)
    socks.append(sock)
print("following", flush=True)
while True:
    for sock in select.select(socks, [], [])[0]:
        if not sock.recv(65536):
            sys.exit("a stream has ended")
"""


class Watchers:
    """Clients in a process of their own that read the live trace and throw it away."""

    def __init__(self, port: int, token: str, count: int):
        arguments = [sys.executable, "-c", SINK, str(port), token, str(count), FOLLOWED]
        self._process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "following\n"

    def stop(self) -> None:
        """End them; they must still have been following."""
        assert self._process.poll() is None, "a stream has ended"
        self._process.terminate()
        self._process.wait()


async def rates(device: DeviceProcess, token: str) -> dict:
    """Watchers -> [(exchanges a second, CPU microseconds an exchange)], in turns, so that the machine is alike."""
    client = functools.partial(poll, device.modbus_port, READ_10)
    seen: dict = {0: [], WATCHERS: []}
    for _ in range(ROUNDS):
        for count in seen:
            watchers = Watchers(device.http_port, token, count) if count else None
            answers, seconds, cpu, _ = await polled(device, [client])
            if watchers is not None:
                watchers.stop()
            seen[count].append((answers / seconds, cpu / answers * 1e6))
    return seen


async def stalled_memory(device: DeviceProcess, token: str) -> float:
    """Megabytes by which the device grows while a client with the live trace reads nothing."""
    sock = socket.create_connection(("127.0.0.1", device.http_port))
    sock.sendall(f"GET /api/events/?{FOLLOWED} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    before = device.rss_mb()
    for _ in range(4):
        await polled(device, [functools.partial(poll, device.modbus_port, READ_10)])
    grown = device.rss_mb() - before
    sock.close()
    return grown


async def main() -> None:
    """Print the table."""
    print("\n## The bus while it is watched\n")
    print(f"| baud | exchanges/s alone | with {WATCHERS} consoles | cost | CPU an exchange, alone and watched |")
    print("|---|---|---|---|---|")
    grown = 0.0
    for baud_rate in (9600, 115200):
        serial = {"baudRate": baud_rate, "responseTimeoutMs": 5000}  # however busy this machine is
        device = DeviceProcess(dict(serial_settings(baud_rate), serial=serial))
        try:
            await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
            token = log_in(device.http_port)
            await polled(device, [functools.partial(poll, device.modbus_port, READ_10)])  # warm
            seen = await rates(device, token)
            grown = await stalled_memory(device, token)
        finally:
            device.stop()
        (alone, cpu_alone), (watched, cpu_watched) = [
            [statistics.median(column) for column in zip(*seen[count], strict=True)] for count in seen
        ]
        cost = 1 - watched / alone
        print(
            f"| {baud_rate} | {alone:.1f} | {watched:.1f} | {cost:.1%} | {cpu_alone:.0f} us, {cpu_watched:.0f} us |",
            flush=True,
        )
    print(f"\nMemory while one of them reads nothing: {grown:+.1f} MB after 12 s at 115200 bit/s")


if __name__ == "__main__":
    run(main())
