"""The device on Debian's Python for arm64 under qemu's user emulation: `make bench-slow`.

A loop of Python takes eight times as long there as natively, an exchange three to five times, for it is kernel half.
The simulated line, which is no part of the device, runs natively.
"""

import asyncio
import functools
import os
import sys
import time

from benchmarks.gateway import READ_10, poll, polled, serial_settings
from benchmarks.rig import ROOT, DeviceProcess, silence_us, wire_share
from benchmarks.wire import BAUD_RATES
from hal.runtime import run

PYTHON = str(ROOT / "build" / "arm64" / "python")


async def row(baud_rate: int) -> None:
    """What one client gets at a rate."""
    started = time.monotonic()
    device = DeviceProcess(serial_settings(baud_rate), PYTHON)
    try:
        cold = time.monotonic() - started
        await device.control(f"rs485 devices baudRate={baud_rate} stopBits=2")
        await device.control("rs485 lump bytes=1")
        await asyncio.sleep(2)  # what it does in its first seconds
        client = functools.partial(poll, device.modbus_port, READ_10)
        await client(time.monotonic() + 1)
        count, seconds, cpu, stats = await polled(device, [client])
        share = wire_share(stats, silence_us(baud_rate), seconds)
        silence = f"{stats['medianSilenceUs']} >= {silence_us(baud_rate):.0f}"
        print(
            f"{baud_rate:>8} {count / seconds:>12.1f} {share:>7.3f} {silence:>16} {cpu / count * 1000:>11.2f}", end=""
        )
        print(f" {cold:>11.1f} {device.rss_mb():>7.1f}", flush=True)
    finally:
        device.stop()


async def main() -> None:
    """The table."""
    os.environ["MC252_WORLD_PYTHON"] = sys.executable
    print(
        "\nSlow: one Modbus TCP client reads 10 registers back to back, each byte handed over by itself; the device on"
    )
    print("arm64, emulated. Cold start in seconds, with the world; resident MB, qemu's own 10 to 20 included")
    print(f"{'bit/s':>8} {'exchanges/s':>12} {'share':>7} {'median silence':>16} {'CPU s/1000':>11}", end="")
    print(f" {'cold start':>11} {'MB':>7}")
    for baud_rate in BAUD_RATES:
        await row(baud_rate)


if __name__ == "__main__":
    run(main())
