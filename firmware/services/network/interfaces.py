"""The wired network and the VPN as the settings want them."""

import asyncio

from firmware.services import shapes
from firmware.services.problems import Problems
from firmware.services.settings.table import default
from firmware.services.system.absent import NoNetworking
from hal.contracts import Network, NotManaged, PartError
from hal.fields import BadField
from hal.runtime import log
from hal.runtime.logs import INFO
from hal.service import Pauses

RETRY_PAUSES = (5, 10, 30, 60, 300)  # seconds between tries to apply the settings; the last one repeats
TUNNEL = "wgmanual"  # interface of the tunnel that setting wgManual describes


class Networking(NoNetworking):
    """`network` is the board's part. What could not be applied of the settings is reported to `problems`."""

    def __init__(self, network: Network, settings: shapes.Area, problems: Problems):
        super().__init__()
        self._network = network
        self._settings = settings
        self._tunnel = settings["wgManual"] if settings["wgManual"]["enabled"] else None
        self._problems = problems
        if settings["wgCloud"]["enabled"]:
            self.vpn_interfaces.append(settings["wgCloud"]["interface"])
        if self._tunnel is not None and TUNNEL not in self.vpn_interfaces:
            self.vpn_interfaces.append(TUNNEL)

    def check(self, before: dict, after: dict, author: object) -> None:
        """BadField where a change of settings would make administrators of those on an interface that is no tunnel."""
        name = after["wgCloud"]["interface"]
        if after["wgCloud"] == before["wgCloud"] or self._network.is_tunnel(name):
            return
        if self._network.interface_index(name) is not None:
            raise BadField(f"wgCloud.interface: {name} is no tunnel; whoever comes over it would be the administrator")

    async def start(self) -> None:
        """Have the system use the settings; what it does not take is a problem and is tried again."""
        if not await self._apply():
            self.spawn(self._retry())

    async def _apply(self) -> bool:
        """Whether another try would be of no use."""
        try:
            await self._network.apply(dict(self._settings["ethernet"]), TUNNEL, self._tunnel and dict(self._tunnel))
        except NotManaged as exc:
            for name in _asked_for(self._settings):
                self._problems.report(f"setting {name}", f"setting {name} is not applied: {exc}")
        except PartError as exc:
            self._problems.report("network", f"the network settings are not applied: {exc}")
            return False
        else:
            self._problems.withdraw("network")
        return True

    async def _retry(self) -> None:
        pauses = Pauses(RETRY_PAUSES)
        while True:
            await asyncio.sleep(pauses.next())
            if await self._apply():
                log("the network settings are applied now", INFO)
                return

    def ethernet(self) -> dict | None:
        """The state key `ethernet`."""
        return self._network.ethernet()

    async def vpn(self) -> dict | None:
        """The state key `vpn`: the first interface that is up, else the first; None where none is wanted."""
        first = None
        for name in self.vpn_interfaces:
            state = await self._network.vpn(name)
            if state["up"]:
                return state
            first = first or state
        return first


def _asked_for(settings: shapes.Area) -> list[str]:
    """Keys whose values ask something of whoever sets the network up."""
    asked = ["ethernet"] if settings["ethernet"] != default("ethernet") else []
    return asked + (["wgManual"] if settings["wgManual"]["enabled"] else [])
