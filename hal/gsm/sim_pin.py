"""The SIM card's PIN: entered where it is asked for, and a wrong one never tried twice.

Three wrong tries block a SIM card, so what was tried is remembered on the medium before the modem hears it.
"""

import asyncio

from hal.fields import BadField, Choice, Field, Integer, ListOf, Nullable, Object, Text
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
_NUMBER_QUESTIONS = ("AT+CCID", "AT+ICCID", "AT+QCCID", "AT+CICCID", "AT#CCID", "AT^ICCID?")  # each make has its own
_ICCID = r'([+^#]Q?I?CCID:)? *"?[0-9A-Fa-f]+"?(,|$)'  # a second number would be that of an eSIM's chip
_ICCID_DIGITS = (18, 22)
_TRIES_MAX = 2  # of a PIN that the card has neither taken nor refused: a third one could block it
_PUK_WANTED, _WRONG = 12, 16  # +CME ERROR (27.007 section 9.2.1)
_STATES: dict[int | None, str] = {
    10: "NO SIM",
    11: "SIM PIN",
    _PUK_WANTED: "SIM PUK",
    13: "SIM FAILURE",
    15: "SIM WRONG",
}
_ABSENT = ("NOT INSERTED", "SIM NOT INSERTED")


def _is_hexadecimal(text: str) -> bool:
    return all(digit in "0123456789abcdef" for digit in text)


_HEXADECIMAL: tuple = (_is_hexadecimal, "hexadecimal", {})
_MARKS = ListOf(
    Object(
        Field("state", Choice("trying", "refused")),
        Field("left", Nullable(Integer(0, 9))),
        Field("tries", Integer(0, 9), 1),
        Field("salt", Text(32, 32, _HEXADECIMAL)),
        Field("pin", Text(64, 64, _HEXADECIMAL)),
        Field("card", Nullable(Text(64, 64, _HEXADECIMAL))),
    ),
    _MARKS_MAX,
)


class SimProblem(Exception):
    """The SIM card cannot be used; `reason` is its state, such as "SIM PUK", the text says what to do."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


class PinMemory:
    """Remembers, in a folder, which PINs were tried on which SIM cards since one was right, as salted digests."""

    def __init__(self, folder: str):
        self._path = folder + "/" + _FILE
        self.was_asked = False  # whether it was tried to find out what became of a PIN in doubt

    def recall(self, pin: str, card: str) -> dict | None:
        """{"state": "trying" | "refused" | "unreadable", "left": int | None, "tries": int} of a PIN on a card, None:
        nothing; `left` is the card's count before the last of so many tries."""
        try:
            fitting = [mark for mark in self._marks() if _fits(mark, pin, card)]
        except (OSError, ValueError) as exc:
            log(f"modem: what is known of the PIN cannot be read: {exc}")
            return {"state": "unreadable", "left": None, "tries": 0}
        return fitting[-1] if fitting else None

    def is_in_doubt(self) -> bool:
        """Whether there is a PIN of which it is not known, and was not asked, what became of its last try."""
        try:
            return not self.was_asked and any(mark["state"] == "trying" for mark in self._marks())
        except (OSError, ValueError):
            return False

    def remember(self, pin: str, card: str, state: str, left: int | None, tries: int) -> None:
        """Keep it, on the medium when this returns. OSError, ValueError."""
        self.was_asked = False
        salt = random_bytes(16)
        marks = [other for other in self._marks() if not _fits(other, pin, card)]
        marks.append(
            {
                "state": state,
                "left": left,
                "tries": tries,
                "salt": salt.hex(),
                "pin": _digest(salt, pin).hex(),
                "card": _digest(salt, card).hex() if card else None,
            }
        )
        write_whole(self._path, json_dumps(marks[-_MARKS_MAX:]))

    def forget(self, pin: str, card: str) -> None:
        """The PIN was right on this card. What is known of others stays. On the medium when this returns. OSError,
        ValueError."""
        write_whole(self._path, json_dumps([mark for mark in self._marks() if not _fits(mark, pin, card)]))

    def _marks(self) -> list:
        try:
            marks = json_loads(read_whole(self._path))
        except OSError as exc:
            if exc.errno == ENOENT:
                return []
            raise
        try:
            return _MARKS.check(marks, _FILE)
        except BadField as exc:
            raise ValueError(str(exc)) from exc


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


async def unlock(port: AtPort, pin: str | None, memory: PinMemory) -> None:
    """Make the SIM card ready. SimProblem where it is not to be used; NoModem."""
    state = await sim_state(port)
    if state == "READY":
        if pin is not None and memory.is_in_doubt():
            memory.was_asked = True
            await _clear_doubt(port, pin, memory)
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
    "NOT READY": "the SIM card is not ready yet",
    "UNKNOWN": "the modem does not tell how the SIM card is",
}


