"""Runs the firmware from memory outside of the heap, as a board has it in flash memory:
`-m flash BOARD STATE_DIR HTTP MODBUS_TCP`, both HOST:PORT.

MACHINE_ROM names a file with a ROMFS, MACHINE_HARDWARE one with the tests' modules, which on a board are no Python at
all. MicroPython's unix port has no other memory to give than its heap, but the C
library has: a large variable of the environment lies in a mapping of its own.
"""

import gc
import os
import sys

import uctypes
import vfs

CARD_BLOCKS = 8192  # of 512 bytes, of the SD card that is in
_MORE = 16384  # bytes that another firmware may have more
_ALIGNMENT = 16
_LARGE = 262144  # bytes: for less the C library takes no mapping
_PAGE, _HEADER = 4096, 16  # bytes; the C library's own header goes before


def outside(size, name):
    """So many bytes outside of the heap; a name for each piece of memory. They go through the heap once."""
    gc.collect()
    os.putenv(name, "=" * max(size + 2 * _ALIGNMENT, _LARGE))
    gc.collect()
    mark = f"{name}=".encode()
    with open("/proc/self/maps") as maps:
        for line in maps:
            words = line.split()
            start, end = [int(word, 16) for word in words[0].split("-")]
            if not words[1].startswith("rw") or end - start < size or len(words) > 5:
                continue
            for page in range(start, end, _PAGE):  # the kernel may have joined it with its neighbours
                address = page + _HEADER
                if uctypes.bytes_at(address, len(mark)) == mark:
                    return uctypes.bytearray_at(address + _ALIGNMENT, size)
    raise MemoryError("no memory outside of the heap")


def mount(path, folder="/rom"):
    """Mount the ROMFS in a file, from where modules are imported first."""
    memory = outside(os.stat(path)[6], folder[1:].upper())
    with open(path, "rb") as file:
        file.readinto(memory)
    vfs.mount(vfs.VfsRom(memory), folder)
    sys.path.insert(0, folder)


def choose(board, state_dir, psram):
    """Have the firmware found that is to start; nothing that this takes is kept."""
    from hal.micropython.update.supervisor import prepare

    prepare(board, state_dir, lambda size: psram[:size])


def address(text):
    """(host, port) of HOST:PORT."""
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    mount(os.getenv("MACHINE_ROM"))
    board, state_dir, http, modbus_tcp = sys.argv[1:]
    with open(board) as file:
        has_slots = '"slots"' in file.read()
    size = os.stat(os.getenv("MACHINE_ROM"))[6] + _MORE  # another firmware may be somewhat larger
    psram = memoryview(outside(size, "PSRAM") if has_slots else b"")
    mount(os.getenv("MACHINE_HARDWARE"), "/hardware")
    import machine

    if "card" not in os.listdir(os.getenv("MACHINE_DIR")):
        machine.make_card(CARD_BLOCKS)
    choose(board, state_dir, psram)
    try:
        from firmware.microcontroller import run

        run(board, state_dir, address(http), address(modbus_tcp))
    except Exception as exc:
        if "/rom" in sys.path[:2]:
            raise  # a test wants to know
        sys.print_exception(exc)
        machine.reset()
