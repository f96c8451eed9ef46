"""The command line of `mc252`: its commands, their options, and what `--help` says of them. deploy/mc252.8 is its page.

MicroPython's argparse knows no commands: there only the device runs.
"""

import argparse
import os

from firmware import VERSION
from hal.runtime import MICROPYTHON
from hal.runtime.annotations import Any

INSTALLED_BOARD = "/etc/mc252/board.json"
SIMULATED_BOARD = "board-configs/simulated.json"
STATE_DIR = ".state"


class BadArgument(Exception):
    """An argument of the command line cannot be used."""


def parse_address(text: str) -> tuple[str, int]:
    """(host, port) of HOST:PORT, port 0 for any free one; BadArgument where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadArgument(f"{text}: must be HOST:PORT")
    return host.strip("[]"), int(port)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command in `command`, and its options. Ends the process for --help, --version and what is no option."""
    parser = argparse.ArgumentParser(description="Firmware of the MC252 Modbus gateway: runs the device.")
    parser.prog = "mc252"
    if MICROPYTHON:
        parser.add_argument("command", nargs="?", default="run")  # its options take no other attribute
        _add_run_options(parser)
        return parser.parse_args(arguments)
    parser.add_argument("--version", action="version", version=f"mc252 {VERSION}")
    _add_run_options(parser)
    _add_commands(parser)
    parser.set_defaults(command="run")
    return parser.parse_args(arguments)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--board", default=SIMULATED_BOARD, help="board config (JSON); default: " + SIMULATED_BOARD)
    parser.add_argument(
        "--state-dir", default=STATE_DIR, help="folder for what must survive a restart; default: .state"
    )
    parser.add_argument("--http", default="", help="HOST:PORT of the HTTP API; default: setting httpd, all addresses")
    parser.add_argument("--modbus-tcp", default="", help="HOST:PORT of Modbus TCP; default: setting modbusTcp")
    parser.add_argument("--log-level", default="info", help="error, warning or info: what is logged; default: info")


def _add_commands(parser: argparse.ArgumentParser) -> None:
    from firmware.maker.licences import add_arguments

    commands = parser.add_subparsers(metavar="COMMAND", title="commands, instead of running the device")
    check = _command(commands, "check", "try every part of a board, and say what works, what does not, and why")
    board = INSTALLED_BOARD if os.path.exists(INSTALLED_BOARD) else SIMULATED_BOARD
    check.add_argument("--board", default=board, help=f"board config (JSON); default here: {board}")
    provision = _command(commands, "provision", "make the factory login of a new device, and show it once")
    provision.add_argument("--state-dir", default=STATE_DIR, help="folder of the device; default: .state")
    add_arguments(_command(commands, "licence", "for the maker: make a licence for a device, or show what one says"))


def _command(commands: Any, name: str, purpose: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=purpose, description=purpose.capitalize() + ".")
    parser.set_defaults(command=name)
    return parser
