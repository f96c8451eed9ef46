"""What a board offers, part by part: the base classes that backends implement and services use.

A board has at most one of each part; a part that it lacks is None. A part's methods raise a subclass of `PartError`
when the hardware fails them, whose `code` is the API's error code. Times are seconds unless a name says otherwise.
The RS-485 port, whose base class does real work, is in hal/rs485/port.py.
"""

import asyncio

from hal.fields import Object
from hal.runtime.annotations import Any, Callable
from hal.service import Service


class PartError(Exception):
    """A part of the board failed or is not there; `code` is the API's error code, the text says what to do."""

    code = "PART_FAILED"


class NoCard(PartError):
    """No SD card is in the slot, or it was ejected."""

    code = "NO_CARD"


class CardFull(PartError):
    """The SD card has no room left."""

    code = "CARD_FULL"


class CardReadOnly(PartError):
    """The SD card is write-protected."""

    code = "CARD_READ_ONLY"


class CardFailed(PartError):
    """The SD card answered with an input or output error."""

    code = "CARD_FAILED"


class NoModem(PartError):
    """The GSM modem does not answer."""

    code = "NO_MODEM"


class ModemFailed(PartError):
    """The GSM modem refused: `reason` is its own error, such as "+CMS ERROR: 38"."""

    code = "MODEM_FAILED"

    def __init__(self, message: str, reason: str = ""):
        super().__init__(message)
        self.reason = reason


class NotPermitted(PartError):
    """The process lacks the privilege or the board the means."""

    code = "NOT_PERMITTED"


class NotManaged(PartError):
    """The part is not the firmware's to change on this board."""

    code = "NOT_PERMITTED"


class NameTaken(PartError):
    """Another host of the network has the name."""

    code = "PART_FAILED"


class UpdateRefused(PartError):
    """An update, an index of updates or a licence is not taken: `code` is the API's error code for the reason."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class Part(Service):
    """One part of a board.

    A backend is made as `Backend(options, state_dir)`: the options that the board config gives it, checked against its
    OPTIONS, and the folder in which it may keep what must survive a restart.
    """

    OPTIONS = Object()

    async def start(self) -> None:
        """Bring the part up. A part that can be plugged in later starts without it."""

    def notice(self) -> str | None:
        """What somebody who starts the board at a console should know of this part, in a few words."""
        return None

    async def probe(self) -> str:
        """Try the part and say in one line what was found; PartError says what is wrong."""
        return "present"

    async def try_out(self) -> str:
        """As `probe`, of a part that nobody has started, for a check of the board. A device may run on it meanwhile."""
        try:
            await self.start()
            return await self.probe()
        finally:
            await self.stop()


class Button(Part):
    """The push button on the front."""

    def __init__(self) -> None:
        # Called on the event loop, once for each press, however long it is.
        self.on_press: Callable[[], None] | None = None


class Clock(Part):
    """The system clock and the battery-backed real-time clock, both in UTC."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        raise NotImplementedError

    def set(self, moment: int) -> None:
        """Set the system clock and the RTC to milliseconds since 1970. NotPermitted where this process may not."""
        raise NotImplementedError


class Card(Part):
    """The SD card: where it is mounted and whether it is there. Files are read and written through the mount point."""

    insertions = 0  # counts up whenever a card is put in: what was opened before is void

    def before_write(self, count: int) -> None:
        """So many more bytes are about to be written: CardReadOnly or CardFull where the board knows beforehand.

        A mounted file system says so itself, by an OSError.
        """

    def root(self) -> str:
        """The folder that holds the card's files. NoCard where no card is mounted."""
        raise NotImplementedError

    def status(self) -> dict:
        """{"present": bool, "mounted": bool, "totalBytes": int|None, "freeBytes": int|None}."""
        raise NotImplementedError

    async def eject(self) -> None:
        """Sync and unmount; the card is then absent until it is put in again. NoCard where there is none."""
        raise NotImplementedError


