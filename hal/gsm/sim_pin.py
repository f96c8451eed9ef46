"""The SIM card's PIN: entered where it is asked for, and a wrong one never tried twice.

Three wrong tries block a SIM card, so what was tried is remembered on the medium before the modem hears it.
"""

import asyncio

from hal.gsm.at import AtError, AtPort
from hal.gsm.response import number_at, values_of
from hal.json_text import json_loads
from hal.runtime import ENOENT, constant_time_equal, json_dumps, log, random_bytes, sha256
from hal.small_file import read_whole, write_whole

PIN_SEC = 30.0  # for the card to take or refuse the PIN
READY_TRIES = 10
READY_PAUSE = 0.5  # seconds between looks at whether the card has become ready

_FILE = "modem-pin"
_MARKS_MAX = 16
_ICCID = r'([+^]I?CCID:)? *"?[0-9A-Fa-f]+"?$'
_ICCID_DIGITS = (18, 22)
_BUSY = 14  # +CME ERROR: SIM busy (27.007 section 9.2.1)
_STATES = {10: "NO SIM", 11: "SIM PIN", 12: "SIM PUK", 13: "SIM FAILURE", 15: "SIM WRONG", _BUSY: "SIM BUSY"}


class SimProblem(Exception):
    """The SIM card cannot be used; `reason` is its state, such as "SIM PUK", the text says what to do."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class PinMemory:
    """Remembers, in a folder, which PINs were tried on which SIM cards since one was right, as salted digests."""

    def __init__(self, folder: str):
        self._path = folder + "/" + _FILE

    def recall(self, pin: str, card: str) -> "dict | None":
        """{"state": "trying" | "refused" | "unreadable", "left": int | None} of a PIN on a card; None: nothing."""
        try:
            fitting = [mark for mark in self._marks() if _fits(mark, pin, card)]
        except (OSError, ValueError, KeyError, TypeError) as exc:
            log(f"modem: what is known of the PIN cannot be read: {exc}")
            return {"state": "unreadable", "left": None}
        return fitting[-1] if fitting else None

    def remember(self, pin: str, card: str, state: str, left: "int | None") -> None:
        """Keep it, on the medium when this returns. OSError."""
        salt = random_bytes(16)
        mark = {
            "state": state,
            "left": left,
            "salt": salt.hex(),
            "pin": _digest(salt, pin).hex(),
            "card": _digest(salt, card).hex() if card else None,
        }
        marks = [other for other in self._marks() if not _fits(other, pin, card)]
        marks.append(mark)
        write_whole(self._path, json_dumps(marks[-_MARKS_MAX:]))

    def forget(self, pin: str, card: str) -> None:
        """The PIN was right on this card. What is known of others stays. On the medium when this returns. OSError."""
        write_whole(self._path, json_dumps([mark for mark in self._marks() if not _fits(mark, pin, card)]))

    def _marks(self) -> list:
        try:
            marks = json_loads(read_whole(self._path))
        except OSError as exc:
            if exc.errno == ENOENT:
                return []
            raise
        if not isinstance(marks, list):
            raise ValueError("not a list")
        return marks


def _fits(mark: dict, pin: str, card: str) -> bool:
    """Whether a mark is of this PIN on this card. A card whose number could not be read, then or now, may be the same
    one: modems tell it at one time and not at another."""
    salt = bytes.fromhex(mark["salt"])
    if not constant_time_equal(bytes.fromhex(mark["pin"]), _digest(salt, pin)):
        return False
    if not card or mark["card"] is None:
        return True
    return constant_time_equal(bytes.fromhex(mark["card"]), _digest(salt, card))


def _digest(salt: bytes, text: str) -> bytes:
    return sha256(salt + text.encode())


async def unlock(port: AtPort, pin: "str | None", memory: PinMemory) -> None:
    """Make the SIM card ready. SimProblem where it is not to be used; NoModem."""
    state = await sim_state(port)
    if state == "READY":
        return
    if state == "SIM PIN":
        await _enter(port, pin, memory)
        return
    raise SimProblem(_WORDS.get(state, f"the SIM card asks for {state}: put it into a phone"), state)


_WORDS = {
    "NO SIM": "no SIM card is in",
    "SIM PUK": "the SIM card is blocked and asks for the PUK: put it into a phone",
    "SIM FAILURE": "the SIM card fails",
    "SIM WRONG": "the modem takes no such SIM card",
    "SIM BUSY": "the SIM card is busy",
}


async def sim_state(port: AtPort) -> str:
    """READY, or what the SIM card wants (27.007 section 8.3), or what is wrong with it."""
    for _ in range(READY_TRIES):
        try:
            lines = await port.command("AT+CPIN?", r"\+CPIN:")
        except AtError as exc:
            if exc.code() == _BUSY:
                await asyncio.sleep(READY_PAUSE)
                continue
            return _STATES.get(exc.code() or -1, "NO SIM")
        return lines[-1].partition(":")[2].strip() if lines else "SIM FAILURE"
    return "SIM BUSY"


async def _enter(port: AtPort, pin: "str | None", memory: PinMemory) -> None:
    if pin is None:
        raise SimProblem("the SIM card asks for its PIN: setting gsm.pin", "SIM PIN")
    card, left = await _card_number(port), await _attempts_left(port)
    _require_untried(memory.recall(pin, card), left)
    if left is not None and left < 2:
        raise SimProblem("only one attempt is left for the PIN: put the SIM card into a phone", "SIM PIN")
    try:
        memory.remember(pin, card, "trying", left)
        try:
            await port.command(f'AT+CPIN="{pin}"', seconds=PIN_SEC)
        except AtError as exc:
            if exc.code() == _BUSY:  # the card has not looked at the PIN
                raise SimProblem(_WORDS["SIM BUSY"], "SIM BUSY") from exc
            memory.remember(pin, card, "refused", left)
            raise SimProblem(_REFUSED, "SIM PIN") from exc
        await _until_ready(port)
        memory.forget(pin, card)
    except OSError as exc:
        raise SimProblem(f"the PIN cannot be kept count of, so it is not tried: {exc.strerror}", "SIM PIN") from exc


_REFUSED = "the SIM card has refused the PIN, which is not tried again: set another one (gsm.pin)"


def _require_untried(mark: "dict | None", left: "int | None") -> None:
    """SimProblem where the PIN was refused, or may have been when the power failed."""
    if mark is None:
        return
    if mark.get("state") == "unreadable":
        raise SimProblem(f"which PIN was tried cannot be read, so none is: remove the file {_FILE}", "SIM PIN")
    if mark.get("state") != "trying":
        raise SimProblem(_REFUSED, "SIM PIN")
    if left is None or left != mark.get("left"):
        raise SimProblem("the SIM card may have refused the PIN, not tried again: put it into a phone", "SIM PIN")


async def _until_ready(port: AtPort) -> None:
    for _ in range(READY_TRIES):
        state = await sim_state(port)
        if state == "READY":
            return
        await asyncio.sleep(READY_PAUSE)
    raise SimProblem(f"the PIN was taken, but the SIM card does not become ready: {state}", state)


async def _card_number(port: AtPort) -> str:
    """The SIM card's own number; empty where the modem does not tell it."""
    for command in ("AT+CCID", "AT+ICCID"):
        try:
            lines = await port.command(command, _ICCID)
        except AtError:
            continue
        for line in lines:
            number = values_of(line)[0].upper()
            if _ICCID_DIGITS[0] <= len(number) <= _ICCID_DIGITS[1]:
                return number.rstrip("F")  # which fills up an odd number of digits
    return ""


async def _attempts_left(port: AtPort) -> "int | None":
    """How often the PIN may be tried (27.007 section 8.65); None where the modem does not tell."""
    try:
        lines = await port.command('AT+CPINR="SIM PIN"', r'\+CPINR: ?"?SIM PIN"?, ?\d')
    except AtError:
        return None
    return number_at(values_of(lines[0]), 1) if lines else None
