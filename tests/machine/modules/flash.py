"""Runs the firmware from memory outside of the heap, as a board has it in flash memory:
`-m flash BOARD STATE_DIR HTTP MODBUS_TCP`, both HOST:PORT.

MACHINE_ROM names a file with a ROMFS. MicroPython's unix port has no other memory to give than its heap, but the C
library has: a large variable of the environment lies in a mapping of its own.
"""

import os
import sys

import uctypes
import vfs

_NAME = "FLASH"
_ALIGNMENT = 16


def outside(size):
    """So many bytes outside of the heap."""
    os.putenv(_NAME, "=" * (size + 2 * _ALIGNMENT))
    mark = f"{_NAME}=".encode()
    with open("/proc/self/maps") as maps:
        for line in maps:
            words = line.split()
            start, end = [int(word, 16) for word in words[0].split("-")]
            if not words[1].startswith("rw") or end - start < size or len(words) > 5:
                continue
            for address in range(start, start + 64, _ALIGNMENT):  # the C library's own header goes before
                if uctypes.bytes_at(address, len(mark)) == mark:
                    return uctypes.bytearray_at(address + _ALIGNMENT, size)
    raise MemoryError("no memory outside of the heap")


def mount(path):
    """Mount the ROMFS in a file at /rom, from where modules are imported first."""
    memory = outside(os.stat(path)[6])
    with open(path, "rb") as file:
        file.readinto(memory)
    vfs.mount(vfs.VfsRom(memory), "/rom")
    sys.path.insert(0, "/rom")


def address(text):
    """(host, port) of HOST:PORT."""
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    mount(os.getenv("MACHINE_ROM"))
    from firmware.microcontroller import run

    board, state_dir, http, modbus_tcp = sys.argv[1:]
    run(board, state_dir, address(http), address(modbus_tcp))
