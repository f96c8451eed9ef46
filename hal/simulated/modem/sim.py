"""The SIM card of the fake modem: its number, its PIN and PUK with the tries that are left (3GPP TS 31.101, 27.007)."""

import re

_PIN_TRIES = 3
_PUK_TRIES = 10
_PIN_FORM = re.compile("[0-9]{4,8}")

CME_TEXTS = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    16: "incorrect password",
    30: "no network service",
    50: "Incorrect parameters",
}


class CmeError(Exception):
    """The equipment refuses: the number of a `+CME ERROR:` (3GPP TS 27.007 section 9.2)."""

    def __init__(self, number: int):
        super().__init__(CME_TEXTS[number])
        self.number = number


class Sim:
    """A SIM card; `pin` None: it asks for none. What was tried stays with the card, what was verified does not."""

    def __init__(self, iccid: str, pin: str | None, puk: str):
        self.iccid = iccid
        self.pin_left = _PIN_TRIES
        self.puk_left = _PUK_TRIES
        self._pin = pin
        self._puk = puk
        self._verified = False

    def power_up(self) -> None:
        """The card has got its power anew: the PIN has to be entered again."""
        self._verified = False

    def spoil(self) -> None:
        """Use up all tries of the PIN."""
        self.pin_left = 0

    @property
    def state(self) -> str:
        """READY, SIM PIN or SIM PUK, as `+CPIN?` names them; CmeError 13 for a card blocked for good."""
        if not self.puk_left:
            raise CmeError(13)
        if not self.pin_left:
            return "SIM PUK"
        return "READY" if self._verified or self._pin is None else "SIM PIN"

    def enter(self, pin: str) -> None:
        """Verify the PIN: CmeError 16 for a wrong one, 12 where the PUK is asked for, 3 where nothing is."""
        if self.state == "SIM PUK":
            raise CmeError(12)
        if self.state == "READY":
            raise CmeError(3)
        if not _PIN_FORM.fullmatch(pin):
            raise CmeError(50)
        if pin != self._pin:
            self.pin_left -= 1
            raise CmeError(16)
        self.pin_left = _PIN_TRIES
        self._verified = True

    def unblock(self, puk: str, pin: str) -> None:
        """Set a new PIN with the PUK: CmeError 16 for a wrong PUK, 3 where none is asked for."""
        if self.state != "SIM PUK":
            raise CmeError(3)
        if not re.fullmatch("[0-9]{8}", puk) or not _PIN_FORM.fullmatch(pin):
            raise CmeError(50)
        if puk != self._puk:
            self.puk_left -= 1
            raise CmeError(16)
        self._pin = pin
        self.pin_left = _PIN_TRIES
        self.puk_left = _PUK_TRIES
        self._verified = True

    def elementary_iccid(self) -> str:
        """The 10 bytes of EF-ICCID in hex: digits in pairs, swapped, filled with F (3GPP TS 31.102, 4.2.1)."""
        digits = self.iccid.ljust(20, "F")
        return "".join(digits[i + 1] + digits[i] for i in range(0, 20, 2))
