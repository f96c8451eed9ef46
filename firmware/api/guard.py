"""The access guard: which level a request has, and whether it suffices.

Levels: 0 Guest, 1 Power User, 2 Administrator. A level comes from a token, from the button, or from the socket that
accepted the connection; the last two need no secret, so a web page in somebody's browser must not be able to use them.
"""

from firmware.services.access.button import ButtonAccess
from firmware.services.access.sessions import Sessions
from firmware.services.errors import Refused
from hal.ip_addresses import is_ipv4

GUEST, POWER_USER, ADMINISTRATOR = 0, 1, 2


def bearer_token(headers) -> "str | None":
    """The token of a request: `Bearer <token>` in Authorization, or in Authorized as the first clients send it."""
    value = headers.get("authorization") or headers.get("authorized")
    if value is None or value[:7].lower() != "bearer ":
        return None
    return value[7:].strip()


class Guard:
    """Decides on requests. `hosts` are the names, besides IP addresses and localhost, by which browsers may call."""

    def __init__(self, sessions: Sessions, button: ButtonAccess, hosts: "list[str]"):
        self._sessions = sessions
        self._button = button
        self._hosts = [host.lower() for host in hosts] + ["localhost"]

    def admit(self, request, needed: int) -> int:
        """The request's level; Refused UNAUTHORIZED, FORBIDDEN or CROSS_SITE where it may not have `needed`.

        `request.g.token` is then the token that came with it, or None.
        """
        token = request.g.token = bearer_token(request.headers)
        by_token = POWER_USER if token and self._sessions.use(token) else GUEST
        if by_token >= needed:
            return by_token
        level = max(by_token, request.g.level, POWER_USER if self._button.seconds_left() else GUEST)
        if level == GUEST:
            raise Refused("UNAUTHORIZED", "log in first, or press the button on the device")
        if level < needed:
            raise Refused("FORBIDDEN", f"this needs access level {needed}")
        self._refuse_cross_site(request)
        return level

    def _refuse_cross_site(self, request) -> None:
        """Refuse what a foreign web page could have sent without a token.

        The Host check is for reading too: a page whose name was rebound to the device's address would be same-origin.
        """
        headers = request.headers
        host = headers.get("host") or ""
        if not self._is_own_host(host):
            raise Refused("CROSS_SITE", "without a token, call the device by its IP address or a name of httpd.hosts")
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in ("http://" + host.lower(), "https://" + host.lower()):
            raise Refused("CROSS_SITE", "without a token, Origin must be the device itself")
        if request.method == "POST":
            content_type = (headers.get("content-type") or "").split(";")[0].strip().lower()
            if content_type != "application/json":
                raise Refused("CROSS_SITE", "without a token, a POST needs Content-Type: application/json")

    def _is_own_host(self, host: str) -> bool:
        name = host.lower()
        if name[:1] == "[":
            return "]" in name
        name = name.split(":")[0]
        return name in self._hosts or is_ipv4(name)
