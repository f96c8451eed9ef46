"""The process: arguments, signals, exit codes.

Exit codes: 0 stopped by a signal, 1 a failure at run time, 2 wrong arguments or a wrong board config.
"""

import argparse
import sys

from firmware.device import Device
from hal.board import BadBoard, load_board
from hal.contracts import PartError
from hal.fields import BadField
from hal.runtime import flush_output, make_folder, on_stop_signal, run

ALL_ADDRESSES = "0.0.0.0"


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
    parser.add_argument("--modbus-tcp", default="", help="HOST:PORT of Modbus TCP; default: setting modbusTcp")
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
    """Run the device until it is told to stop, or restarts: then the board takes over."""
    http = parse_address(options.http) if options.http else None
    modbus_tcp = parse_address(options.modbus_tcp) if options.modbus_tcp else None
    device = build(options)
    on_stop_signal(device.ended.set)
    settings = device.settings.active
    http = http or (ALL_ADDRESSES, settings["httpd"]["port"])
    modbus_tcp = modbus_tcp or (http[0], settings["modbusTcp"]["port"])
    try:
        ports = await device.start(http, modbus_tcp if settings["modbusTcp"]["enabled"] else None)
        announce(http[0], ports[0], modbus_tcp[0], ports[1], device.board.notices())
        await device.ended.wait()
    finally:
        await device.stop()
    if device.restart_reason is not None:
        device.board.system.restart(device.restart_reason)


def announce(http_host: str, http_port: int, modbus_host: str, modbus_port: "int | None", notices: "list[str]") -> None:
    """Print where the device is reached, in one line."""
    words = [f"http://{http_host}:{http_port}/"]
    if modbus_port is not None:
        words.append(f"Modbus TCP {modbus_host}:{modbus_port}")
    print(", ".join(words + notices))
    flush_output()


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
