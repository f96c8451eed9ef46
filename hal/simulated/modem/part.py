"""The simulated board's GSM modem: the real AT code on a pty, behind which a fake modem lives."""

import os

from hal.contracts import NoModem
from hal.fields import Field, Nullable, Object, Text
from hal.linux.modem import AtModem
from hal.runtime import now_ms
from hal.runtime.annotations import Callable
from hal.simulated.control import join
from hal.simulated.modem.fake import FakeModem


class SimulatedModem(AtModem):
    """A modem whose other end is a fake one (hal/simulated/modem/fake.py); messages it sends go nowhere."""

    OPTIONS = Object(
        Field("pin", Nullable(Text(8, 4)), None, help="PIN that the SIM card asks for; null: it asks for none"),
    )

    def __init__(self, options: dict, state_dir: str, clock: Callable[[], int] = now_ms):
        self._link = os.path.join(state_dir, "modem")
        self.fake = FakeModem(self._link, pin=options["pin"])
        super().__init__(AtModem.OPTIONS.check({"port": self._link}), state_dir, clock)
        join(state_dir, "modem", self.fake.control)

    async def start(self) -> None:
        """Plug the fake modem in and begin to talk to it."""
        try:
            await self.fake.start()
        except OSError as exc:
            raise NoModem(f"the fake modem's tty cannot be made: {exc}") from exc
        await super().start()

    async def stop(self) -> None:
        """Stop talking, unplug the fake modem."""
        await super().stop()
        await self.fake.stop()

    def notice(self) -> str:
        """Where the modem is."""
        return f"GSM modem {self._link}"
