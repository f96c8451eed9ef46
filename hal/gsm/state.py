"""What a modem is asked: who it is, how well it hears, which network has taken it (3GPP TS 27.007)."""

from hal.gsm.at import AtError, AtPort, AtSilent
from hal.gsm.response import is_number, number_at, values_of

NETWORK_SEC = 150.0  # for a command that waits for the network
CONTEXT = 1  # number of the data connection's PDP context (section 10.1.1)

_WAKE_TRIES = 3
_WAKE_SEC = 1.0
_REGISTERED = (1, 5, 6, 7, 9, 10)  # home, roaming; for SMS only; CSFB not preferred (sections 7.2, 10.1.20, 10.1.22)
_SIGNAL_MAX = 31  # section 8.5
_LEVELS_MAX = ((8, 126), (5, 97), (2, 96), (0, 63))  # of +CESQ: index and best value in NR, LTE, UTRAN, GSM (8.69)
_IMEI_DIGITS, _IMEISV_DIGITS = 15, 16
_NO_DELIVERY = ("2,0,0,0,0", "1,0,0,0,0", "3,0,0,0,0", "0,0,0,0,0", "0,0")  # modems take but some of these
_AUTHENTICATION = 1  # PAP (section 10.1.31)


def can_be_quoted(text: str) -> bool:
    """Whether a text can stand between the quotation marks of a command."""
    return all(character >= " " and character not in '"\x7f' for character in text)


async def identify(port: AtPort) -> str | None:
    """Wake the modem, have it answer as this code expects as far as it will yet, and ask for its IMEI. NoModem."""
    await _wake(port)
    await _ask(port, "ATE0")
    await introduce(port)
    return await ask_imei(port)


async def introduce(port: AtPort) -> bool:
    """Have the modem tell errors by number and keep strangers' messages to itself; whether it takes all of it.

    With delivery to us on, and in text mode, what a message says could be taken for what the modem says (27.005
    section 3.4.1). Many modems take this only when the SIM card is ready.
    """
    all_taken = True
    for command in ("AT+CMEE=1", 'AT+CSCS="GSM"', "AT+CMGF=0"):
        if not await _takes(port, command):
            all_taken = False
    for indications in _NO_DELIVERY:
        if await _takes(port, "AT+CNMI=" + indications):
            return all_taken
    return False


async def ask_imei(port: AtPort) -> str | None:
    """The IMEI (27.007 section 5.4); None where the modem does not tell it, some not before the PIN."""
    for command in ("AT+CGSN", "AT+CGSN=1"):
        for line in await _ask(port, command, r'(\+CGSN: ?)?"?\d+"?$'):
            digits = values_of(line)[0]
            if len(digits) == _IMEI_DIGITS:
                return digits
            if len(digits) == _IMEISV_DIGITS:  # with a software version in place of the check digit
                return digits[:14] + _check_digit(digits[:14])
    return None


def _check_digit(digits: str) -> str:
    """The last digit of an IMEI (3GPP TS 23.003 annex B)."""
    total = 0
    for index, digit in enumerate(digits):
        number = int(digit) * (1 + index % 2)
        total += number // 10 + number % 10
    return str(-total % 10)


async def _wake(port: AtPort) -> None:
    """A modem finds out the rate from the first commands, and may be asleep, or told to answer in digits or not at all
    (V.250 sections 6.2.5 and 6.2.6). Whatever it says, it is awake."""
    for last in (False,) * (_WAKE_TRIES - 1) + (True,):
        try:
            await port.command("AT", seconds=_WAKE_SEC)
            return
        except AtError:
            return
        except AtSilent:
            if last:
                raise
        await port.prod("ATQ0V1")


async def prepare_network(port: AtPort, apn: str, user: str, password: str | None) -> None:
    """Have the modem tell of changes, and describe the data connection. AtError where it takes no such one."""
    for command in ("AT+CREG=1", "AT+CEREG=1", "AT+COPS=3,0"):  # what it lacks is done without
        await _ask(port, command)
    if not apn:
        return
    await port.command(f'AT+CGDCONT={CONTEXT},"IP","{apn}"')
    if user:
        await _ask(port, f'AT+CGAUTH={CONTEXT},{_AUTHENTICATION},"{user}","{password or ""}"')


async def ask_state(port: AtPort) -> dict:
    """The members of hal.contracts.Modem.status that tell of the network."""
    return {
        "signalLevel": await _signal(port),
        "ip": await _address(port),
        "registered": await _registered(port),
        "operator": await _operator(port),
    }


async def connect_data(port: AtPort) -> str | None:
    """Bring the data connection up; its address. AtError where the network refuses."""
    await port.command("AT+CGATT=1", seconds=NETWORK_SEC)
    await port.command(f"AT+CGACT=1,{CONTEXT}", seconds=NETWORK_SEC)
    return await _address(port)


def describe(state: dict) -> str:
    """A state in words."""
    network = f"network {state['operator'] or 'without a name'}" if state["registered"] else "in no network"
    signal = "signal unknown" if state["signalLevel"] is None else f"signal {state['signalLevel']} %"
    return f"{network}, {signal}"


async def _signal(port: AtPort) -> int | None:
    lines = await _ask(port, "AT+CSQ", r"\+CSQ: ?\d+,")
    level = number_at(values_of(lines[-1]), 0) if lines else None
    if level is not None and level <= _SIGNAL_MAX:
        return round(level * 100 / _SIGNAL_MAX)
    lines = await _ask(port, "AT+CESQ", r"\+CESQ: ?\d+,")  # modems of LTE and later may tell it here alone
    values = values_of(lines[-1]) if lines else []
    for index, best in _LEVELS_MAX:
        level = number_at(values, index)
        if level is not None and level <= best:
            return round(level * 100 / best)
    return None


async def _registered(port: AtPort) -> bool:
    """By the circuit, packet or LTE network: modems of each kind know but some of these."""
    for name in ("CREG", "CEREG", "CGREG"):
        # A line that tells of a change has no mode in front of the state.
        lines = await _ask(port, f"AT+{name}?", "\\+" + name + r": ?\d, ?\d")
        if lines and number_at(values_of(lines[-1]), 1) in _REGISTERED:
            return True
    return False


async def _operator(port: AtPort) -> str | None:
    lines = await _ask(port, "AT+COPS?", r"\+COPS: ?\d")
    values = values_of(lines[-1]) if lines else []
    return values[2] or None if len(values) > 2 else None


async def _address(port: AtPort) -> str | None:
    """The IPv4 address of the data connection; an IPv6 one beside it has colons, or sixteen numbers (10.1.23)."""
    for line in await _ask(port, f"AT+CGPADDR={CONTEXT}", r"\+CGPADDR: ?\d"):
        values = values_of(line)
        for address in values[1:] if number_at(values, 0) == CONTEXT else []:
            if _is_ipv4(address) and address != "0.0.0.0":
                return address
    return None


def _is_ipv4(text: str) -> bool:
    parts = text.split(".")
    return len(parts) == 4 and all(is_number(part) and int(part) <= 255 for part in parts)


async def _ask(port: AtPort, command: str, wanted: str = "") -> list[str]:
    """The lines of an answer; none where the modem refuses."""
    try:
        return await port.command(command, wanted)
    except AtError:
        return []


async def _takes(port: AtPort, command: str) -> bool:
    try:
        await port.command(command)
    except AtError:
        return False
    return True
