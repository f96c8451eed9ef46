"""A button that is pressed by command."""

import asyncio
import signal

from hal.contracts import Button
from hal.simulated.control import join


class SimulatedButton(Button):
    """Pressed by SIGUSR1 to the process or by `button press` on the control socket."""

    def __init__(self, options: dict, state_dir: str):
        super().__init__()
        join(state_dir, "button", self.control)

    async def start(self) -> None:
        """Take SIGUSR1 for a press."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.press)

    def press(self) -> None:
        """One press."""
        if self.on_press is not None:
            self.on_press()

    async def control(self, words: list[str]) -> str:
        """`press`."""
        if words != ["press"]:
            raise ValueError("the button knows: press")
        self.press()
        return "pressed"
