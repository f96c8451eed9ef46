"""The AT commands that the fake modem knows: 3GPP TS 27.007 and 27.005.

Before the SIM card is ready the modem takes only what 27.007 section 8.3 allows, and its own settings.
"""

from hal.runtime.annotations import Callable
from hal.simulated.modem import network
from hal.simulated.modem.line import AtError, Command, arguments_of, number_in, require_operation
from hal.simulated.modem.sim import CmeError
from hal.simulated.modem.sms import CmsError
from hal.simulated.modem.state import DOMAINS, ModemState, Prompt

_CHARACTER_SETS = ("GSM", "IRA", "UCS2")
_EF_ICCID = [176, 12258, 0, 0, 10]


def is_slow(command: Command) -> bool:
    """Whether the modem has to ask its SIM card or the network."""
    return command.name in ("+CPIN", "+COPS", "+CGATT", "+CGACT", "+CMGS", "+CFUN") and command.operation != "?"


def run(modem: ModemState, command: Command) -> list[str] | Prompt:
    """Carry a command out: the lines of its answer before OK, or a prompt. AtError, CmeError, CmsError."""
    if command.name in _BASIC_COMMANDS:
        return _basic(modem, command)
    known = _COMMANDS.get(command.name)
    if known is None or command.name in modem.lacking:
        raise AtError
    handler, needs = known
    if command.operation == "=?":
        return [f"{command.name}: {_RANGES[command.name]}"] if command.name in _RANGES else []
    if needs == "sim":
        modem.require_sim()
    if needs == "messages":
        modem.require_sim_for_messages()
    return handler(modem, command.operation, arguments_of(command.arguments))


_BASIC_COMMANDS = {"E": "01", "Z": "0", "&F": "0", "I": "0", "Q": "0", "V": "1", "X": "01234", "&C": "01", "&D": "012"}


def _basic(modem: ModemState, command: Command) -> list[str]:
    number = command.arguments or "0"
    if len(number) != 1 or number not in _BASIC_COMMANDS[command.name]:
        raise AtError
    if command.name in ("Z", "&F"):
        modem.factory_settings()
    if command.name == "E" and not modem.echo_stuck:
        modem.settings.echo = number == "1"
    return ["Simulated", "Fake modem", "Revision 1"] if command.name == "I" else []


def _fixed(text: str) -> Callable[[ModemState, str, list], list[str]]:
    def answer(modem: ModemState, operation: str, arguments: list) -> list[str]:
        require_operation(operation, "")
        return [text]

    return answer


def _cgsn(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "", "=")
    if operation == "" or arguments == [0]:
        return [modem.imei]
    if arguments != [1]:
        raise CmeError(50)
    return [f'+CGSN: "{modem.imei}"']


