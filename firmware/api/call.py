"""A request on its way to its handler: admitted, its query and body checked."""

from firmware.http.targets import parse_query
from firmware.services.errors import Refused
from hal.fields import BadField, Object
from hal.json_text import WrongEncoding, json_decode, json_loads


class Call:
    """What a handler gets: the device's services, who calls, the checked query and body.

    `token` is that of the caller's session or None; `by_button`, whether the button alone has let him in; `welcome()`
    says that he has proved to be a user, who then finds a place among any crowd of strangers.
    """

    def __init__(self, device, request, level: int, query, body):
        self.device = device
        self.address = request.client_addr[0]
        self.level = level
        self.token: str | None = request.g.token
        self.by_button: bool = request.g.by_button
        self.welcome = request.g.welcome
        self.query = query
        self.body = body


class Flag:
    """A query parameter that is there or not; its value does not matter."""

    def words(self) -> str:
        """What it takes, in words."""
        return "flag"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "boolean", "default": False}


class Keys:
    """The query of bare key names, `?gsm&ethernet`; none means all of them."""

    def __init__(self, names):
        self.names = tuple(names)

    def check(self, query: str) -> tuple:
        """The keys asked for; Refused UNKNOWN_KEY naming one that is none."""
        if query in self.names:
            return (query,)
        asked = [key for key, _ in parse_query(query)] if query else []
        for key in asked:
            if key not in self.names:
                raise Refused("UNKNOWN_KEY", f"unknown key {key[:40]}; known are {', '.join(self.names)}")
        return tuple(asked) or self.names


class Parameters:
    """A query of named parameters, `?tid=1&wait=500`; hal.fields declares them, Flag the bare ones."""

    def __init__(self, *fields):
        self.fields = fields

    def check(self, query: str) -> dict:
        """Parameter values by name; Refused UNKNOWN_KEY, BadField."""
        given = dict(parse_query(query))
        known = [field.name for field in self.fields]
        for key in given:
            if key not in known:
                raise Refused("UNKNOWN_KEY", f"unknown key {key[:40]}; known are {', '.join(known)}")
        values = {}
        flags = [field.name for field in self.fields if isinstance(field.kind, Flag)]
        for name in flags:
            values[name] = name in given
        numbers = {key: _number(value) for key, value in given.items() if key not in flags}
        values.update(Object(*[field for field in self.fields if field.name not in flags]).check(numbers, "query"))
        return values


def _number(text: "str | None"):
    """The integer that a query value spells, or the value itself, which the field then refuses."""
    if text and len(text) <= 20 and all("0" <= digit <= "9" for digit in text):
        return int(text)
    return text


def parse_body(data: bytes, declared: "Object | None") -> dict:
    """The checked body of a POST; an empty one counts as {}. Refused BAD_JSON, BadField."""
    if declared is None:
        declared = _NO_FIELDS
    if not data.strip():
        content: object = {}
    else:
        try:
            content = json_loads(json_decode(data))
        except WrongEncoding as exc:
            raise Refused("BAD_JSON", f"the body cannot be read: {exc}") from None
        except (ValueError, MemoryError):
            raise Refused("BAD_JSON", "the body is not JSON") from None
    if not isinstance(content, dict):
        raise BadField("body: must be a JSON object")
    return declared.check(content)


_NO_FIELDS = Object()
