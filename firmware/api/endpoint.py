"""A row of the table of endpoints."""

from firmware.api.call import Call
from firmware.api.kinds import Anything
from firmware.api.query import Keys, Parameters
from hal.fields import Kind, Object
from hal.runtime.annotations import Any, Callable, Coroutine


class Endpoint:
    """A row of the table.

    `answer()` declares the body of a success. It is a function because only the OpenAPI document and the manual want to
    know, and a small board has no memory for what nobody asks for. `errors` are the codes that the handler's services
    give; those of the guard and of the checks of query and body are not repeated there. `body_bytes`, where it
    is not 0, is how long a body may be whatever setting httpd.maxBodyBytes says. `for_readers`: who comes from a
    network of setting httpd.metricsAllow needs no level. `takes_ticket`: one of POST /api/events/ticket/ will do.
    """

    # Of the class, since most have none of them and a board's memory is small.
    query: Keys | Parameters | None = None
    body: Object | Anything | None = None
    errors: tuple = ()
    body_bytes = 0
    for_readers = False
    takes_ticket = False

    def __init__(
        self,
        method: str,
        path: str,
        level: int,
        purpose: str,
        handler: Callable[[Call], Coroutine[Any, Any, Any]],
        answer: Callable[[], Kind],
        query: Keys | Parameters | None = None,
        body: Object | Anything | None = None,
        errors: tuple = (),
        body_bytes: int = 0,
        for_readers: bool = False,
        takes_ticket: bool = False,
    ):
        self.method = method
        self.path = path
        self.level = level
        self.purpose = purpose
        self.handler = handler
        self.answer = answer
        if query is not None:
            self.query = query
        if body is not None:
            self.body = body
        if errors:
            self.errors = errors
        if body_bytes:
            self.body_bytes = body_bytes
        if for_readers:
            self.for_readers = for_readers
        if takes_ticket:
            self.takes_ticket = takes_ticket