def _cmee(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CMEE: {modem.settings.errors}"]
    modem.settings.errors = number_in(arguments[0], 0, 2)
    return []


def _cfun(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CFUN: {1 if modem.radio_on else 4}"]
    if arguments == [1, 1]:
        modem.reset_wanted = True
    elif arguments in ([1], [4], [1, 0], [4, 0]):
        modem.radio_on = arguments[0] == 1
        modem.camped = False
        modem.registration_changed()
    else:
        raise CmeError(50)
    return []


def _cpin(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CPIN: {modem.sim_state()}"]
    modem.pin_tries += 1
    modem.sim_state()
    assert modem.sim is not None
    if not all(isinstance(argument, str) for argument in arguments) or len(arguments) > 2:
        raise CmeError(50)
    if len(arguments) == 1:
        modem.sim.enter(arguments[0])
    else:
        modem.sim.unblock(arguments[0], arguments[1])
    return []


def _cpinr(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "", "=")
    if modem.sim is None:
        raise CmeError(10)
    lines = {
        "SIM PIN": f"+CPINR: SIM PIN,{modem.sim.pin_left},3",
        "SIM PUK": f"+CPINR: SIM PUK,{modem.sim.puk_left},10",
    }
    if operation == "" or arguments == ["SIM*"]:
        return list(lines.values())
    if arguments[0] not in lines or len(arguments) != 1:
        raise CmeError(50)
    return [lines[arguments[0]]]


def _ccid(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "")
    if modem.sim is None:
        raise CmeError(10)
    return [f"+CCID: {modem.sim.iccid}"]


def _crsm(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "=")
    if modem.sim is None:
        raise CmeError(10)
    if arguments[:5] != _EF_ICCID:
        return ["+CRSM: 106,130"]  # file not found (3GPP TS 31.101 section 10.2.1.5)
    return [f'+CRSM: 144,0,"{modem.sim.elementary_iccid()}"']


def _csq(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "")
    return [f"+CSQ: {modem.signal},{99 if modem.signal == 99 else 0}"]


def _cmgf(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CMGF: {int(modem.settings.text_mode)}"]
    mode = number_in(arguments[0], 0, 1)
    if modem.modes not in ("both", "text" if mode else "pdu"):
        raise CmsError(303)
    modem.settings.text_mode = bool(mode)
    return []


def _cscs(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f'+CSCS: "{modem.settings.character_set}"']
    if arguments[0] not in _CHARACTER_SETS:
        raise CmeError(50)
    modem.settings.character_set = arguments[0]
    return []


def _csmp(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return ["+CSMP: " + ",".join(str(number) for number in modem.settings.text_parameters)]
    if len(arguments) > 4 or not all(value is None or (isinstance(value, int) and value < 256) for value in arguments):
        raise CmsError(305)
    for index, value in enumerate(arguments):
        if value is not None:
            modem.settings.text_parameters[index] = value
    return []


def _cmgs(modem: ModemState, operation: str, arguments: list) -> Prompt:
    require_operation(operation, "=")
    return modem.message_prompt(arguments)


def _csca(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f'+CSCA: "{modem.to_terminal(modem.settings.centre)}",145']
    if not isinstance(arguments[0], str):
        raise CmsError(305)
    modem.settings.centre = arguments[0]
    return []


def _cnmi(modem: ModemState, operation: str, arguments: list) -> list[str]:
    require_operation(operation, "?", "=")
    settings = modem.settings
    if operation == "?":
        return ["+CNMI: " + ",".join(str(number) for number in settings.indications)]
    if len(arguments) > 5 or not all(isinstance(value, int) and value <= 3 for value in arguments):
        raise CmsError(303)
    settings.indications[: len(arguments)] = arguments
    return []


_COMMANDS: dict = {
    "+CGMI": (_fixed("Simulated"), ""),
    "+CGMM": (_fixed("Fake modem"), ""),
    "+CGMR": (_fixed("Revision 1"), ""),
    "+CGSN": (_cgsn, ""),
    "+CMEE": (_cmee, ""),
    "+CFUN": (_cfun, ""),
    "+CPIN": (_cpin, ""),
    "+CPINR": (_cpinr, ""),
    "+CCID": (_ccid, ""),
    "+CRSM": (_crsm, ""),
    "+CSQ": (_csq, ""),
    "+CSCS": (_cscs, ""),
    "+COPS": (network.cops, "sim"),
    "+CGDCONT": (network.cgdcont, "sim"),
    "+CGAUTH": (network.cgauth, "sim"),
    "+CGATT": (network.cgatt, "sim"),
    "+CGACT": (network.cgact, "sim"),
    "+CGPADDR": (network.cgpaddr, "sim"),
    "+CMGF": (_cmgf, "messages"),
    "+CSMP": (_csmp, "messages"),
    "+CMGS": (_cmgs, "messages"),
    "+CSCA": (_csca, "messages"),
    "+CNMI": (_cnmi, "messages"),
}
_COMMANDS.update({f"+{domain}": (network.registration(domain), "sim") for domain in DOMAINS})

_RANGES = {
    "+CMEE": "(0-2)",
    "+CMGF": "(0,1)",
    "+CSCS": '("GSM","IRA","UCS2")',
    "+CREG": "(0-2)",
    "+CGREG": "(0-2)",
    "+CEREG": "(0-2)",
    "+CNMI": "(0-3),(0-3),(0-3),(0-2),(0,1)",
    "+CGACT": "(0,1)",
    "+CGATT": "(0,1)",
}
