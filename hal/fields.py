"""Typed fields: one declaration gives validation, limits for error messages, defaults and a JSON Schema.

Board configs, settings and request bodies are all declared with these. Every kind has `check(value, where)`, which
returns the value or raises `BadField`, `schema()`, its JSON Schema (2020-12) as a dict, and `words()`, what it takes
in words. What the schema allows and what `check` takes are the same set.
"""

from hal.runtime import b64decode
from hal.runtime.annotations import Any, Callable
from hal.runtime.decimals import Decimal

REQUIRED = object()  # default of a field that must be given

_INT64 = 2**63 - 1
_HUGE = 2**53  # what JSON numbers hold for sure (RFC 8259 section 6): no limit to speak of
_NAME_SHOWN = 40  # characters of an unknown name that an error repeats
_PROBLEMS_SHOWN = 128


class BadField(Exception):
    """A field is missing, unknown, mistyped or out of its limits. `problems` lists "where: what it must be"."""

    code = "BAD_FIELD"

    def __init__(self, problems: list[str] | str):
        self.problems = [problems] if isinstance(problems, str) else problems[:_PROBLEMS_SHOWN]
        super().__init__("; ".join(self.problems))


def _fail(where: str, must: str) -> BadField:
    return BadField(f"{where}: {must}")


class Kind:
    """What a value may be."""

    def check(self, value: Any, where: str) -> Any:
        """The value as it is kept, or BadField."""
        raise NotImplementedError

    def words(self) -> str:
        """What it takes, in words."""
        raise NotImplementedError

    def schema(self) -> dict:
        """JSON Schema."""
        raise NotImplementedError


class Integer(Kind):
    """A whole number in [low, high]; 1.0 and 1e2 are whole too (JSON Schema 2020-12 Validation, section 6.1.1)."""

    def __init__(self, low: int = -_INT64, high: int = _INT64):
        self.low = low
        self.high = high

    def check(self, value: object, where: str) -> int:
        """The number, or BadField."""
        if isinstance(value, Decimal):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise _fail(where, "must be an " + self.words())
        if isinstance(value, float):
            if value != int(value):
                raise _fail(where, "must be an " + self.words())
            return int(value)
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return f"integer {self.low}..{self.high}" if self.high < _HUGE else f"integer from {self.low}"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "integer", "minimum": self.low, "maximum": self.high}


class Number(Kind):
    """A finite number in [low, high]."""

    def __init__(self, low: float, high: float):
        self.low = low
        self.high = high

    def check(self, value: object, where: str) -> Any:
        """The number, or BadField."""
        if isinstance(value, Decimal):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not self.low <= value <= self.high:
            raise _fail(where, "must be a " + self.words())
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return f"number {self.low}..{self.high}"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "number", "minimum": self.low, "maximum": self.high}


class Exact(Number):
    """A finite number in [low, high] with all digits that it was given, where it comes from a text."""

    def check(self, value: object, where: str) -> Any:
        """The number, a Decimal where it came as one, or BadField."""
        super().check(value, where)
        return value


class Boolean(Kind):
    """true or false."""

    def check(self, value: object, where: str) -> bool:
        """The boolean, or BadField."""
        if not isinstance(value, bool):
            raise _fail(where, "must be true or false")
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return "boolean"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "boolean"}


class Text(Kind):
    """A string of low..high characters without control characters; `form` narrows it further.

    form is None or a triple (predicate on the text, words for the error message, JSON Schema additions).
    """

    def __init__(self, high: int, low: int = 0, form: tuple | None = None):
        self.low = low
        self.high = high
        self.form = form

    def check(self, value: object, where: str) -> str:
        """The text, or BadField."""
        if not isinstance(value, str) or not self.low <= len(value) <= self.high:
            raise _fail(where, f"must be text of {self.low}..{self.high} characters")
        for character in value:
            if _is_control(character):
                raise _fail(where, "must not contain control characters")
        if self.form and not self.form[0](value):
            raise _fail(where, "must be " + self.form[1])
        return value

    def fit(self, text: str) -> str:
        """As much of any text as it takes, spaces in place of control characters."""
        return "".join(" " if _is_control(character) else character for character in text[: self.high])

    def words(self) -> str:
        """What it takes, in words."""
        return f"text of {self.low}..{self.high} characters" + (": " + self.form[1] if self.form else "")

    def schema(self) -> dict:
        """JSON Schema."""
        schema = {
            "type": "string",
            "minLength": self.low,
            "maxLength": self.high,
            "pattern": "^[^\\u0000-\\u001f\\u007f]*$",
        }
        if self.form:
            schema.update(self.form[2])
        return schema