async def sim_state(port: AtPort) -> str:
    """READY, or what the SIM card wants (27.007 section 8.3), or what is wrong with it."""
    for _ in range(READY_TRIES):
        try:
            lines = await port.command("AT+CPIN?", r"\+CPIN:", alone=True)
        except AtError as exc:
            if exc.is_busy():
                await asyncio.sleep(READY_PAUSE)
                continue
            return _STATES.get(exc.code(), "UNKNOWN")
        state = values_of(lines[-1])[0] if lines else "UNKNOWN"
        return "NO SIM" if state in _ABSENT else state
    return "SIM BUSY"


async def _clear_doubt(port: AtPort, pin: str, memory: PinMemory) -> None:
    """The card is ready: where it asks for a PIN (27.007 section 7.4), ours was right though that was not heard."""
    try:
        lines = await port.command('AT+CLCK="SC",2', r"\+CLCK: ?\d")
        card = await _card_number(port)
        mark = memory.recall(pin, card)
        if mark is not None and mark["state"] == "trying" and lines and number_at(values_of(lines[-1]), 0) == 1:
            memory.forget(pin, card)
    except (AtError, OSError, ValueError) as exc:
        log(f"modem: it stays open whether the PIN was right: {exc}")


async def _enter(port: AtPort, pin: str | None, memory: PinMemory) -> None:
    if pin is None:
        raise SimProblem("the SIM card asks for its PIN: setting gsm.pin", "SIM PIN")
    card, left = await _card_number(port), await _attempts_left(port)
    tries = _tries_before(memory.recall(pin, card), left)
    if left is not None and left < 2:
        raise SimProblem("only one attempt is left for the PIN: put the SIM card into a phone", "SIM PIN")
    try:
        memory.remember(pin, card, "trying", left, tries + 1)
        try:
            await port.command(f'AT+CPIN="{pin}"', seconds=PIN_SEC)
        except AtError as exc:
            if exc.is_busy():  # the card has not looked at the PIN: that was no try
                if tries:
                    memory.remember(pin, card, "trying", left, tries)
                else:
                    memory.forget(pin, card)
                raise SimProblem(_WORDS["SIM BUSY"], "SIM BUSY") from exc
            if await _was_refused(port, exc, left):
                memory.remember(pin, card, "refused", left, tries + 1)
                raise SimProblem(_REFUSED, "SIM PIN") from exc
        await _until_ready(port)
        memory.forget(pin, card)
    except OSError as exc:
        raise SimProblem(f"the PIN cannot be kept count of, so it is not tried: {exc.strerror}", "SIM PIN") from exc


_REFUSED = "the SIM card has refused the PIN, which is not tried again: set another one (gsm.pin)"
_MAYBE_REFUSED = "the SIM card may have refused the PIN, not tried again: put it into a phone"


async def _was_refused(port: AtPort, error: AtError, left: int | None) -> bool:
    """Whether the card has refused the PIN: it says so, or its count fell. Modems refuse for other reasons too."""
    if error.code() in (_WRONG, _PUK_WANTED):
        return True
    now = await _attempts_left(port)
    return left is not None and now is not None and now < left


def _tries_before(mark: dict | None, left: int | None) -> int:
    """How often the PIN was tried without its being known what came of it. SimProblem where it must not be again."""
    if mark is None:
        return 0
    if mark["state"] == "unreadable":
        raise SimProblem(f"which PIN was tried cannot be read, so none is: remove the file {_FILE}", "SIM PIN")
    if mark["state"] == "refused":
        raise SimProblem(_REFUSED, "SIM PIN")
    if left is None or left != mark["left"] or mark["tries"] >= _TRIES_MAX:  # the count may be an old one
        raise SimProblem(_MAYBE_REFUSED, "SIM PIN")
    return int(mark["tries"])


async def _until_ready(port: AtPort) -> None:
    for _ in range(READY_TRIES):
        state = await sim_state(port)
        if state == "READY":
            return
        await asyncio.sleep(READY_PAUSE)
    raise SimProblem(f"the SIM card has not refused the PIN, but does not become ready: {state}", state)


async def _card_number(port: AtPort) -> str:
    """The SIM card's own number; empty where the modem does not tell it."""
    for command in _NUMBER_QUESTIONS:
        try:
            lines = await port.command(command, _ICCID)
        except AtError:
            continue
        for line in lines:
            number = values_of(line)[0].upper()
            if _ICCID_DIGITS[0] <= len(number) <= _ICCID_DIGITS[1]:
                return number.rstrip("F")  # which fills up an odd number of digits
    return ""


async def _attempts_left(port: AtPort) -> int | None:
    """How often the PIN may be tried (27.007 section 8.65); None where the modem does not tell."""
    try:
        lines = await port.command('AT+CPINR="SIM PIN"', r'\+CPINR: ?"?SIM PIN"?, ?\d')
    except AtError:
        return None
    return number_at(values_of(lines[0]), 1) if lines else None
