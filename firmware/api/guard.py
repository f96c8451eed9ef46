"""The access guard: which level a request has, and whether it suffices.

Levels: 0 Guest, 1 Power User, 2 Administrator. A level comes from a token, from the button, or from the socket that
accepted the connection; the last two need no secret, so a web page in somebody's browser must not be able to use them.
"""

from microdot import Request

from firmware.http.messages.targets import parse_query
from firmware.services.access.button import ButtonAccess
from firmware.services.access.sessions import Sessions
from firmware.services.access.tickets import Tickets
from firmware.services.errors import Refused
from hal.ip_addresses import is_ipv4, is_ipv6, lies_in, parse_network

GUEST, POWER_USER, ADMINISTRATOR = 0, 1, 2
TICKET = "ticket"  # parameter of a query
LOG_IN = "log in first, or press the button on the device"
SESSION_ENDED = (
    "this session has ended, by its time, a logout, another password or a restart of the device: log in again"
)


class Guard:
    """Decides on requests. `hosts` are the names, besides IP addresses and localhost, by which browsers may call;
    `readers` are networks that need no level for what is meant for readers."""

    def __init__(
        self,
        sessions: Sessions,
        button: ButtonAccess,
        hosts: list[str],
        readers: list[str] | tuple = (),
        tickets: Tickets | None = None,
    ):
        self._tickets = tickets or Tickets()
        self._readers = [parse_network(network) for network in readers]
        self._sessions = sessions
        self._button = button
        self._hosts = [host.lower() for host in hosts]

    def admit(self, request: Request, needed: int, for_readers: bool = False) -> int:
        """The request's level; Refused UNAUTHORIZED, FORBIDDEN or CROSS_SITE where it may not have `needed`.

        `request.g.token` is then the token of its session, or None; `request.g.by_button`, whether it is the button
        alone that lets it in.
        """
        token = request.g.token = self._session(request.headers)
        if token is not None:
            request.g.welcome()
        by_token = POWER_USER if token else GUEST
        request.g.by_button = False
        if by_token >= needed:
            if token is None and request.method == "POST":
                self._refuse_foreign_origin(request.headers)
            return by_token
        proven = max(by_token, request.g.level)
        request.g.by_button = proven == GUEST
        level = max(proven, POWER_USER if self._button.seconds_left() else GUEST)
        if level < needed and not (for_readers and lies_in(request.client_addr[0], self._readers)):
            if level == GUEST:
                raise Refused("UNAUTHORIZED", SESSION_ENDED if _bearer(request.headers) else LOG_IN)
            raise Refused("FORBIDDEN", f"this needs access level {needed}")
        self._refuse_cross_site(request)
        return level

    def admit_by_ticket(self, request: Request) -> int | None:
        """The level of a request with a ticket in its query, None where there is none. Refused UNAUTHORIZED.

        `request.g.admission` is then what the ticket admits.
        """
        ticket = dict(parse_query(request.query_string or "")).get(TICKET)
        if ticket is None:
            return None
        admission = request.g.admission = self._tickets.redeem(ticket)
        if admission is None:
            raise Refused("UNAUTHORIZED", "ticket: is none, was used, or is over; POST /api/events/ticket/ gives one")
        request.g.token = None
        request.g.by_button = False
        return admission.level

    def _session(self, headers: dict[str, str]) -> str | None:
        """The token, if it is alive: `Bearer <token>` in Authorization, or in Authorized as the first clients send it.

        Whatever a proxy or a browser puts into Authorization on its own account does not hide a token in Authorized.
        """
        for token in _bearer(headers):
            if self._sessions.use(token):
                return token
        return None

    def _refuse_cross_site(self, request: Request) -> None:
        """Refuse what a foreign web page could have sent without a token.

        The Host check is for reading too: a page whose name was rebound to the device's address would be same-origin.
        """
        headers = request.headers
        if not self._is_own_host(headers.get("host") or ""):
            raise Refused("CROSS_SITE", "without a token, call the device by its IP address or a name of httpd.hosts")
        self._refuse_foreign_origin(headers)
        if request.method == "POST":
            content_type = (headers.get("content-type") or "").split(";")[0].strip().lower()
            if content_type != "application/json":
                raise Refused("CROSS_SITE", "without a token, a POST needs Content-Type: application/json")

    def _refuse_foreign_origin(self, headers: dict[str, str]) -> None:
        """Refuse what a browser sends on behalf of a foreign page: by wrong logins it would have its user barred."""
        origin = headers.get("origin")
        if origin is None:
            return
        scheme, _, place = origin.lower().partition("://")
        host = (headers.get("host") or "").lower()
        own = place in self._hosts or (place == host and self._is_own_host(host))
        if not own or scheme not in ("http", "https"):
            raise Refused(
                "CROSS_SITE",
                "Origin must be the device itself, by its IP address or a name of httpd.hosts, or left out",
            )

    def _is_own_host(self, host: str) -> bool:
        """Whether a Host is an IP address, localhost or a configured name, with or without a port."""
        host = host.lower()
        if host[:1] == "[":
            name, end, port = host[1:].partition("]")
            address = name.partition("%")[0]  # a scope may follow
            return end != "" and is_ipv6(address) and (port == "" or (port[0] == ":" and _is_port(port[1:])))
        name, _, port = host.partition(":")
        return _is_port(port) and (name in self._hosts or name == "localhost" or is_ipv4(name))


def _bearer(headers: dict[str, str]) -> list[str]:
    """The tokens that a request bears."""
    tokens = []
    for name in ("authorization", "authorized"):
        value = headers.get(name)
        if value and value[:7].lower() == "bearer ":
            tokens.append(value[7:].strip())
    return tokens


def _is_port(text: str) -> bool:
    return len(text) <= 5 and all("0" <= digit <= "9" for digit in text)
