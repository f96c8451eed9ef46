"""The process: commands, signals, exit codes. firmware/command_line.py says how it is called.

Exit codes: 0 stopped by a signal, or done; 1 a failure at run time; 2 wrong arguments or a wrong board config.
"""

import argparse
import asyncio
import sys

from firmware import VERSION
from firmware.command_line import BadArgument, parse, parse_address
from firmware.device import Device
from hal.board import BadBoard, load_board, make_factory_login
from hal.contracts import PartError
from hal.fields import BadField
from hal.runtime import MICROPYTHON, flush_output, lock_folder, log, make_folder, on_stop_signal, run, unlock_folder
from hal.runtime.logs import INFO, LEVELS, LOG

ALL_ADDRESSES = "0.0.0.0"
LOCK_TRIES = 3  # a second apart


def build(options: argparse.Namespace) -> Device:
    """The device that the options ask for. BadBoard."""
    board = load_board(options.board, options.state_dir)
    try:
        return Device(board, options.state_dir)
    except BadField as exc:
        raise BadBoard(f"{options.board}: settings: {exc}") from exc


def make_state_dir(path: str) -> None:
    """Make the folder for what must survive a restart. BadArgument."""
    try:
        make_folder(path)
    except OSError as exc:
        raise BadArgument(f"--state-dir {path}: {exc}") from exc


async def hold_state_dir(path: str) -> None:
    """Have the folder for this process alone. PartError where another one does not let it go.

    That may be one that has been told to stop and hangs in the kernel, on a card it may be: it is worth another try.
    """
    make_state_dir(path)
    for _ in range(LOCK_TRIES):
        if lock_folder(path):
            return
        await asyncio.sleep(1)
    raise PartError(f"--state-dir {path}: is in use by another mc252")


def log_level(name: str) -> int:
    """The priority up to which is logged. BadArgument."""
    if name not in LEVELS:
        raise BadArgument(f"--log-level {name}: must be one of " + ", ".join(LEVELS))
    return LEVELS[name]


async def serve(options: argparse.Namespace) -> None:
    """Run the device until it is told to stop, or restarts: then the board takes over."""
    http = parse_address(options.http) if options.http else None
    modbus_tcp = parse_address(options.modbus_tcp) if options.modbus_tcp else None
    LOG.level = log_level(options.log_level)
    await hold_state_dir(options.state_dir)
    device = build(options)
    on_stop_signal(device.ended.set)
    settings = device.settings.active
    http = http or (ALL_ADDRESSES, settings["httpd"]["port"])
    modbus_tcp = modbus_tcp or (http[0], settings["modbusTcp"]["port"])
    try:
        ports = await device.start(http, modbus_tcp if settings["modbusTcp"]["enabled"] else None, bool(options.http))
        notices = device.board.notices()
        if device.front_door.missed is not None:
            notices.append(f"HTTP port {device.front_door.missed} is not to be had")
        if settings["protect"]["password"] is None:
            notices.append("no login yet: mc252 provision, or the button")
        announce(http[0], ports[0], modbus_tcp[0], ports[1], notices)
        LOG.keep(f"started: firmware {VERSION}, {device.board.system.start_reason()}", INFO)
        await device.ended.wait()
    finally:
        await device.stop()
        unlock_folder(options.state_dir)  # at once, even where the kernel holds the process's end up
    if device.restart_reason is not None:
        log(f"restarting: {device.restart_reason}", INFO)
        device.restart()


def announce(http_host: str, http_port: int, modbus_host: str, modbus_port: int | None, notices: list[str]) -> None:
    """Print where the device is reached, in one line."""
    words = [f"http://{_bracketed(http_host)}:{http_port}/"]
    if modbus_port is not None:
        words.append(f"Modbus TCP {_bracketed(modbus_host)}:{modbus_port}")
    print(", ".join(words + notices))
    flush_output()


def _bracketed(host: str) -> str:
    """A host as addresses have it before a port (RFC 3986 section 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def require_linux(command: str) -> None:
    """BadArgument where a command is called on MicroPython."""
    if MICROPYTHON:
        raise BadArgument(f"{command}: is for Linux; on MicroPython the board config has the factory login")


async def check(options: argparse.Namespace) -> None:
    """Print what works on the board and what does not; exit code 1 where something does not."""
    require_linux("check")
    from tempfile import TemporaryDirectory

    from firmware.board_check import check_board

    with TemporaryDirectory(prefix="mc252-check-") as folder:  # so that a device which runs keeps its files
        if not await check_board(options.board, folder, print):
            sys.exit(1)  # the table has said what and why


async def provision(options: argparse.Namespace) -> None:
    """Make the factory login and print it; nothing where there is one already."""
    require_linux("provision")
    make_state_dir(options.state_dir)
    login = make_factory_login(options.state_dir)
    if login is None:
        print("mc252: there is a factory login already, which is not shown again", file=sys.stderr)
    else:
        print(f"login {login[0]} / {login[1]}")


async def licence(options: argparse.Namespace) -> None:
    """Make a licence, or show what one says."""
    require_linux("licence")
    from firmware.maker.licences import answer

    try:
        print(answer(options))
    except ValueError as exc:
        raise BadArgument(f"licence: {exc}") from None


COMMANDS = {"run": serve, "check": check, "provision": provision, "licence": licence}


def main() -> None:
    """Entry of the command `mc252`."""
    options = parse(sys.argv[1:])
    try:
        if options.command not in COMMANDS:  # which MicroPython's argparse does not look at
            raise BadArgument(f"{options.command}: the commands are " + ", ".join(COMMANDS))
        run(COMMANDS[options.command](options))
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
