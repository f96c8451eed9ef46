"""The process on a microcontroller: it has no arguments, no signals and nobody who waits for an exit code."""

import asyncio

from firmware.device import Device
from hal.board import load_board
from hal.runtime import make_folder

ALL_ADDRESSES = "0.0.0.0"


def run(
    board_path: str, state_dir: str, http: tuple[str, int] | None = None, modbus_tcp: tuple[str, int] | None = None
) -> None:
    """Run the device of a board config until it restarts, then have the board restart. BadBoard, BadField, PartError,
    OSError where it cannot start.

    `http` and `modbus_tcp`, each (host, port), are for simulated boards: real ones serve as their settings say.
    """
    asyncio.run(_serve(board_path, state_dir, http, modbus_tcp))


async def _serve(
    board_path: str, state_dir: str, http: tuple[str, int] | None, modbus_tcp: tuple[str, int] | None
) -> None:
    make_folder(state_dir)
    board = load_board(board_path, state_dir)
    device = Device(board, state_dir)
    settings = device.settings.active
    http = http or (ALL_ADDRESSES, settings["httpd"]["port"])
    modbus_tcp = modbus_tcp or (ALL_ADDRESSES, settings["modbusTcp"]["port"])
    try:
        ports = await device.start(http, modbus_tcp if settings["modbusTcp"]["enabled"] else None, False)
        print(f"http://{http[0]}:{ports[0]}/, Modbus TCP {modbus_tcp[0]}:{ports[1]}")
        await device.ended.wait()
    finally:
        await device.stop()
    board.system.restart(device.restart_reason or "END")
