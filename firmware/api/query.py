"""Queries: bare key names, and named parameters."""

from firmware.http.messages.targets import parse_query
from firmware.services.errors import Refused
from hal.fields import BadField, Field, Kind, Object
from hal.runtime.annotations import Any, Callable, Iterable

_NAME_SHOWN = 40  # characters of an unknown name that an error repeats
_TRUE = (None, "", "1", "true")
_FALSE = ("0", "false")


class Flag(Kind):
    """A query parameter that is a bare name; generated clients write `name=true`, and `name=false` for its absence."""

    def check(self, value: Any, where: str) -> bool:
        """Whether a value that was given, None for a bare name, says yes; BadField."""
        text = value if value is None else value.lower()
        if text not in _TRUE and text not in _FALSE:
            raise BadField(f"{where}: must be a bare name, or true or false")
        return text in _TRUE

    def words(self) -> str:
        """What it takes, in words."""
        return "flag"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "boolean", "default": False}


class Keys:
    """The query of bare key names, `?gsm&ethernet`; none means all of them.

    `names()` gives them for documents; the service that is asked refuses those that are none. `fields` are parameters
    with a value beside them, which somebody else looks at.
    """

    def __init__(self, names: Callable[[], Iterable[str]], *fields: Field):
        self.names = names
        self.fields = fields

    def check(self, query: str) -> list[str]:
        """The keys asked for. BadField where one has a value that is no flag's."""
        asked = []
        others = [field.name for field in self.fields]
        for key, value in parse_query(query):
            if key in others:
                continue
            if _FLAG.check(value, key[:_NAME_SHOWN]) and key not in asked:
                asked.append(key)
        return asked


_FLAG = Flag()


class Parameters:
    """A query of named parameters, `?tid=1&wait=500`; hal.fields declares them, Flag the bare ones."""

    def __init__(self, *fields: Field):
        self.fields = fields

    def check(self, query: str) -> dict:
        """Parameter values by name; Refused UNKNOWN_KEY, BadField."""
        given = dict(parse_query(query))
        names = [field.name for field in self.fields]
        for key in given:
            if key not in names:
                raise Refused("UNKNOWN_KEY", f"unknown key {key[:_NAME_SHOWN]}; known are {', '.join(names)}")
        flags = [field for field in self.fields if isinstance(field.kind, Flag)]
        values = {field.name: field.kind.check(given.get(field.name, "0"), field.name) for field in flags}
        numbers = {key: _number(value) for key, value in given.items() if key not in values}
        values.update(Object(*[field for field in self.fields if field not in flags]).check(numbers, "query"))
        return values


def _number(text: str | None) -> int | str | None:
    """The integer that a query value spells, or the value itself, which the field then refuses."""
    if text and len(text) <= 20 and all("0" <= digit <= "9" for digit in text):
        return int(text)
    return text
