"""What the fake modem is in: its SIM card, its network, its data connections, its settings, its faults."""

import itertools
import re
from collections.abc import Callable

from hal.simulated.modem.sim import CmeError, Sim
from hal.simulated.modem.sms import CmsError, Outbox, Part, phone_number, read_pdu, read_text

# <stat> of +CREG, +CGREG and +CEREG (3GPP TS 27.007 sections 7.2, 10.1.20, 10.1.22)
_NETWORKS = {
    "home": (1, 1, 0),
    "roaming": (5, 5, 0),
    "lte": (0, 0, 1),
    "lost": (2, 2, 2),
    "denied": (3, 3, 3),
}
NETWORKS = tuple(_NETWORKS)
DOMAINS = ("CREG", "CGREG", "CEREG")
_REGISTERED = (1, 5)
_CHATTER = ("RING", '+CMTI: "SM",3', "^RSSI: 18", "+CIEV: 5,1", '+CGEV: ME CLASS "B"')
_CMS_OF_CME = {10: 310, 11: 311, 12: 316, 13: 313}


class Settings:
    """What AT&F and a reset bring back."""

    def __init__(self) -> None:
        self.echo = True
        self.errors = 0  # +CMEE
        self.registration = dict.fromkeys(DOMAINS, 0)
        self.operator_format = 0
        self.character_set = "IRA"
        self.text_mode = False
        self.text_parameters = [17, 167, 0, 0]  # +CSMP: <fo>,<vp>,<pid>,<dcs>
        self.indications = [0, 0, 0, 0, 0]  # +CNMI
        self.centre = "+48790998250"


class Context:
    """A data connection that +CGDCONT defined."""

    def __init__(self, kind: str, apn: str):
        self.kind = kind
        self.apn = apn
        self.active = False
        self.login: tuple[int, str, str] | None = None  # +CGAUTH: protocol, user, password


class Prompt:
    """A message is to be typed next, for this number of octets or to this address."""

    def __init__(self, length: int = 0, address: str = ""):
        self.length = length
        self.address = address


