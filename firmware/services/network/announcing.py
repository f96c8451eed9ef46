"""The device found on its network by name and by what it serves: HOSTNAME.local, _http._tcp and _modbus._tcp."""

import asyncio

from firmware import VERSION
from firmware.services.system.identity import Identity
from hal.contracts import NameTaken, Network, NotManaged, PartError
from hal.service import Pauses, Service, Trouble


class Announcer(Service):
    """Has the board's network answer multicast DNS. `hostname` is the wanted name; where it is taken, the last half of
    the MAC follows it."""

    def __init__(self, network: Network, identity: Identity, hostname: str):
        self._network = network
        self._hostname = hostname
        who = identity.full()
        self._suffix = who["mac"].replace(":", "")[6:]
        self._name = f"{who['device']} {self._suffix}"
        self._about = {"model": who["device"], "version": VERSION}

    def announce(self, http_port: int, modbus_port: int | None) -> None:
        """Begin, with the ports that are served; None: that one is not."""
        services = [("_http._tcp", http_port)]
        if modbus_port is not None:
            services.append(("_modbus._tcp", modbus_port))
        self.keep_running(self._run(services))

    async def _run(self, services: list[tuple[str, int]]) -> None:
        pauses = Pauses()
        trouble = Trouble("announcement")
        hostname = self._hostname
        while True:
            try:
                await self._network.announce(hostname, self._name, services, self._about)
                pauses.reset()
            except NotManaged:
                await asyncio.Event().wait()  # a board that cannot: nothing to do until the stop
            except NameTaken as exc:
                trouble.tell(str(exc))
                hostname = f"{self._hostname}-{self._suffix}"
                await asyncio.sleep(pauses.next())
            except PartError as exc:
                trouble.tell(str(exc))
                await asyncio.sleep(pauses.next())
