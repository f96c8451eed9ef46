"""The network of a microcontroller: Ethernet by a W5500 or the chip's own, or WLAN."""

import asyncio

from hal.contracts import Network, PartError
from hal.fields import Choice, Field, Integer, Nullable, Object, Text
from hal.runtime import log
from hal.runtime.annotations import Any

LOOK_SEC = 1.0  # between two looks at the link and the address: no port tells of their changes
RECONNECT_LOOKS = 30  # looks without a WLAN, after which it is dialled anew: not all ports do that by themselves

_NONE = ("0.0.0.0", "")
_PIN = Nullable(Integer(0, 255))
_SPI = ("sck", "mosi", "miso")


def _kind_rule(options: dict) -> list[str]:
    if options["kind"] == "wlan":
        return [] if options["ssid"] else ["ssid: is missing; a WLAN needs it"]
    given = [name for name in ("cs",) + _SPI if options[name] is not None]
    if options["kind"] == "w5500-lan" and (len(given) < 4 or options["int"] is None):
        return ["sck, mosi, miso, cs, int: are the pins of the W5500, which all are needed"]
    return []


class BoardNetwork(Network):
    """One interface of the board, which the firmware's settings run. There is no VPN on MicroPython."""

    OPTIONS = Object(
        Field(
            "kind",
            Choice("w5500-lan", "wiznet5k", "lan", "wlan"),
            help="w5500-lan: a W5500 as an ESP32 has it, network.LAN; wiznet5k: network.WIZNET5K; lan: network.LAN by "
            "the port's defaults; wlan: network.WLAN",
        ),
        Field("spi", Integer(0, 7), 1, help="number of the SPI bus of the W5500"),
        Field("sck", _PIN, None, help="its pins; none where the port knows them"),
        Field("mosi", _PIN, None),
        Field("miso", _PIN, None),
        Field("cs", _PIN, None),
        Field("int", _PIN, None),
        Field("reset", _PIN, None),
        Field("ssid", Text(32), "", help="name of the WLAN"),
        Field("password", Text(63), "", help="of the WLAN", secret=True),
        rule=_kind_rule,
    )

    def __init__(self, options: dict, state_dir: str):
        import machine  # here, so that what the driver takes can be told where there is none
        import network

        super().__init__()
        self._machine = machine
        self._network = network
        self._options = options
        self._nic: Any = None
        self._applied: dict | None = None
        self._seen: dict = {}

    async def start(self) -> None:
        """Switch the interface on. PartError where the board has none such."""
        if self._nic is None:
            try:
                self._nic = self._make()
                self._nic.active(True)
            except (OSError, ValueError, AttributeError) as exc:
                self._nic = None
                raise PartError(f"the network interface does not start: {exc}") from exc
            self._dial()
        self._seen = self.ethernet()
        self.keep_running(self._watch())

    async def probe(self) -> str:
        """The interface, its MAC and address."""
        if self._nic is None:
            await self.start()
        state = self.ethernet()
        return f"{self._options['kind']} {state['mac']} {state['ip'] or 'without an address'}"

    def _make(self) -> Any:
        kind, options, pin = self._options["kind"], self._options, self._machine.Pin
        if kind == "wlan":
            return self._network.WLAN(self._network.WLAN.IF_STA)
        if kind == "lan":
            return self._network.LAN()
        if options["cs"] is None:
            return self._network.WIZNET5K()  # a firmware for this very board knows its pins
        spi = self._machine.SPI(options["spi"], **{name: pin(options[name]) for name in _SPI})
        reset = {} if options["reset"] is None else {"reset": pin(options["reset"])}
        if kind == "wiznet5k":
            return self._network.WIZNET5K(spi, pin(options["cs"]), *reset.values())
        pins = dict({"cs": pin(options["cs"]), "int": pin(options["int"])}, **reset)
        return self._network.LAN(spi=spi, phy_type=self._network.PHY_W5500, phy_addr=0, **pins)

    def _dial(self) -> None:
        if self._options["kind"] == "wlan":
            try:
                self._nic.connect(self._options["ssid"], self._options["password"])
            except OSError as exc:
                log(f"network: the WLAN is not dialled: {exc}")

    async def _watch(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(LOOK_SEC)
            state = self.ethernet()
            if state != self._seen:
                self._seen = state
                self._find_name_servers()
                if self.on_change is not None:
                    self.on_change()
            looks = 0 if state["linkUp"] else looks + 1
            if looks >= RECONNECT_LOOKS:
                looks = 0
                self._dial()

    def ethernet(self) -> dict:
        """State of the interface, whatever its kind is."""
        if self._nic is None:
            return {"ip": None, "mac": "00:00:00:00:00:00", "linkUp": False}
        address = self._nic.ipconfig("addr4")[0]
        mac = ":".join([f"{byte:02x}" for byte in self._nic.config("mac")])
        return {"ip": None if address in _NONE else address, "mac": mac, "linkUp": bool(self._nic.isconnected())}

    async def vpn(self, interface: str) -> dict:
        """There is none."""
        return {"up": False, "interface": interface, "ip": None, "peerHandshakeSec": None}

    def is_managed(self) -> bool:
        """The settings run it."""
        return True

    async def apply(self, ethernet: dict, tunnel_interface: str, tunnel: dict | None) -> None:
        """Have the interface use these. PartError for a tunnel, which no port has, and for what the port refuses."""
        if self._nic is None:
            raise PartError("the network interface does not start")
        if ethernet != self._applied:
            try:
                self._apply(ethernet)
            except (OSError, ValueError) as exc:
                raise PartError(f"the network interface does not take them: {exc}") from exc
            self._applied = ethernet
        if tunnel is not None:
            raise PartError("there is no WireGuard on MicroPython: setting wgManual has no effect on this board")

    def _apply(self, ethernet: dict) -> None:
        self._network.hostname(ethernet["hostname"])
        if ethernet["dhcp"]:
            self._nic.ipconfig(dhcp4=True)
        else:
            self._nic.ipconfig(dhcp4=False)
            self._nic.ipconfig(addr4=(ethernet["ip"], ethernet["mask"]), gw4=ethernet["gateway"])
            if ethernet["dns1"] not in _NONE:
                self._network.ipconfig(dns=ethernet["dns1"])
        self._find_name_servers(ethernet)

    def _find_name_servers(self, ethernet: dict | None = None) -> None:
        """Tell the runtime whom it may ask for names."""
        from hal.runtime.micropython import dns

        wanted = ethernet or self._applied or {"dhcp": True}
        found = [self._network.ipconfig("dns")] if wanted["dhcp"] else [wanted["dns1"], wanted["dns2"]]
        dns.SERVERS[:] = [(address, 53) for address in found if address not in _NONE]

    def is_own_address(self, address: str) -> bool:
        """The loopback's, and that of the interface."""
        return address.startswith("127.") or address == self.ethernet()["ip"]
