"""The process: arguments, signals, exit codes.

Exit codes: 0 stopped by a signal, 1 a failure at run time, 2 wrong arguments or a wrong board config.
"""

import argparse
import asyncio
import sys

from firmware.device import Device
from hal.board import BadBoard, load_board
from hal.contracts import PartError
from hal.fields import BadField
from hal.runtime import flush_output, make_folder, on_stop_signal, run


class BadArgument(Exception):
    """An argument of the command line cannot be used."""


def parse_address(text: str) -> "tuple[str, int]":
    """(host, port) of HOST:PORT, port 0 for any free one; BadArgument where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadArgument(f"{text}: must be HOST:PORT")
    return host.strip("[]"), int(port)


def parse_arguments(arguments: "list[str]"):
    """The command line's options."""
    parser = argparse.ArgumentParser(description="Firmware of the MC252 Modbus gateway")
    parser.prog = "mc252"
    parser.add_argument("--board", default="board-configs/simulated.json", help="board config (JSON)")
    parser.add_argument("--state-dir", default=".state", help="folder for what must survive a restart")
    parser.add_argument("--http", default="", help="HOST:PORT of the HTTP API; default: setting httpd, all addresses")
    return parser.parse_args(arguments)


def build(options) -> Device:
    """The device that the options ask for. BadBoard, BadArgument."""
    try:
        make_folder(options.state_dir)
    except OSError as exc:
        raise BadArgument(f"--state-dir {options.state_dir}: {exc}") from exc
    board = load_board(options.board, options.state_dir)
    try:
        return Device(board, options.state_dir)
    except BadField as exc:
        raise BadBoard(f"{options.board}: settings: {exc}") from exc


async def serve(options) -> None:
    """Run the device until it is told to stop; a restart asked for by a client does not return."""
    host, port = parse_address(options.http) if options.http else ("0.0.0.0", 0)
    device = build(options)
    stopped = asyncio.Event()
    on_stop_signal(stopped.set)
    try:
        bound = await device.start(host, port if options.http else device.settings.active["httpd"]["port"])
        print(", ".join([f"http://{host}:{bound}/"] + device.board.notices()))
        flush_output()
        await stopped.wait()
    finally:
        await device.stop()


def main() -> None:
    """Entry of the command `mc252`."""
    options = parse_arguments(sys.argv[1:])
    try:
        run(serve(options))
    except (BadBoard, BadArgument) as exc:
        print(f"mc252: {exc}", file=sys.stderr)
        sys.exit(2)
    except (PartError, OSError) as exc:
        print(f"mc252: {exc}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
