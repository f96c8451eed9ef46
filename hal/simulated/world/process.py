"""The process of the simulated Modbus world: `python -m hal.simulated.world.process STATE_DIR BAUD_RATE PARITY`.

It makes two ptys, `STATE_DIR/rs485` for the firmware and `STATE_DIR/rs485-tool` for another Modbus tool, each the
master's end of an RS-485 line to the same devices, which begin at that baud rate and parity (N, E, O). Commands come in
on the standard input and are answered on the standard output, one line of JSON each way; the end of the input ends the
process.
"""

import gc
import json
import os
import select
import sys
import time
from typing import TYPE_CHECKING

from hal.simulated.world.port import Port

# Only what the ptys need is imported here: whoever starts the world waits for them, not for pymodbus.
if TYPE_CHECKING:
    from hal.simulated.world.commands import Commands

LINES = ("rs485", "rs485-tool")

_SPIN = 0.00015  # seconds: sleeping is that inexact
_COMMAND_LIMIT = 65536


def main() -> None:
    """Run the world until the standard input ends."""
    state_dir, baud_rate, parity = sys.argv[1:]
    ports = {name: Port(os.path.join(state_dir, name)) for name in LINES}
    try:
        _answer(json.dumps({name: port.plug() for name, port in ports.items()}).encode() + b"\n")
        _serve(ports, int(baud_rate), parity)
    finally:
        for port in ports.values():
            port.unplug()


def _serve(ports: dict[str, Port], baud_rate: int, parity: str) -> None:
    from hal.simulated.world.commands import Commands
    from hal.simulated.world.devices import Devices
    from hal.simulated.world.line import Line

    devices = Devices(baud_rate, parity, time.monotonic)
    for port in ports.values():
        port.line = Line(devices, port.write, port.setting)
    gc.collect()
    gc.freeze()  # a collection that walks through all modules would hold a byte up for milliseconds
    console = _Console(Commands(ports, devices))
    while console.open:
        _turn(ports, console)


def _turn(ports: dict[str, Port], console: "_Console") -> None:
    """Wait for the next thing to happen and do it."""
    plugged = {port.master: port for port in ports.values() if port.master >= 0}
    due = min((due for port in plugged.values() if (due := port.line.next_due())), default=None)
    timeout = None
    if due:
        timeout = max(0.0, due.time - time.monotonic() - (_SPIN if due.exact else 0.0))
    readable, _, _ = select.select([0, *plugged], [], [], timeout)
    for descriptor in readable:
        if descriptor:
            plugged[descriptor].line.receive(plugged[descriptor].read(), time.monotonic())
    if due and due.exact and not readable:
        while time.monotonic() < due.time:
            pass
    for port in plugged.values():
        port.line.run(time.monotonic())
    if 0 in readable:
        console.read()


class _Console:
    """Takes commands from the standard input."""

    def __init__(self, commands: "Commands"):
        self.open = True
        self._commands = commands
        self._waiting = b""

    def read(self) -> None:
        """Answer the commands that have come in."""
        data = os.read(0, _COMMAND_LIMIT)
        self.open = bool(data)
        *lines, self._waiting = (self._waiting + data).split(b"\n")
        if len(self._waiting) > _COMMAND_LIMIT:
            self._waiting = b""  # what is left of that line will be refused as no JSON
        for line in lines:
            _answer(self._commands.answer(line))


def _answer(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