class ModemState:
    """Everything about the fake modem but its tty. `unsolicited` is called with lines that nobody asked for."""

    def __init__(self, sim: Sim, imei: str, operator: str, apn_ip: str, unsolicited: Callable[[str], None]):
        self.imei = imei
        self.operator = operator
        self.apn_ip = apn_ip
        self.sim: Sim | None = sim
        self.outbox = Outbox()
        self.signal = 17
        self.pin_tries = 0
        self.modes = "both"  # which modes +CMGF takes: text, pdu, both
        self.lacking: set[str] = set()  # commands that this modem does not know
        self.echo_stuck = False
        self.sms_error: int | None = None
        self.sms_error_stays = False
        self.sms_silent = False
        self._unsolicited = unsolicited
        self._network = "home"
        self._chatter = itertools.cycle((*_CHATTER, *DOMAINS))
        self.power_up()

    def power_up(self) -> None:
        """The modem boots: what it was told is forgotten, the SIM card asks for its PIN again."""
        self.settings = Settings()
        self.settings.text_mode = self.modes == "text"
        self.contexts: dict[int, Context] = {}
        self.radio_on = True
        self.attached = True
        self.camped = False
        self.reset_wanted = False
        self._reference = 0
        if self.sim is not None:
            self.sim.power_up()
        self._told = self._registration()

    def factory_settings(self) -> None:
        """AT&F, ATZ."""
        self.settings = Settings()
        self.settings.text_mode = self.modes == "text"

    def sim_state(self) -> str:
        """READY, SIM PIN or SIM PUK; CmeError 10 without a card."""
        if self.sim is None:
            raise CmeError(10)
        return self.sim.state

    def sim_ready(self) -> bool:
        """Whether there is a SIM card that asks for nothing."""
        try:
            return self.sim_state() == "READY"
        except CmeError:
            return False

    def require_sim(self) -> None:
        """CmeError unless the SIM card is ready."""
        state = self.sim_state()
        if state != "READY":
            raise CmeError(11 if state == "SIM PIN" else 12)

    def require_sim_for_messages(self) -> None:
        """CmsError unless the SIM card is ready."""
        try:
            self.require_sim()
        except CmeError as exc:
            raise CmsError(_CMS_OF_CME[exc.number]) from exc

    def change_sim(self, sim: Sim | None) -> None:
        """Put a SIM card in, or take it out."""
        self.sim = sim
        if sim is not None:
            sim.power_up()
        self.camped = False
        self._unsolicited(self.sim_line())
        self.registration_changed()

    def sim_line(self) -> str:
        """The +CPIN: line that the modem gives by itself."""
        try:
            return f"+CPIN: {self.sim_state()}"
        except CmeError as exc:
            return "+CPIN: NOT INSERTED" if exc.number == 10 else "+CPIN: NOT READY"

    def camp(self) -> None:
        """The search for a network is over."""
        self.camped = True
        self.registration_changed()

    def set_network(self, network: str) -> None:
        """One of NETWORKS."""
        self._network = network
        self.registration_changed()

    def registration(self, domain: str) -> int:
        """<stat> of one of DOMAINS."""
        return self._registration()[DOMAINS.index(domain)]

    def _registration(self) -> tuple[int, int, int]:
        if not self.radio_on or not self.sim_ready():
            return (0, 0, 0)
        return _NETWORKS[self._network] if self.camped else (2, 2, 2)

    def registered(self) -> str | None:
        """The network's name in NETWORKS while the modem is registered."""
        return self._network if any(stat in _REGISTERED for stat in self._registration()) else None

    def registration_changed(self) -> None:
        """Tell what has changed in the registration, and end the data connections where it is lost."""
        before, self._told = self._told, self._registration()
        for domain, old, new in zip(DOMAINS, before, self._told, strict=True):
            if old != new and self.settings.registration[domain]:
                self._unsolicited(f"+{domain}: {self.registration_details(domain)}")
        if not self.registered():
            self.drop_data()

    def registration_details(self, domain: str) -> str:
        """<stat>, and in mode 2 where the cell is."""
        stat = self.registration(domain)
        if self.settings.registration[domain] < 2 or stat not in _REGISTERED:
            return str(stat)
        return f'{stat},"00C3","0000A1B2",{7 if domain == "CEREG" else 0}'

    def chatter_line(self) -> str:
        """The next of the lines that a talkative modem throws in; what it says of the registration is true."""
        line = next(self._chatter)
        if line not in DOMAINS:
            return line
        return f"+{line}: {self.registration_details(line)}" if self.settings.registration[line] else "RING"

    def drop_data(self) -> None:
        """End the data connections as the network does (27.007 section 10.1.19)."""
        for number, context in self.contexts.items():
            if context.active:
                context.active = False
                self._unsolicited(f'+CGEV: NW DEACT "{context.kind}","{self.apn_ip}",{number}')

    def activate(self, number: int, active: bool) -> None:
        """Begin or end a data connection. CmeError."""
        if number not in self.contexts:
            raise CmeError(50)
        if active and not (self.registered() and self.attached):
            raise CmeError(30)
        self.contexts[number].active = active

    def submit(self, prompt: Prompt, body: bytes) -> int:
        """Send what was typed at a prompt; the message's reference. CmsError."""
        text_mode = self.settings.text_mode
        part = self._text_part(prompt, body) if text_mode else self._pdu_part(prompt, body)
        if self.sms_error is not None:
            number = self.sms_error
            if not self.sms_error_stays:
                self.sms_error = None
            raise CmsError(number)
        if not self.registered():
            raise CmsError(331)
        self.outbox.add(part, "text" if text_mode else "pdu")
        self._reference = (self._reference + 1) % 256
        return self._reference

    def _pdu_part(self, prompt: Prompt, body: bytes) -> Part:
        return read_pdu(body, prompt.length)

    def _text_part(self, prompt: Prompt, body: bytes) -> Part:
        parameters = self.settings.text_parameters
        return read_text(prompt.address, body, (parameters[0], parameters[3]), self.settings.character_set)

    def message_prompt(self, arguments: list) -> Prompt:
        """What +CMGS is given. CmsError 304 or 305."""
        if not self.settings.text_mode:
            if len(arguments) != 1 or not isinstance(arguments[0], int) or not 8 <= arguments[0] <= 164:
                raise CmsError(304)
            return Prompt(length=arguments[0])
        if not 1 <= len(arguments) <= 2 or not isinstance(arguments[0], str):
            raise CmsError(305)
        kind = arguments[1] if len(arguments) == 2 else None
        return Prompt(address=phone_number(self._from_terminal(arguments[0]), kind))

    def to_terminal(self, text: str) -> str:
        """A string of an answer in the chosen character set."""
        return text.encode("utf-16-be").hex().upper() if self.settings.character_set == "UCS2" else text

    def _from_terminal(self, text: str) -> str:
        if self.settings.character_set != "UCS2":
            return text
        if not re.fullmatch("(?:[0-9A-Fa-f]{4})+", text):
            raise CmsError(305)
        return bytes.fromhex(text).decode("utf-16-be", "replace")
