"""The simulated board's RS-485 port: the real serial code on a pty, behind which a small world of devices lives."""

from hal.fields import Object
from hal.linux.rs485 import TtyPort
from hal.rs485.framing import Line
from hal.rs485.port import PortFailed
from hal.runtime import now_us
from hal.runtime.annotations import Callable
from hal.simulated.control import join
from hal.simulated.world.client import World, WorldGone


class SimulatedPort(TtyPort):
    """A tty whose other end is the simulated world (hal/simulated/world/process.py).

    A pty takes any baud rate and stop bits but neither parity nor 7 data bits, so these are told the world beside the
    tty; everything else goes through it.
    """

    OPTIONS = Object()

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_us):
        self.world = World(state_dir)
        super().__init__(TtyPort.OPTIONS.check({"port": self.world.port}), state_dir, clock)
        join(state_dir, "rs485", self.control)

    async def start(self) -> None:
        """Start the world."""
        try:
            await self.world.start()
        except WorldGone as exc:
            raise PortFailed(str(exc)) from exc

    async def stop(self) -> None:
        """Close the port and end the world."""
        await super().stop()
        await self.world.stop()

    def notice(self) -> str:
        """Where the port is."""
        return f"serial port {self.world.port} (a second one for your own tools: {self.world.tool})"

    async def control(self, words: list[str]) -> str:
        """Commands of the world by their names: `unplug`, `plug`, `fault KIND [name=value ...]`, `clear`, `stats`,
        `silence needed=false`, `lump bytes=N`."""
        if not words:
            raise ValueError("the serial port knows: unplug, plug, fault KIND [name=value ...], clear, stats, silence")
        command: dict = {"cmd": words[0]}
        for word in words[1:]:
            name, equals, value = word.partition("=")
            if not equals:
                name, value = "kind", name
            is_number = value.isdigit() and name != "hex"  # whose digits are a text
            command[name] = {"true": True, "false": False}.get(value, int(value) if is_number else value)
        answer = await self.world.command(command)
        if "error" in answer:
            raise ValueError(answer["error"])
        return " ".join(f"{name}={value}" for name, value in answer.items())

    def tty_settings(self, line: Line) -> dict:
        """The line's settings as far as a pty takes them."""
        return dict(super().tty_settings(line), bytesize=8, parity="N")

    async def _open(self, line: Line) -> None:
        await self._tell_world(line)
        await super()._open(line)

    async def _apply(self, line: Line) -> None:
        await self._tell_world(line)
        await super()._apply(line)

    async def _tell_world(self, line: Line) -> None:
        try:
            await self.world.command({"cmd": "line", "parity": line.parity, "dataBits": line.data_bits})
        except WorldGone as exc:
            raise PortFailed(str(exc)) from exc