def _is_control(character: str) -> bool:
    return character < " " or character == "\x7f" or 0xD800 <= ord(character) <= 0xDFFF


class Choice(Kind):
    """One of a few values, all strings or all integers."""

    def __init__(self, *values: str | int):
        self.values = values

    def check(self, value: object, where: str) -> str | int:
        """The value, or BadField."""
        for allowed in self.values:
            if value == allowed and isinstance(value, bool) is isinstance(allowed, bool):
                return allowed
        raise _fail(where, "must be " + self.words())

    def words(self) -> str:
        """What it takes, in words."""
        return "one of " + ", ".join(str(value) for value in self.values)

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "string" if isinstance(self.values[0], str) else "integer", "enum": list(self.values)}


class Base64(Kind):
    """Bytes as Base64 text (RFC 4648 section 4), low..high bytes when decoded; `check` returns the bytes."""

    def __init__(self, high: int, low: int = 0):
        self.low = low
        self.high = high

    def check(self, value: object, where: str) -> bytes:
        """The decoded bytes, or BadField."""
        if not isinstance(value, str) or len(value) > (self.high + 2) // 3 * 4:
            raise _fail(where, f"must be Base64 text of {self.low}..{self.high} bytes")
        try:
            data = b64decode(value)
        except ValueError:
            raise _fail(where, "must be Base64 text with its padding") from None
        if not self.low <= len(data) <= self.high:
            raise _fail(where, f"must be Base64 text of {self.low}..{self.high} bytes")
        return data

    def words(self) -> str:
        """What it takes, in words."""
        return f"Base64 of {self.low}..{self.high} bytes"

    def schema(self) -> dict:
        """JSON Schema."""
        return {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$",
            "minLength": (self.low + 2) // 3 * 4,
            "maxLength": (self.high + 2) // 3 * 4,
        }


class Nullable(Kind):
    """null, or a value of another kind."""

    def __init__(self, kind: Kind):
        self.kind = kind

    def check(self, value: object, where: str) -> Any:
        """None or the checked value, or BadField."""
        return None if value is None else self.kind.check(value, where)

    def words(self) -> str:
        """What it takes, in words."""
        return self.kind.words() + ", or null"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"anyOf": [self.kind.schema(), {"type": "null"}]}


class ListOf(Kind):
    """A list of low..high items of one kind."""

    def __init__(self, kind: Kind, high: int, low: int = 0):
        self.kind = kind
        self.low = low
        self.high = high

    def check(self, value: object, where: str) -> list:
        """The list of checked items, or BadField naming every bad one."""
        if not isinstance(value, (list, tuple)) or not self.low <= len(value) <= self.high:
            raise _fail(where, f"must be a list of {self.low}..{self.high} items")
        checked = []
        problems: list = []
        for index, item in enumerate(value):
            try:
                checked.append(self.kind.check(item, f"{where}[{index}]"))
            except BadField as exc:
                problems.extend(exc.problems)
        if problems:
            raise BadField(problems)
        return checked

    def words(self) -> str:
        """What it takes, in words."""
        return f"list of {self.low}..{self.high}: {self.kind.words()}"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "array", "items": self.kind.schema(), "minItems": self.low, "maxItems": self.high}


class MapOf(Kind):
    """An object of up to high members of one kind, whatever their names are; `name` says what those are."""

    def __init__(self, kind: Kind, high: int, name: str = "name"):
        self.kind = kind
        self.high = high
        self.name = name

    def check(self, value: object, where: str) -> dict:
        """The dict of checked members, or BadField naming every bad one."""
        if not isinstance(value, dict) or len(value) > self.high:
            raise _fail(where, f"must be an object of up to {self.high} members")
        problems: list = []
        checked = {}
        for name in value:
            try:
                checked[name] = self.kind.check(value[name], f"{where}.{name[:_NAME_SHOWN]}")
            except BadField as exc:
                problems.extend(exc.problems)
        if problems:
            raise BadField(problems)
        return checked

    def words(self) -> str:
        """What it takes, in words."""
        return f"object: {self.name} to {self.kind.words()}"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "object", "additionalProperties": self.kind.schema(), "maxProperties": self.high}


