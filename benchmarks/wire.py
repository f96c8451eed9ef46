"""Reads through the whole stack, HTTP in, bus, HTTP out, against the limit of the wire.

`python -m benchmarks.wire` prints the table of this module alone.
"""

import asyncio
import json
import os
import time

from benchmarks.rig import DeviceProcess, log_in, silence_us, wire_share
from hal.runtime import run

BAUD_RATES = [int(rate) for rate in os.environ.get("RATES", "9600 19200 115200").split()]
CLIENTS = 2
SECONDS = 4.0


class Client:
    """One kept HTTP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str):
        self._reader = reader
        self._writer = writer
        self._access = f"Host: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"

    async def ask(self, method: str, target: str, body: str = "") -> dict:
        """The content of the answer to a request."""
        head = f"{method} {target} HTTP/1.1\r\n{self._access}Content-Length: {len(body)}\r\n\r\n"
        self._writer.write((head + body).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().split("content-length: ")[1].split("\r\n")[0])
        content = json.loads(await self._reader.readexactly(length))
        if not head.startswith("HTTP/1.1 200 "):
            raise RuntimeError(str(content))
        return content

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def connect(port: int, token: str) -> Client:
    """A connection to the device."""
    return Client(*await asyncio.open_connection("127.0.0.1", port), token)


async def read_on(client: Client, address: int, until: float) -> int:
    """Read registers back to back: ask, wait for the result, ask again; how many reads. Each client has its own
    address, for identical reads would share one exchange."""
    body = json.dumps({"uid": 1, "func": 3, "addr": address, "count": 10})
    count = 0
    while time.monotonic() < until:
        tid = (await client.ask("POST", "/api/modbus/req/", body))["tid"]
        result = await client.ask("GET", f"/api/modbus/resp/?tid={tid}&wait=5000")
        if result["status"] != "DONE":
            raise RuntimeError(str(result))
        count += 1
    return count


async def measure(baud_rate: int) -> "tuple[float, dict]":
    """(share of the wire's limit, the world's statistics) at a rate, 8N2."""
    device = DeviceProcess({"serial": {"baudRate": baud_rate}})
    try:
        share, _, stats = await share_of_wire(device, baud_rate, CLIENTS, SECONDS)
        return share, stats
    finally:
        device.stop()


async def share_of_wire(device, baud_rate: int, count: int, seconds: float) -> "tuple[float, float, dict]":
    """(share of the wire's limit, reads a second, the world's statistics) at a rate, 8N2, by so many clients."""
    await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
    token = log_in(device.http_port)
    clients = [await connect(device.http_port, token) for _ in range(count)]
    await read_on(clients[0], 0, time.monotonic() + 0.3)
    await device.control("rs485 stats reset=true")
    started = time.monotonic()
    counts = await asyncio.gather(*[read_on(client, n, started + seconds) for n, client in enumerate(clients)])
    taken = time.monotonic() - started
    stats = await device.control("rs485 stats")
    for client in clients:
        client.close()
    return wire_share(stats, silence_us(baud_rate), taken), sum(counts) / taken, stats


async def main() -> None:
    """The table of this module."""
    print(f"\nWire: {CLIENTS} HTTP clients read 10 registers back to back. Share: bytes of questions and answers, one")
    print("specified silence for each question and the device's own turnaround, of the time that it took")
    print(f"{'bit/s':>8} {'reads/s':>8} {'share':>7} {'shortest silence, specified':>28}")
    for baud_rate in BAUD_RATES:
        share, stats = await measure(baud_rate)
        rate = int(stats["answers"]) / SECONDS
        silence = f"{stats['shortestSilenceUs']} us >= {silence_us(baud_rate):.0f} us"
        print(f"{baud_rate:>8} {rate:>8.1f} {share:>7.3f} {silence:>28}", flush=True)


if __name__ == "__main__":
    run(main())
