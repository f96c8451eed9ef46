"""The Modbus TCP gateway and the search against the wire's own limits.

`python -m benchmarks.gateway` prints the tables of this module alone.
"""

import asyncio
import functools
import statistics
import struct
import sys
import tempfile
import time

from benchmarks import masters
from benchmarks.rig import ROOT, DeviceProcess, Process, log_in, silence_us, wire_share
from benchmarks.wire import BAUD_RATES, connect, read_on
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import INTERACTIVE
from firmware.services.search.devices import FAST_LAST_WAIT, FAST_WAIT, Discovery
from firmware.services.search.verdicts import Search
from firmware.services.settings.table import SETTINGS
from hal.runtime import run
from hal.simulated.rs485 import SimulatedPort

READ_10 = bytes([3, 0, 0, 0, 10])
READ_20 = bytes([3, 0, 0, 0, 20])
SECONDS = 3.0
ROUNDS = 3


def serial_settings(baud_rate: int) -> dict:
    """Factory settings of a device on a line of this rate, 8N2."""
    return {"serial": {"baudRate": baud_rate}, "modbusTcp": {"port": 5020, "maxClients": 16}}


async def poll(port: int, pdu: bytes, until: float) -> int:
    """One client that asks again as soon as it has its answer; how many it got."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    request = struct.pack(">HHHB", 1, 0, len(pdu) + 1, 1) + pdu
    count = 0
    while time.monotonic() < until:
        writer.write(request)
        header = await reader.readexactly(7)
        answer = await reader.readexactly(struct.unpack(">H", header[4:6])[0] - 1)
        assert answer[0] == 3, answer
        count += 1
    writer.close()
    return count


async def poll_http(port: int, token: str, until: float) -> int:
    """As `poll` through the HTTP API."""
    client = await connect(port, token)
    count = await read_on(client, 0, until)
    client.close()
    return count


async def polled(device: DeviceProcess, clients: list) -> "tuple[int, float, float, dict]":
    """(answers, seconds, CPU seconds of the device, the world's statistics) of some clients, functions of the time
    until which they poll."""
    await device.control("rs485 stats reset=true")
    cpu, started = device.cpu_seconds(), time.monotonic()
    counts = await asyncio.gather(*[client(started + SECONDS) for client in clients])
    seconds = time.monotonic() - started
    stats = await device.control("rs485 stats")
    return sum(counts), seconds, device.cpu_seconds() - cpu, stats


async def bare_master(device: DeviceProcess, name: str, baud_rate: int) -> float:
    """CPU seconds for 1000 reads of one of benchmarks/masters.py on the world's second port."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-m", "benchmarks.masters", name, device.state + "/rs485-tool", str(baud_rate), str(SECONDS)],
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    return float((await process.communicate())[0])


async def bare_gateway(device: DeviceProcess, baud_rate: int) -> float:
    """CPU seconds for 1000 reads of one client through benchmarks/bare_gateway.py on the world's second port."""
    path = device.state + "/rs485-tool"
    gateway = Process([sys.executable, "-m", "benchmarks.bare_gateway", path, str(baud_rate)])
    try:
        port = int(gateway.first_line)
        await poll(port, READ_10, time.monotonic() + 0.2)
        before = gateway.cpu_seconds()
        count = await poll(port, READ_10, time.monotonic() + SECONDS)
        return (gateway.cpu_seconds() - before) / count * 1000
    finally:
        gateway.stop()


def ways_in(device: DeviceProcess, token: str) -> dict:
    """The entrances that are measured: name -> clients for `polled`."""
    tcp = [functools.partial(poll, device.modbus_port, READ_10)]
    return {"TCP 1": tcp, "TCP 4": 4 * tcp, "HTTP 1": [functools.partial(poll_http, device.http_port, token)]}


async def gateway_at(baud_rate: int) -> None:
    """The rows of one rate. Everybody takes turns, so that all see the same machine."""
    device = DeviceProcess(serial_settings(baud_rate))
    try:
        await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
        await device.control("rs485 silence line=rs485-tool needed=false")  # libmodbus keeps none
        for line in ("rs485", "rs485-tool"):
            await device.control(f"rs485 lump line={line} bytes=1")
        token = log_in(device.http_port)
        ways = ways_in(device, token)
        costs: dict = {name: [] for name in (*masters.names(), "gateway", *ways)}
        seen: dict = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name in masters.names():
                costs[name].append(await bare_master(device, name, baud_rate))
            costs["gateway"].append(await bare_gateway(device, baud_rate))
            for name, clients in ways.items():
                count, seconds, cpu, stats = await polled(device, clients)
                costs[name].append(cpu / count * 1000)
                seen[name].append((wire_share(stats, silence_us(baud_rate), seconds), stats))
    finally:
        device.stop()
    print_rows(baud_rate, {name: statistics.median(values) for name, values in costs.items()}, seen)


def print_rows(baud_rate: int, costs: dict, seen: dict) -> None:
    """A row for each way in."""
    bare = "".join(f"{costs[name]:>10.2f}" for name in (*masters.names(), "gateway"))
    for name, rounds in seen.items():
        share = statistics.median(share for share, _ in rounds)
        median = statistics.median(int(stats["medianSilenceUs"]) for _, stats in rounds)
        shortest = min(int(stats["shortestSilenceUs"]) for _, stats in rounds)
        silence = f"{shortest} {median:.0f} >= {silence_us(baud_rate):.0f}"
        ratio = costs[name] / costs["plain"]
        print(f"{baud_rate:>8} {name:>7} {share:>7.3f} {silence:>21}{costs[name]:>7.2f}{ratio:>9.2f}{bare}", flush=True)


async def gateway_table() -> None:
    """Share of the wire's limit, and the price in CPU."""
    print("\nGateway: clients that read 10 registers back to back, each byte handed over by itself. Share of what the")
    print("wire can carry; silences, the shortest and the median, and the one specified, in us; CPU seconds for 1000")
    print(
        "reads, to those of a plain asyncio master; those of bare masters, which serve nobody, and of the least that a"
    )
    print("that a gateway on asyncio can be")
    titles = "".join(f"{name:>10}" for name in (*masters.names(), "gateway"))
    print(f"{'bit/s':>8} {'clients':>7} {'share':>7} {'silence us':>21}{'CPU s':>7}{'to plain':>9}{titles}")
    for baud_rate in BAUD_RATES:
        await gateway_at(baud_rate)


async def shared_reads() -> None:
    """Answers per second of 8 clients that poll the same values, against what the wire alone could carry."""
    device = DeviceProcess(serial_settings(9600))
    try:
        count, seconds, _, stats = await polled(device, 8 * [functools.partial(poll, device.modbus_port, READ_20)])
        exchanges = int(stats["frames"])
        print("\nShared reads: 8 clients poll the same 20 registers at 9600 bit/s")
        print(f"answers a second {count / seconds:.1f}, exchanges on the wire {exchanges / seconds:.1f}", end="")
        print(f", ratio {count / exchanges:.2f}")
    finally:
        device.stop()


SERIAL = next(field.default for field in SETTINGS if field.name == "serial")


def fast_search(first: int, last: int) -> Search:
    """A fast search on the bus's own line."""
    return Search([(9600, 5, 0)], range(first, last + 1), fast=True)


async def search(discovery: Discovery, first: int, last: int) -> "tuple[float, list[int]]":
    """(seconds, unit ids found) of a fast search."""
    started = time.monotonic()
    discovery.begin(fast_search(first, last))
    while discovery.is_running():
        await asyncio.sleep(0.005)
    return time.monotonic() - started, [found.uid for found in discovery.found()]


async def search_tables() -> None:
    """How long a search takes, what it misses, and what it costs others."""
    port = SimulatedPort({}, tempfile.mkdtemp(prefix="mc252-bench-"))
    bus = Bus(port, dict(SERIAL, healthCheck=False))
    await port.start()
    await bus.start()
    discovery = Discovery(bus, SERIAL)
    try:
        await port.world.command({"cmd": "stats", "reset": True})
        seconds, uids = await search(discovery, 1, 247)
        stats = await port.world.command({"cmd": "stats"})
        answers = stats["answers"]
        first_silent, last_silent = (
            247 - len(uids) + 1,
            247 - len(uids),
        )  # unit 17 is silent at first: its answer is late
        waits = first_silent * FAST_WAIT + last_silent * FAST_LAST_WAIT
        wire = (stats["requestWireUs"] + stats["answerWireUs"] + stats["turnaroundUs"]) / 1e6
        limit = wire + waits + answers * silence_us(9600) / 1e6  # a wait without an answer is a silence already
        print(
            f"\nFast search of 1..247 at 9600 bit/s: {seconds:.1f} s, {seconds / limit:.3f} of wire times, silences and"
        )
        print(f"waits; found {uids} with {stats['frames']} probes and {answers} answers")
        missed = 0
        for _ in range(50):
            await port.world.command({"cmd": "fault", "kind": "late", "uid": 33, "delayMs": 95, "count": 2})
            missed += (await search(discovery, 33, 33))[1] != [33]
            await port.world.command({"cmd": "clear"})
        print(f"Searches of 50 that missed a device which answers after 95 ms: {missed}")
        await interactive_wait(bus, discovery)
    finally:
        await discovery.stop()
        await bus.stop()


async def interactive_wait(bus: Bus, discovery: Discovery) -> None:
    """How long interactive requests wait for their turn while a search runs."""
    discovery.begin(fast_search(1, 247))
    waits = []
    disturbed = 0
    for _ in range(150):
        started = time.monotonic()
        transaction = await bus.exchange(1, READ_10, INTERACTIVE, "bench")
        disturbed += transaction.error is not None
        waits.append((time.monotonic() - started - transaction.elapsed) * 1000)
        await asyncio.sleep(0.013)
    waits.sort()
    print(f"Wait of interactive requests during a search: median {statistics.median(waits):.1f} ms,", end="")
    print(f" p99 {waits[int(len(waits) * 0.99)]:.1f} ms; a silent probe takes {1000 * FAST_WAIT + 13:.0f} ms")
    print(f"(of 150, the late answer of a unit asked by the search fell into {disturbed})")


if __name__ == "__main__":
    run(gateway_table())
    run(shared_reads())
    run(search_tables())