class Modem(Part):
    """The GSM modem. It stays off until `configure` has been called."""

    def configure(self, apn: str, user: str, password: str | None, pin: str | None) -> None:
        """What the SIM card and the network want to hear, before `start`. An empty `apn`: no data connection is asked
        for; an empty `user`: the access point wants no login; `pin` None: none is tried."""
        raise NotImplementedError

    async def status(self) -> dict:
        """{"signalLevel": int percent|None, "ip": str|None, "registered": bool, "operator": str|None,
        "imei": str|None, "simReady": bool}, at once, as last heard. NoModem where it does not answer or is off."""
        raise NotImplementedError

    async def send_sms(self, phone: str, text: str) -> int:
        """Send a text message, in up to 10 parts where it is long; how many. NoModem; ModemFailed with the network's
        reason; ValueError where the text is longer or the phone number is none."""
        raise NotImplementedError


class Network(Part):
    """The wired network and the VPN."""

    def __init__(self) -> None:
        # Called on the event loop when an interface or an address changes.
        self.on_change: Callable[[], None] | None = None

    def ethernet(self) -> dict:
        """{"ip": str|None, "mac": lower-case colon form, "linkUp": bool}."""
        raise NotImplementedError

    def is_managed(self) -> bool:
        """Whether the firmware's settings run the network here, so that `apply` can be of use."""
        return False

    async def vpn(self, interface: str) -> dict:
        """{"up": bool, "interface": str, "ip": str|None, "peerHandshakeSec": int since the last handshake|None}."""
        raise NotImplementedError

    async def apply(self, ethernet: dict, tunnel_interface: str, tunnel: dict | None) -> None:
        """Have the system use these, which it goes on doing after a restart.

        `ethernet` is {"dhcp", "ip", "mask", "gateway", "dns1", "dns2", "hostname"}; `tunnel`, None for none, is a
        WireGuard tunnel on an interface of the given name: {"privateKey", "address" with its prefix, "peerPublicKey",
        "presharedKey"|None, "endpoint", "allowedIps", "keepAliveSec"}. NotManaged where the board's network is not the
        firmware's to set; PartError where the system does not take them.
        """
        raise NotManaged("the network of this board is set up by its own system")

    def interface_index(self, interface: str) -> int | None:
        """The kernel's number of an interface, another one whenever it has been made anew; None: there is none."""
        return None

    def is_tunnel(self, interface: str) -> bool:
        """Whether an interface is there whose packets come from nobody but the peers of a tunnel, by its kind."""
        return False

    def listen_on(self, interface: str, port: int, beside: list) -> Any:
        """A listening socket that takes connections to a TCP port only where they arrive on one interface.

        `beside` are sockets of this process that listen on that port already. OSError.
        """
        raise NotImplementedError

    async def announce(self, host: str, name: str, services: list[tuple[str, int]], about: dict[str, str]) -> None:
        """Answer for HOST.local and for services by multicast DNS (RFC 6762, RFC 6763) until the own address changes.

        `services` are (type such as "_http._tcp", port), all under the instance `name`; `about` is their TXT record.
        NotManaged where this board cannot; NameTaken; PartError where nothing is there that answers, or it has ended.
        """
        raise NotManaged("this board does not answer multicast DNS")

    def is_own_address(self, address: str) -> bool:
        """Whether an address is one of this machine's own, so that who calls from there is on the machine itself."""
        raise NotImplementedError


