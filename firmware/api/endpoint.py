"""A row of the table of endpoints, and the kinds of values that its rows share."""

from hal.fields import BadField, Integer, Object

UINT32 = Integer(0, 0xFFFFFFFF)


def nothing() -> Object:
    """The answer `{}`."""
    return Object()


class Endpoint:
    """A row of the table.

    `answer()` declares the body of a success. It is a function because only the OpenAPI document and the manual want to
    know, and a small board has no memory for what nobody asks for. Bodies of `room` bytes are taken even where setting
    httpd.maxBodyBytes is less.
    """

    def __init__(
        self, method: str, path: str, level: int, purpose: str, handler, answer, query=None, body=None, room=0
    ):
        self.method = method
        self.path = path
        self.level = level
        self.purpose = purpose
        self.handler = handler
        self.answer = answer
        self.query = query
        self.body = body
        self.room = room


class Anything:
    """Any JSON object: answers whose members depend on the keys asked for, bodies that a service checks."""

    def check(self, value, where: str = "body"):
        """The object, or BadField."""
        if not isinstance(value, dict):
            raise BadField(f"{where}: must be an " + self.words())
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return "object"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "object"}


class CardPath:
    """A path on the SD card: any text of its length; what is wrong inside it is for the card service to say."""

    HIGH = 1024

    def check(self, value, where: str):
        """The path, or BadField."""
        if not isinstance(value, str) or not 1 <= len(value) <= self.HIGH:
            raise BadField(f"{where}: must be text of 1..{self.HIGH} characters")
        return value

    def words(self) -> str:
        """What it takes, in words."""
        return f"path of 1..{self.HIGH} characters"

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "string", "minLength": 1, "maxLength": self.HIGH}
