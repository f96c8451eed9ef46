"""Bare Modbus RTU masters that a gateway is compared with: `python -m benchmarks.masters NAME PATH BAUD_RATE SECONDS`.

Each reads 10 registers of unit 1 on a tty back to back for so long, 8N2, and prints its CPU seconds for 1000 reads.

- plain: asyncio and the tty's descriptor, read whenever bytes have come; it keeps the silence, checks the CRC, no more
- vmin: the same with VMIN set to what the answer still lacks, so that it is woken twice for an answer
- pymodbus: pymodbus's synchronous client
- libmodbus: the C library (Debian: libmodbus5), by ctypes; it keeps no silence between frames
"""

import asyncio
import ctypes
import ctypes.util
import os
import sys
import termios
import time
from collections.abc import Callable

import serial
from pymodbus.client import ModbusSerialClient
from pymodbus.framer.rtu import FramerRTU

QUESTION = bytes([1, 3, 0, 0, 0, 10])
ANSWER_SIZE = 25


class Plain:
    """A master on asyncio that does what one writes who needs it this afternoon."""

    def __init__(self, path: str, baud_rate: int, vmin: bool):
        self._port = serial.Serial(path, baud_rate, stopbits=2, timeout=0)
        self._descriptor = self._port.fileno()
        self._vmin = vmin
        self._silence = 3.5 * 11 / baud_rate if baud_rate <= 19200 else 0.00175
        self._answer = b""
        self._whole: asyncio.Future
        self._question = QUESTION + FramerRTU.compute_CRC(QUESTION).to_bytes(2, "big")

    def open(self) -> None:
        """Listen to the tty."""
        asyncio.get_running_loop().add_reader(self._descriptor, self._read)

    async def ask(self) -> None:
        """One read."""
        await asyncio.sleep(self._silence)
        self._answer = b""
        self._whole = asyncio.get_running_loop().create_future()
        self._wake_after(5)
        os.write(self._descriptor, self._question)
        await asyncio.wait_for(self._whole, 1)

    def _read(self) -> None:
        self._answer += os.read(self._descriptor, 256)
        lacking = ANSWER_SIZE - len(self._answer)
        if lacking > 0:
            self._wake_after(lacking)
            return
        assert FramerRTU.compute_CRC(self._answer[:-2]).to_bytes(2, "big") == self._answer[-2:]
        self._whole.set_result(self._answer)

    def _wake_after(self, count: int) -> None:
        if self._vmin:
            settings = termios.tcgetattr(self._descriptor)
            settings[6][termios.VMIN] = count
            termios.tcsetattr(self._descriptor, termios.TCSANOW, settings)


def run_plain(path: str, baud_rate: int, seconds: float, vmin: bool) -> float:
    """CPU seconds for 1000 reads."""

    async def main() -> float:
        master = Plain(path, baud_rate, vmin)
        master.open()
        await master.ask()
        started, cpu, count = time.monotonic(), time.process_time(), 0
        while time.monotonic() - started < seconds:
            await master.ask()
            count += 1
        return (time.process_time() - cpu) / count * 1000

    return asyncio.run(main())


def run_blocking(ask: Callable[[], object], seconds: float) -> float:
    """CPU seconds for 1000 calls of a function."""
    ask()
    started, cpu, count = time.monotonic(), time.process_time(), 0
    while time.monotonic() - started < seconds:
        ask()
        count += 1
    return (time.process_time() - cpu) / count * 1000


def run_pymodbus(path: str, baud_rate: int, seconds: float) -> float:
    """CPU seconds for 1000 reads."""
    client = ModbusSerialClient(path, baudrate=baud_rate, stopbits=2)
    client.connect()

    def ask() -> None:
        assert len(client.read_holding_registers(0, count=10, device_id=1).registers) == 10

    return run_blocking(ask, seconds)


def run_libmodbus(path: str, baud_rate: int, seconds: float) -> float:
    """CPU seconds for 1000 reads."""
    library = ctypes.CDLL(ctypes.util.find_library("modbus"))
    library.modbus_new_rtu.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.modbus_new_rtu(path.encode(), baud_rate, ctypes.c_char(b"N"), 8, 2))
    library.modbus_set_slave(context, 1)
    assert library.modbus_connect(context) == 0
    registers = (ctypes.c_uint16 * 10)()

    def ask() -> None:
        assert library.modbus_read_registers(context, 0, 10, registers) == 10

    return run_blocking(ask, seconds)


def names() -> list[str]:
    """The masters that this machine has."""
    return ["plain", "vmin", "pymodbus"] + (["libmodbus"] if ctypes.util.find_library("modbus") else [])


def main() -> None:
    """Run one."""
    name, path, baud_rate, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    if name == "libmodbus":
        print(run_libmodbus(path, baud_rate, seconds))
    elif name == "pymodbus":
        print(run_pymodbus(path, baud_rate, seconds))
    else:
        print(run_plain(path, baud_rate, seconds, name == "vmin"))


if __name__ == "__main__":
    main()
