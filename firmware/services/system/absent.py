"""What stands in for the modem and the network on boards without them."""

from firmware.services.errors import Refused
from hal.service import Service


class NoGsm(Service):
    """No modem, for a reason: the board has none, or it is switched off."""

    def __init__(self, reason: str = "this board has none"):
        self._reason = reason

    async def state(self) -> dict | None:
        """The state key `gsm`."""
        return None

    async def sms_test(self, phone: str | None, text: str | None) -> tuple[str, str] | None:
        """Refused NO_MODEM."""
        raise Refused("NO_MODEM", "no GSM modem: " + self._reason)


class NoNetworking(Service):
    """A network that is not this firmware's to know or set."""

    def __init__(self) -> None:
        self.vpn_interfaces: list[str] = []  # names of those over which administrators come

    def check(self, before: dict, after: dict, author: object) -> None:
        """BadField where the network cannot take a change of settings; there is none to ask."""

    def ethernet(self) -> dict | None:
        """The state key `ethernet`."""
        return None

    async def vpn(self) -> dict | None:
        """The state key `vpn`."""
        return None
