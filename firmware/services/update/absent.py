"""What stands in for updates and licences on a board without an updater."""

from firmware.services.errors import Refused
from firmware.services.gateway.callback import CloudConnections
from firmware.services.routing.own_registers import OwnRegisters
from hal.service import Service


class NoUpdates(Service):
    """Refuses both commands."""

    def state(self) -> dict | None:
        """The state key `fwUpdate`: there is nothing to tell of."""
        return None

    async def download(self, allow_older: bool = False) -> tuple[str, str | None]:
        """Refused NOT_ON_THIS_BOARD."""
        raise Refused("NOT_ON_THIS_BOARD", "this board cannot update its firmware by itself")

    async def program(self, allow_older: bool = False) -> tuple[str, str | None]:
        """Refused NOT_ON_THIS_BOARD."""
        return await self.download()

    def restart_when_installed(self) -> None:
        """Nothing is ever installed."""


class CloudActivation(Service):
    """Activation by the cloud alone: there are no keys that a licence could be checked with."""

    def __init__(self, registers: OwnRegisters, cloud: CloudConnections) -> None:
        self._registers = registers
        self._cloud = cloud

    def state(self) -> dict:
        """The state key `activation`."""
        return self._registers.activation()

    async def activate(self, text: str) -> dict:
        """Refused NOT_ON_THIS_BOARD."""
        raise Refused("NOT_ON_THIS_BOARD", "this board has no keys that licences are checked with")

    async def request_code(self) -> dict:
        """Ask the cloud for an activation code, which comes over its connection and then shows in the state."""
        self._registers.want_code()
        await self._cloud.reconnect()
        return short(self.state())


def short(state: dict) -> dict:
    """What the endpoint answers of a state."""
    return {name: state[name] for name in ("activated", "features", "expires")}
