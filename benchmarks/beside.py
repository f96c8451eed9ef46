"""What the bus loses to what else the machine does: busy loops on every core, a flood of HTTP requests.

`python -m benchmarks.beside` prints the table of this module alone. The device goes first by its niceness here, as its
service does by its CPU weight (deploy/mc252.service); that takes the right to do so.
"""

import contextlib
import functools
import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.gateway import READ_10, poll, polled, serial_settings
from benchmarks.rig import DeviceProcess, load, silence_us, wire_share
from hal.runtime import run

BAUD_RATES = (9600, 115200)
FIRST = -15  # niceness
FLOOD_SEC = 30.0
FLOOD_RATE = 8000  # requests a second
VERSION = b"GET /api/version/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


@contextlib.contextmanager
def busy_loops() -> Iterator[None]:
    """A process for each core that never rests."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in loops:
            process.kill()
            process.wait()


async def share(device: DeviceProcess, baud_rate: int) -> float:
    """Share of the wire's limit of one client."""
    _, seconds, _, stats = await polled(device, [functools.partial(poll, device.modbus_port, READ_10)])
    return wire_share(stats, silence_us(baud_rate), seconds)


async def beside_at(baud_rate: int, niceness: int) -> list[float]:
    """Shares: alone, beside busy loops, beside the flood."""
    before = os.nice(0)
    os.setpriority(os.PRIO_PROCESS, 0, niceness)  # what is started inherits it: the device, its world, the client
    try:
        device = DeviceProcess(serial_settings(baud_rate))
        try:
            await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
            alone = await share(device, baud_rate)
            os.setpriority(os.PRIO_PROCESS, 0, before)
            with busy_loops():
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
                beside = await share(device, baud_rate)
            os.setpriority(os.PRIO_PROCESS, 0, before)
            with load(device.http_port, 8, 0.5, VERSION) as result:
                most = result["rate"]
            with flood(device.http_port):
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
                flooded = await share(device, baud_rate)
            return [alone, beside, flooded, most]
        finally:
            device.stop()
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


@contextlib.contextmanager
def flood(port: int) -> Iterator[None]:
    """Eight clients that ask for the version FLOOD_RATE times a second in all."""
    arguments = [sys.executable, "-m", "benchmarks.load", str(port), "8", str(FLOOD_SEC), str(FLOOD_RATE)]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(VERSION)
    process.stdin.close()
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def main() -> None:
    """The table of this module."""
    print("\nBeside: share of what the wire can carry, one Modbus TCP client: alone, beside a busy loop on every core,")
    print(f"and beside 8 HTTP clients that ask for the version {FLOOD_RATE} times a second; how many they can have")
    print(f"{'bit/s':>8} {'niceness':>9} {'alone':>7} {'beside loops':>13} {'beside HTTP':>12} {'at most':>11}")
    for baud_rate in BAUD_RATES:
        for niceness in (0, FIRST) if os.geteuid() == 0 else (0,):
            alone, beside, flooded, most = await beside_at(baud_rate, niceness)
            print(
                f"{baud_rate:>8} {niceness:>9} {alone:>7.3f} {beside:>13.3f} {flooded:>12.3f} {most:>11.0f}", flush=True
            )


if __name__ == "__main__":
    run(main())