class System(Part):
    """The board itself: who it is, how it feels, how it restarts."""

    def identity(self) -> dict:
        """{"device": str, "deviceId": int, "firmwareType": int, "manufacturer": str, "mac": lower-case colon form,
        "uniqueMac": bool, "pubKey": base64 of the 32 bytes of an X25519 public key (RFC 7748 section 6.1) | None}."""
        raise NotImplementedError

    def factory_login(self) -> tuple[str, str] | None:
        """(user name, password) that the device had when it left the factory, or None: then only the button lets in."""
        return None

    def memory_free(self) -> int | None:
        """Bytes that can still be allocated."""
        return None

    def cpu_temperature(self) -> float | None:
        """Degrees Celsius."""
        return None

    def trace_bytes(self) -> int:
        """Memory that the board has for the trace of the bus."""
        return 256 * 1024

    def start_reason(self) -> str:
        """ "POWER_ON", or what the last `restart` was told."""
        return "POWER_ON"

    def watchdog_sec(self) -> float | None:
        """Seconds that the device may go without `feed` until it is restarted; None: nobody watches."""
        return None

    def ready(self) -> None:
        """The device serves: tell whoever started it."""

    def feed(self) -> None:
        """The device is well: keep the watchdog quiet."""

    def restart(self, reason: str) -> None:
        """Restart the device now; does not return where the board restarts the process itself."""
        raise NotImplementedError

    def restart_firmware(self, reason: str) -> None:
        """Have the firmware alone start anew, where the board can do so; the rest of the machine goes on."""
        self.restart(reason)


class Updater(Part):
    """What installs another firmware, and falls back to the one before it where that does not come up healthy.

    A moment (hal/update/signed.py) says what time it may be.
    """

    healthy_sec = 60  # a new firmware is confirmed when it has been healthy so long
    trial_sec = 300  # and given up when it has not become so by then
    firmware_alone = False  # whether it replaces the firmware and nothing else of the machine

    def __init__(self) -> None:
        self.is_up = asyncio.Event()  # once `start` knows what runs and what became of the last update

    def device(self) -> dict:
        """{"compatible": the board's name for bundles, "architecture": what modules must have been built for}."""
        raise NotImplementedError

    def running(self) -> dict:
        """{"version": str, "slot": str, "trial": bool, whether it must still show that it is healthy}."""
        raise NotImplementedError

    def check_up(self) -> None:
        """PartError where nothing is known of what runs yet."""
        if not self.is_up.is_set():
            raise PartError("the board's updater has not come up, the log says why")

    def check_not_on_trial(self) -> None:
        """UpdateRefused UPDATE_ON_TRIAL while what runs must still show that it is healthy.

        An update would overwrite what is there to fall back to. Every `install` begins with this.
        """
        if self.running()["trial"]:
            why = f"what runs is on trial until it was healthy for {self.healthy_sec} s: install another one then"
            raise UpdateRefused("UPDATE_ON_TRIAL", why)

    def last(self) -> dict:
        """What became of the last update: {"result": ""|"DONE"|"ROLLED_BACK", "error": str, "rolledBackFrom": str}."""
        raise NotImplementedError

    def download_path(self) -> str:
        """The file that a bundle is downloaded to; it is there over restarts."""
        raise NotImplementedError

    def room(self) -> int:
        """Bytes that a bundle may have."""
        raise NotImplementedError

    def open_document(self, document: object, use: str, moment: Any) -> dict:
        """The payload of a signed document of a use (hal/update/signed.py). UpdateRefused."""
        raise NotImplementedError

    async def inspect(self, path: str, moment: Any, allow_older: bool) -> dict:
        """Check a bundle, every byte of it: {"version": str, "size": int}. UpdateRefused with the reason's code."""
        raise NotImplementedError

    async def install(self, path: str, moment: Any, allow_older: bool, progress: Callable[[int], None]) -> None:
        """Install a bundle beside what runs and have it start next, on trial; `progress(percent)` now and then.

        UpdateRefused as of `check_not_on_trial` and `inspect`; PartError where it cannot be stored. What runs stays as
        it is either way.
        """
        raise NotImplementedError

    async def confirm(self) -> None:
        """What runs is healthy: it is the one that starts from now on."""
        raise NotImplementedError

    async def give_up(self, why: str) -> None:
        """What runs on trial is not healthy: the one before it starts next."""
        raise NotImplementedError
