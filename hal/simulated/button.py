"""A button that is pressed by command."""

from hal.contracts import Button


class SimulatedButton(Button):
    """Pressed by SIGUSR1 to the process or by `button press` on the control socket."""

    def __init__(self, options: dict, state_dir: str):
        super().__init__()

    def press(self) -> None:
        """One press."""
        if self.on_press is not None:
            self.on_press()

    async def control(self, words: "list[str]") -> str:
        """`press`."""
        if words != ["press"]:
            raise ValueError("the button knows: press")
        self.press()
        return "pressed"
