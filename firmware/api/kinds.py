"""Kinds of values that endpoints of several areas share."""

from hal.fields import BadField, Integer, Kind, Object
from hal.runtime.annotations import Any, Callable

UINT32 = Integer(0, 0xFFFFFFFF)

# of whatever looks at the card
CARD_ERRORS = ("BAD_PATH", "NOT_DIRECTORY", "NOT_FOUND", "NO_CARD", "CARD_BUSY", "CARD_FAILED")


def nothing() -> Object:
    """The answer `{}`."""
    return Object()


def outcome(error: str | None) -> dict:
    """How a command that was taken has ended: with an error's code, or well."""
    return {"status": "DONE" if error is None else "ERROR", "errorCode": error}


class Anything(Kind):
    """Any JSON object: a service checks it, and knows better. `shape()`, where given, declares it for documents."""

    def __init__(self, shape: Callable[[], Kind] | None = None):
        self.shape = shape

    def check(self, value: object, where: str = "body") -> dict:
        """The object, or BadField."""
        if not isinstance(value, dict):
            raise BadField(f"{where}: must be an object")
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return "object" if self.shape is None else self.shape().words()

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "object"} if self.shape is None else self.shape().schema()


class Content(Kind):
    """The body of an answer that is no JSON: its media type, which HTTP's Content-Type names (RFC 9110 section 8.3).

    `other` is a second one that the query may ask for, text always.
    """

    def __init__(self, media_type: str, text: bool = True, other: str = ""):
        self.media_type = media_type
        self.other = other
        self.text = text

    def check(self, value: object, where: str) -> object:
        """The text or the bytes, or BadField."""
        if not isinstance(value, str if self.text else bytes) and not (self.other and isinstance(value, str)):
            raise BadField(f"{where}: must be " + self.words())
        return value

    def words(self) -> str:
        """What it is, in words."""
        return "text" if self.text else "bytes"

    def schema(self) -> dict:
        """JSON Schema; of bytes OpenAPI 3.1 (section 4.8.14.2) wants none."""
        return {"type": "string"} if self.text else {}


class Words(Kind):
    """Text of any length and content, such as an error's message."""

    def words(self) -> str:
        """What it is, in words."""
        return "text"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "string"}


class CardPath(Kind):
    """A path on the SD card, "/" itself only where `root` is true. `check` takes any text of its length: what is wrong
    inside it is for the card service to say, as BAD_PATH; the schema tells beforehand."""

    HIGH = 1024

    def __init__(self, root: bool = False):
        self.root = root

    def check(self, value: object, where: str) -> str:
        """The path, or BadField."""
        if not isinstance(value, str) or not 1 <= len(value) <= self.HIGH:
            raise BadField(f"{where}: must be text of 1..{self.HIGH} characters")
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return f"path of 1..{self.HIGH} characters"

    def schema(self) -> dict:
        """JSON Schema."""
        letter = '[^/\\\\:*?"<>|\\u0000-\\u001f\\u007f]'
        name = letter + "{0,254}" + letter[:-1] + ". ]"
        pattern = f"^/(?:{name}(?:/{name})*)?$" if self.root else f"^(?:/{name})+$"
        return {"type": "string", "minLength": 1, "maxLength": self.HIGH, "pattern": pattern}


class Named(Kind):
    """A kind that the OpenAPI document declares once, under a name: what generated clients call its type.

    `make()` makes the kind, when it is needed.
    """

    def __init__(self, name: str, make: Callable[[], Kind]):
        self.name = name
        self.make = make

    def check(self, value: object, where: str) -> Any:
        """As the kind does."""
        return self.make().check(value, where)

    def words(self) -> str:
        """What it takes, in words."""
        return self.make().words()

    def schema(self) -> dict:
        """JSON Schema."""
        return {"$ref": "#/components/schemas/" + self.name}


def type_name(prefix: str, key: str) -> str:
    """The name of the type of a key of settings or state: `gsm` of "State" is StateGsm."""
    return prefix + key[0].upper() + key[1:]
