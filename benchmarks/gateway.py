"""The Modbus TCP gateway and the search against the wire's own limits.

`python -m benchmarks.gateway` prints the tables of this module alone.
"""

import asyncio
import statistics
import struct
import sys
import tempfile
import time

from benchmarks.rig import DeviceProcess, silence_us, wire_share
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import INTERACTIVE
from firmware.services.search.devices import FAST_LAST_WAIT, FAST_WAIT, Discovery
from firmware.services.search.verdicts import Search
from firmware.services.settings.table import SETTINGS
from hal.runtime import run
from hal.simulated.rs485 import SimulatedPort

READ_10 = bytes([3, 0, 0, 0, 10])
READ_20 = bytes([3, 0, 0, 0, 20])
SECONDS = 4.0
BARE_CLIENT = """
import sys, time
from pymodbus.client import ModbusSerialClient
client = ModbusSerialClient(sys.argv[1], baudrate=int(sys.argv[2]), stopbits=2)
client.connect()
client.read_holding_registers(0, count=10, device_id=1)
started = time.process_time()
for _ in range(200):
    client.read_holding_registers(0, count=10, device_id=1)
print((time.process_time() - started) * 5)
"""


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


async def polled(device: DeviceProcess, clients: int, pdu: bytes) -> "tuple[int, float, float, dict]":
    """(answers, seconds, CPU seconds of the device, the world's statistics) of some clients polling."""
    await device.control("rs485 stats reset=true")
    cpu, started = device.cpu_seconds(), time.monotonic()
    counts = await asyncio.gather(*[poll(device.modbus_port, pdu, started + SECONDS) for _ in range(clients)])
    seconds = time.monotonic() - started
    stats = await device.control("rs485 stats")
    return sum(counts), seconds, device.cpu_seconds() - cpu, stats


async def bare_client(device: DeviceProcess, baud_rate: int) -> float:
    """CPU seconds per 1000 reads of a bare pymodbus client on the world's second port."""
    process = await asyncio.create_subprocess_exec(
        *[sys.executable, "-c", BARE_CLIENT, device.state + "/rs485-tool", str(baud_rate)],
        stdout=asyncio.subprocess.PIPE,
    )
    return float((await process.communicate())[0])


async def gateway_table() -> None:
    """Share of the wire's limit, and the price in CPU."""
    print(
        "\nGateway: share of the wire's limit by clients that read 10 registers back to back; shortest silence seen and"
    )
    print("specified; CPU seconds per 1000 transactions of the device, and of a bare pymodbus client as a ratio")
    print(f"{'bit/s':>8} {'clients':>8} {'share':>7} {'silence us':>16} {'CPU s/1000':>11} {'to bare':>8}")
    for baud_rate in (9600, 19200, 115200):
        device = DeviceProcess(serial_settings(baud_rate))
        try:
            await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
            bare = await bare_client(device, baud_rate)
            for clients in (1, 4):
                count, seconds, cpu, stats = await polled(device, clients, READ_10)
                share = wire_share(stats, silence_us(baud_rate), seconds)
                silence = f"{stats['shortestSilenceUs']} >= {silence_us(baud_rate):.0f}"
                each = cpu / count * 1000
                print(f"{baud_rate:>8} {clients:>8} {share:>7.3f} {silence:>16} {each:>11.2f} {each / bare:>8.2f}")
        finally:
            device.stop()


async def shared_reads() -> None:
    """Answers per second of 8 clients that poll the same values, against what the wire alone could carry."""
    device = DeviceProcess(serial_settings(9600))
    try:
        count, seconds, _, stats = await polled(device, 8, READ_20)
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
    while discovery.result(False)["status"] == "RUNNING":
        await asyncio.sleep(0.005)
    return time.monotonic() - started, [found["uid"] for found in discovery.result(True)["foundDevices"]]


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


async def main() -> None:
    """All tables of this module."""
    await gateway_table()
    await shared_reads()
    await search_tables()


if __name__ == "__main__":
    run(main())
