"""What stands in for the bus on a board without an RS-485 port."""

from firmware.services.bus.transaction import Transaction
from firmware.services.errors import Refused
from hal.runtime.annotations import Callable
from hal.service import Service


def no_port() -> Refused:
    """The refusal of whatever needs the port."""
    return Refused("NO_PORT", "this board has no RS-485 port")


class NoBus(Service):
    """Refuses every transaction."""

    def submit(self, transaction: Transaction) -> None:
        """Refused NO_PORT."""
        raise no_port()

    def cancel(self, transaction: Transaction) -> None:
        """Nobody waits for this answer any more; nothing does here."""

    def is_open(self) -> bool | None:
        """Whether the port is open, None where there is none."""
        return None

    def state(self) -> dict | None:
        """The state key `bus`."""
        return None

    def devices(self, utc_iso_ago: Callable[[float], str | None]) -> dict | None:
        """The state key `devices`; `utc_iso_ago(seconds)` gives a moment's UTC time."""
        return None
