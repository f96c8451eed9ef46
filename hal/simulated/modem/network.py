"""The fake modem's commands about the network and the data connection (3GPP TS 27.007 sections 7.2, 7.3, 10.1)."""

from hal.runtime.annotations import Callable
from hal.simulated.modem.line import number_in, require_operation
from hal.simulated.modem.sim import CmeError
from hal.simulated.modem.state import Context, ModemState

_CONTEXTS = 16
_PLMN = "00101"


def _context_number(value: object) -> int:
    return number_in(value, 1, _CONTEXTS)


def registration(domain: str) -> Callable[[ModemState, str, list], list[str]]:
    """+CREG, +CGREG or +CEREG: where the modem is registered."""

    def answer(modem: ModemState, operation: str, arguments: list) -> list[str]:
        require_operation(operation, "?", "=")
        if operation == "?":
            return [f"+{domain}: {modem.settings.registration[domain]},{modem.registration_details(domain)}"]
        modem.settings.registration[domain] = number_in(arguments[0], 0, 2)
        return []

    return answer


def cops(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+COPS: the operator."""
    require_operation(operation, "?", "=")
    if operation == "?":
        network = modem.registered()
        if network is None:
            return ["+COPS: 0"]
        form = modem.settings.operator_format
        name = _PLMN if form == 2 else modem.to_terminal(modem.operator[: 8 if form else 16])
        return [f'+COPS: 0,{form},"{name}",{7 if network == "lte" else 0}']
    if arguments[0] == 3 and len(arguments) == 2:
        modem.settings.operator_format = number_in(arguments[1], 0, 2)
    elif arguments != [0]:
        raise CmeError(4)
    return []


def cgdcont(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+CGDCONT: define a data connection."""
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f'+CGDCONT: {n},"{c.kind}","{c.apn}","",0,0' for n, c in sorted(modem.contexts.items())]
    number = _context_number(arguments[0])
    if number in modem.contexts and modem.contexts[number].active:
        raise CmeError(3)
    if len(arguments) == 1:
        modem.contexts.pop(number, None)
        return []
    kind, apn = arguments[1], arguments[2] if len(arguments) > 2 else ""
    if kind not in ("IP", "IPV6", "IPV4V6") or not isinstance(apn, str) or len(apn) > 100:
        raise CmeError(50)
    modem.contexts[number] = Context(kind, apn)
    return []


def cgauth(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+CGAUTH: the login of a data connection."""
    require_operation(operation, "?", "=")
    if operation == "?":
        logins = sorted((n, c.login) for n, c in modem.contexts.items() if c.login)
        return [f'+CGAUTH: {n},{login[0]},"{login[1]}"' for n, login in logins]
    number = _context_number(arguments[0])
    protocol = number_in(arguments[1], 0, 2) if len(arguments) > 1 else 0
    names = arguments[2:]
    wanted = 2 if protocol else 0
    if number not in modem.contexts or len(names) != wanted or not all(isinstance(name, str) for name in names):
        raise CmeError(50)
    modem.contexts[number].login = (protocol, names[0], names[1]) if protocol else None
    return []


def cgatt(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+CGATT: attach to the packet service."""
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CGATT: {1 if modem.attached and modem.registered() else 0}"]
    attach = number_in(arguments[0], 0, 1)
    if attach and not modem.registered():
        raise CmeError(30)
    modem.attached = bool(attach)
    for context in modem.contexts.values():
        context.active = context.active and modem.attached
    return []


def cgact(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+CGACT: begin and end data connections."""
    require_operation(operation, "?", "=")
    if operation == "?":
        return [f"+CGACT: {n},{int(c.active)}" for n, c in sorted(modem.contexts.items())]
    active = number_in(arguments[0], 0, 1)
    for number in arguments[1:] or list(modem.contexts):
        modem.activate(_context_number(number), bool(active))
    return []


def cgpaddr(modem: ModemState, operation: str, arguments: list) -> list[str]:
    """+CGPADDR: the addresses of data connections."""
    require_operation(operation, "", "=")
    numbers = arguments if operation == "=" else sorted(modem.contexts)
    if any(number not in modem.contexts for number in numbers):
        raise CmeError(50)
    return [f'+CGPADDR: {n},"{modem.apn_ip}"' if modem.contexts[n].active else f"+CGPADDR: {n}" for n in numbers]
