"""A request on its way to its handler: admitted, its query and body checked."""

from microdot import Request

from firmware.api.kinds import Anything
from firmware.services.access.button import ButtonAccess
from firmware.services.access.login import Login
from firmware.services.access.sessions import Sessions
from firmware.services.access.tickets import Admission, Tickets
from firmware.services.card.absent import NoCardFiles
from firmware.services.errors import Refused
from firmware.services.events.feed import EventFeed
from firmware.services.gateway.callback import CloudConnections
from firmware.services.routing.requests import ModbusRequests
from firmware.services.search.absent import NoDiscovery, NoTemplateSearch
from firmware.services.settings.areas import Settings
from firmware.services.settings.files import SettingsFiles
from firmware.services.system.absent import NoGsm
from firmware.services.system.identity import Identity
from firmware.services.system.state import State
from firmware.services.time.absent import NoClock
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.recording import Recording
from firmware.services.update.absent import CloudActivation, NoUpdates
from hal.fields import BadField, Object
from hal.json_text import JsonError, WrongEncoding, json_loads_in_turns
from hal.runtime.annotations import Any


class Services:
    """What handlers may use of the device, which builds them; a board that lacks a part has a service that refuses."""

    activation: CloudActivation
    button: ButtonAccess
    card_files: NoCardFiles
    clock: NoClock
    cloud: CloudConnections
    discovery: NoDiscovery
    events: EventFeed
    gsm: NoGsm
    identity: Identity
    login: Login
    modbus_requests: ModbusRequests
    recording: Recording
    sessions: Sessions
    settings: Settings
    settings_files: SettingsFiles
    state: State
    template_search: NoTemplateSearch
    tickets: Tickets
    trace: BusTrace
    updates: NoUpdates

    def request_restart(self, reason: str) -> None:
        """Have the device stop and the board restart it."""
        raise NotImplementedError


class Call:
    """What a handler gets: the device's services, who calls, the checked query and body.

    `arrival` is the level that comes of where he arrived; `token` is that of the caller's session or None; `by_button`,
    whether the button alone has let him in; `welcome()` says that he has proved to be a user, who then finds a place
    among any crowd of strangers.
    """

    def __init__(self, services: Services, request: Request, level: int, query: Any, body: Any) -> None:
        self.services = services
        self.address = request.client_addr[0]
        self.level = level
        self.arrival: int = request.g.level
        self.token: str | None = request.g.token
        self.by_button: bool = request.g.by_button
        self.welcome = request.g.welcome
        self.headers = request.headers
        self._admission: Admission | None = getattr(request.g, "admission", None)
        self.query = query
        self.body = body

    def admission(self) -> Admission:
        """For what lasts longer than a request: at which level the caller was let in, and for how long he still is."""
        if self._admission is not None:
            return self._admission
        services, token = self.services, self.token
        if token is not None:
            return Admission(self.level, lambda: services.sessions.is_alive(token))
        if self.by_button:
            return Admission(self.level, lambda: services.button.seconds_left() > 0)
        return Admission(self.level, lambda: True)


async def parse_body(data: bytes, declared: Object | Anything | None) -> dict:
    """The checked body of a POST; an empty one counts as {}. Refused BAD_JSON, BadField."""
    if declared is None:
        declared = _NO_FIELDS
    if not data.strip():
        content: object = {}
    else:
        try:
            content = await json_loads_in_turns(data)
        except JsonError as exc:
            raise Refused("BAD_JSON", f"the body is not JSON: {exc}, character {exc.position + 1}") from None
        except WrongEncoding as exc:
            raise Refused("BAD_JSON", f"the body cannot be read: {exc}") from None
    if not isinstance(content, dict):
        raise BadField("body: must be a JSON object")
    return declared.check(content)


_NO_FIELDS = Object()