class AnyOf(Kind):
    """A value that one of several kinds takes; the first that does wins."""

    def __init__(self, *kinds: Kind):
        self.kinds = kinds

    def check(self, value: object, where: str) -> Any:
        """The value as the first fitting kind returns it, or BadField with what each kind wants."""
        wanted = []
        for kind in self.kinds:
            try:
                return kind.check(value, where)
            except BadField as exc:
                wanted.append(exc.problems[0].split(": ", 1)[-1])
        raise _fail(where, " or ".join(wanted))

    def words(self) -> str:
        """What it takes, in words."""
        return " or ".join(kind.words() for kind in self.kinds)

    def schema(self) -> dict:
        """JSON Schema."""
        return {"anyOf": [kind.schema() for kind in self.kinds]}


class Field:
    """A named member of an Object: kind, default (none: required), what it means, its unit.

    `secret`: it is never shown; `power`: whoever may change it has power over the device.
    """

    # Of the class, since most have none of them and a board's memory is small.
    default: object = REQUIRED
    help = ""
    secret = False
    unit = ""
    power = False

    def __init__(
        self,
        name: str,
        kind: Kind,
        default: object = REQUIRED,
        help: str = "",
        secret: bool = False,
        unit: str = "",
        power: bool = False,
    ):
        self.name = name
        self.kind = kind
        if default is not REQUIRED:
            self.default = default
        if help:
            self.help = help
        if secret:
            self.secret = secret
        if unit:
            self.unit = unit
        if power:
            self.power = power

    def schema(self) -> dict:
        """JSON Schema of the member, with its description and unit and its default."""
        schema = self.kind.schema()
        if self.help or self.unit:
            schema["description"] = f"{self.help} [{self.unit}]" if self.unit else self.help
        if self.default is not REQUIRED and self.default is not None and not self.secret:
            schema["default"] = self.default
        return schema


class Object(Kind):
    """An object with declared members and no others.

    `rule` is None or a function of the checked object that returns a list of problems ("where: what") over
    several members at once; `limits` are JSON Schema keywords for what such a rule, or a service, demands.
    """

    rule: Callable[[dict], list[str]] | None = None
    limits: dict | None = None

    def __init__(self, *fields: Field, rule: Callable[[dict], list[str]] | None = None, limits: dict | None = None):
        self.fields = fields
        if rule is not None:
            self.rule = rule
        if limits is not None:
            self.limits = limits

    @property
    def by_name(self) -> dict:
        """The members by their names."""
        return {field.name: field for field in self.fields}

    def check(self, value: object, where: str = "", base: dict | None = None) -> dict:
        """The checked object, members left out filled from `base` or else from their defaults.

        BadField names every missing, unknown and bad member.
        """
        if not isinstance(value, dict):
            raise _fail(where or "body", "must be an object")
        prefix = where + "." if where else ""
        problems: list = []
        checked = {}
        known = 0
        for field in self.fields:
            if field.name in value:
                known += 1
                try:
                    checked[field.name] = field.kind.check(value[field.name], prefix + field.name)
                except BadField as exc:
                    problems.extend(exc.problems)
            elif base is not None and field.name in base:
                checked[field.name] = base[field.name]
            elif field.default is REQUIRED:
                problems.append(f"{prefix}{field.name}: is missing")
            else:
                checked[field.name] = field.default
        if known < len(value):
            names = self.by_name
            problems = [f"{prefix}{name[:_NAME_SHOWN]}: is unknown" for name in value if name not in names] + problems
        if not problems and self.rule:
            problems = [prefix + problem for problem in self.rule(checked)]
        if problems:
            raise BadField(problems)
        return checked

    def words(self) -> str:
        """What it takes, in words."""
        return "object {" + ", ".join(field.name for field in self.fields) + "}"

    def schema(self) -> dict:
        """JSON Schema."""
        schema: dict = {
            "type": "object",
            "properties": {field.name: field.schema() for field in self.fields},
            "additionalProperties": False,
        }
        required = [field.name for field in self.fields if field.default is REQUIRED]
        if required:
            schema["required"] = required
        if self.limits:
            schema.update(self.limits)
        return schema
