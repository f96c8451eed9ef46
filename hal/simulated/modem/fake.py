"""A GSM modem that speaks AT on a pty and misbehaves on command (docs/simulator.md lists the commands)."""

import asyncio
import random
import re
from collections.abc import Callable

from hal.service import Service
from hal.simulated.modem.dialogue import Dialogue
from hal.simulated.modem.sim import Sim
from hal.simulated.modem.sms import Message
from hal.simulated.modem.state import NETWORKS, ModemState
from hal.simulated.modem.tty import FakeTty

_LATE_LIMIT = 60_000  # milliseconds
_ICCID = "8999901{:012}"  # a country code that no network has


class FakeModem(Service):
    """A modem with a SIM card behind a pty; `link` is a symbolic link to it that is there while it is plugged in.

    `pin` None: the SIM card asks for none. `delay` is how long the commands take that ask the SIM card or the network,
    `search` how long the modem looks for a network, in seconds. `log` is called with each command line.
    """

    def __init__(
        self,
        link: str,
        *,
        pin: str | None = None,
        puk: str = "12345678",
        imei: str = "001015000000015",
        operator: str = "Simulated",
        apn_ip: str = "10.64.0.2",
        log: Callable[[str], None] | None = None,
        delay: float = 0.0,
        search: float = 0.01,
    ):
        self.search = search
        self._puk = puk
        self._cards = 0
        self._pulled_card: Sim | None = None
        self.state = ModemState(self._new_card(pin), imei, operator, apn_ip, self._say)
        self._dialogue = Dialogue(self.state, self._write, self._line_done, log)
        self._dialogue.delay = delay
        self._tty = FakeTty(link, self._dialogue.received)
        self._serving: asyncio.Task | None = None
        self._searching: asyncio.TimerHandle | None = None
        self._was_ready = False

    @property
    def sent(self) -> list[Message]:
        """The last messages whose parts all came, the newest at the end."""
        return self.state.outbox.sent

    @property
    def commands(self) -> list[str]:
        """The last command lines, without blanks; PIN, PUK and password are asterisks."""
        return self._dialogue.commands

    @property
    def pin_tries(self) -> int:
        """How often AT+CPIN= was tried, with whatever."""
        return self.state.pin_tries

    async def start(self) -> None:
        """Plug the modem in. OSError where the link cannot be made."""
        self.plug()

    async def stop(self) -> None:
        """Unplug the modem and wait for it to end."""
        self.unplug()
        await super().stop()

    def plug(self) -> None:
        """Make the tty and boot."""
        if not self._tty.plugged:
            self._tty.plug()
            self.boot()

    def unplug(self) -> None:
        """Take the tty away: a hang-up for whoever has it open."""
        self._halt()
        self._tty.unplug()

    def boot(self) -> None:
        """Begin anew, as after the power was off."""
        self._halt()
        self.state.power_up()
        self._was_ready = self.state.sim_ready()
        self._say("RDY")
        self._say(self.state.sim_line())
        self._serve()
        self._look_for_network()

    def _serve(self) -> None:
        self._serving = self.spawn(self._dialogue.serve())

    def _halt(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            self._serving = None
        if self._searching is not None:
            self._searching.cancel()
            self._searching = None
        self._dialogue.drop_input()
        self._tty.drop_output()

    def _new_card(self, pin: str | None) -> Sim:
        self._cards += 1
        digits = _ICCID.format(self._cards)
        return Sim(digits + _luhn_digit(digits), pin, self._puk)

    def _look_for_network(self) -> None:
        """Have the modem register after a while where it can and has not yet."""
        state = self.state
        wanted = self._tty.plugged and not state.camped and state.radio_on and state.sim_ready()
        if wanted and self._searching is None:
            self._searching = asyncio.get_running_loop().call_later(self.search, self._found_network)

    def _found_network(self) -> None:
        self._searching = None
        self.state.camp()

    def _line_done(self) -> None:
        """A command line was answered: go on with what it has brought about."""
        state = self.state
        if state.reset_wanted:
            state.reset_wanted = False
            asyncio.get_running_loop().call_soon(self.boot)
            return
        if state.sim_ready() and not self._was_ready:
            self._say(state.sim_line())
            state.registration_changed()
        self._was_ready = state.sim_ready()
        self._look_for_network()

    def _write(self, data: bytes) -> None:
        self._tty.write(data)

    def _say(self, line: str) -> None:
        self._dialogue.say(line)

    async def control(self, words: list[str]) -> str:
        """Misbehave, or say what was seen: docs/simulator.md lists the commands. ValueError for others."""
        for pattern, action in _CONTROLS:
            match = re.fullmatch(pattern, " ".join(words))
            if match:
                try:
                    answer = action(self, *match.groups())
                except OSError as exc:
                    raise ValueError(f"the modem's tty cannot be made: {exc}") from exc
                self._was_ready = self.state.sim_ready()
                self._look_for_network()
                return answer or "done"
        raise ValueError("the modem knows: " + _HELP)

    def _control_status(self) -> str:
        state = self.state
        line = state.sim_line().removeprefix("+CPIN: ")
        return f"signal={state.signal} registered={state.registered() or 'no'} sim={line} sent={len(self.sent)}"

    def _control_outbox(self) -> str:
        if not self.sent:
            return "nothing was sent"
        last = self.sent[-1]
        text = last.text.replace("\\", "\\\\").replace("\r", "\\r").replace("\n", "\\n")
        return f"{last.phone} ({last.parts} part{'s' if last.parts > 1 else ''}) {text}"

    def _control_reset(self) -> None:
        self._require_plugged()
        self.boot()

    def _control_signal(self, level: str) -> None:
        if int(level) > 31 and int(level) != 99:
            raise ValueError("signal: 0..31, or 99 for unknown")
        self.state.signal = int(level)

    def _control_sim(self, what: str) -> None:
        if what == "out":
            self._pulled_card = self.state.sim or self._pulled_card
            self.state.change_sim(None)
        elif what == "in":
            if self.state.sim is None:
                self.state.change_sim(self._pulled_card)
        elif what == "puk":
            card = self._new_card("0000")
            card.spoil()
            self.state.change_sim(card)
        else:
            self.state.change_sim(self._new_card(what.removeprefix("pin ")))

    def _control_sms_fail(self, number: str, always: str | None) -> None:
        self.state.sms_error = int(number)
        self.state.sms_error_stays = always is not None

    def _control_sms_ok(self) -> None:
        self.state.sms_error = None
        self.state.sms_silent = False

    def _control_sms_silent(self) -> None:
        self.state.sms_silent = True

    def _control_silent(self) -> None:
        self._dialogue.silent = True
        self._halt()

    def _control_talk(self) -> None:
        self._dialogue.silent = False
        if self._tty.plugged and self._serving is None:
            self._serve()

    def _control_late(self, milliseconds: str) -> None:
        if int(milliseconds) > _LATE_LIMIT:
            raise ValueError(f"late: at most {_LATE_LIMIT} ms")
        self._dialogue.late = int(milliseconds) / 1000

    def _control_urc(self, line: str) -> None:
        self._require_plugged()
        self._say(line)

    def _control_chatter(self, switch: str) -> None:
        self._dialogue.chatter = switch == "on"

    def _control_garbage(self) -> None:
        self._require_plugged()
        self._dialogue.write(b"\xff" + bytes(random.randrange(0x80, 0x100) for _ in range(random.randrange(1, 16))))

    def _control_slow(self, switch: str) -> None:
        self._tty.slow = switch == "on"

    def _control_modes(self, modes: str) -> None:
        self.state.modes = modes.removeprefix("only ")
        if self.state.modes != "both":
            self.state.settings.text_mode = self.state.modes == "text"

    def _control_command(self, name: str, switch: str) -> None:
        if switch == "on":
            self.state.lacking.discard("+" + name.upper())
        else:
            self.state.lacking.add("+" + name.upper())

    def _control_echo(self, what: str) -> None:
        self.state.echo_stuck = what == "stuck"
        if self.state.echo_stuck:
            self.state.settings.echo = True

    def _require_plugged(self) -> None:
        if not self._tty.plugged:
            raise ValueError("the modem is unplugged")


def _luhn_digit(digits: str) -> str:
    """The check digit of a card number (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (2 if index % 2 == 0 else 1) for index, digit in enumerate(reversed(digits))]
    return str(-sum(number // 10 + number % 10 for number in doubled) % 10)


_HELP = (
    "status, outbox, unplug, plug, reset, signal N, sim out|in|puk|pin NNNN, "
    f"network {'|'.join(NETWORKS)}, sms fail N [always], sms ok, sms silent, silent, talk, late MS, urc TEXT, "
    "chatter on|off, garbage, slow on|off, only text, only pdu, both, cpinr on|off, cgauth on|off, "
    "echo stuck|free, data drop, help"
)

_CONTROLS: tuple = (
    ("help", lambda modem: _HELP),
    ("status", FakeModem._control_status),
    ("outbox", FakeModem._control_outbox),
    ("unplug", FakeModem.unplug),
    ("plug", FakeModem.plug),
    ("reset", FakeModem._control_reset),
    ("signal ([0-9]{1,2})", FakeModem._control_signal),
    ("sim (out|in|puk|pin [0-9]{4,8})", FakeModem._control_sim),
    (f"network ({'|'.join(NETWORKS)})", lambda modem, network: modem.state.set_network(network)),
    ("sms fail ([0-9]{1,3})( always)?", FakeModem._control_sms_fail),
    ("sms ok", FakeModem._control_sms_ok),
    ("sms silent", FakeModem._control_sms_silent),
    ("silent", FakeModem._control_silent),
    ("talk", FakeModem._control_talk),
    ("late ([0-9]{1,5})", FakeModem._control_late),
    ("urc (.{1,256})", FakeModem._control_urc),
    ("chatter (on|off)", FakeModem._control_chatter),
    ("garbage", FakeModem._control_garbage),
    ("slow (on|off)", FakeModem._control_slow),
    ("(only text|only pdu|both)", FakeModem._control_modes),
    ("(cpinr|cgauth) (on|off)", FakeModem._control_command),
    ("echo (stuck|free)", FakeModem._control_echo),
    ("data drop", lambda modem: modem.state.drop_data()),
)
