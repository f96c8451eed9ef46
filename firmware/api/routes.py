"""From the table of endpoints to the server's routes: guard, checks, handler, error bodies."""

from microdot import Request, Response

from firmware.api.call import Call, Services, parse_body
from firmware.api.endpoint import Endpoint
from firmware.api.endpoints import ENDPOINTS
from firmware.api.errors import error_answer
from firmware.api.guard import Guard
from firmware.http.files import add_files
from firmware.http.messages.answers import JsonResponse, Stream
from firmware.http.server import HttpServer
from firmware.services.errors import Refused
from hal.contracts import PartError
from hal.fields import BadField
from hal.runtime.annotations import Iterator
from hal.runtime.files import open_regular

OPENAPI_PATH = "/api/openapi.json"
MADE_DOCUMENT = "/".join(__file__.split("/")[:-1] + ["openapi.z"])  # its ASCII text as a zlib stream (RFC 1950)
PART_LENGTH = 1024  # characters
CONSOLE_PATH = "/console/"  # below which deploy/console puts what the page at / consists of


def add_routes(server: HttpServer, services: Services, guard: Guard) -> None:
    """Route every row of the table, and the document that describes them, on a server."""
    for endpoint in ENDPOINTS:
        server.add(endpoint.method, endpoint.path, Route(endpoint, services, guard))
    server.add("GET", OPENAPI_PATH, _openapi)


def add_console(server: HttpServer, folder: str) -> None:
    """Serve the console at `/` from a built site's folder; without one `/` says why."""
    try:
        add_files(server, folder, CONSOLE_PATH)
    except (OSError, ValueError):
        reason = _reason(folder)

        async def say_why(request: Request) -> JsonResponse:
            return error_answer("NOT_BUILT", f"there is no console, only the API under /api: {reason}")

        server.add("GET", "/", say_why)


def _reason(folder: str) -> str:
    try:
        with open(folder + "/why-not.txt") as file:
            return file.read().strip()
    except OSError:
        return "it was not built; make console does that"


async def _openapi(request: Request) -> Stream:
    return Stream(_document())


def _document() -> Iterator[str]:
    """The document in parts: as it was made beforehand for a board, which has no memory to make it, or made now."""
    try:
        made = open_regular(MADE_DOCUMENT)
    except OSError:
        from firmware.api.openapi import document_parts

        yield from document_parts()
        return
    from hal.runtime.archive import ZlibReader

    with made:
        stream = ZlibReader(made)
        while part := stream.read(PART_LENGTH):
            yield part.decode()


class Route:
    """What answers requests of one row: guard, checks, handler. One object each, for a board has little memory."""

    def __init__(self, endpoint: Endpoint, services: Services, guard: Guard):
        self._endpoint = endpoint
        self._services = services
        self._guard = guard

    async def __call__(self, request: Request) -> Response:
        """The answer."""
        row, guard = self._endpoint, self._guard
        try:
            level = guard.admit_by_ticket(request) if row.takes_ticket else None
            if level is None:
                level = guard.admit(request, row.level, row.for_readers)
            query = row.query.check(request.query_string or "") if row.query is not None else None
            body = await parse_body(request.body or b"", row.body) if row.method == "POST" else None
            request._body = b""  # type: ignore[attr-defined]  # a board has better use for its memory
            result = await row.handler(Call(self._services, request, level, query, body))
        except (Refused, BadField, PartError) as exc:
            return refusal(exc)
        return result if isinstance(result, Response) else JsonResponse(result)

    def body_limit(self, request: Request) -> int | None:
        """Bytes that the body may have: 0: as many as the limits say; None: it is refused whatever its body."""
        try:
            self._guard.admit(request, self._endpoint.level)
        except Refused:
            return None
        return self._endpoint.body_bytes


def refusal(exc: Refused | BadField | PartError) -> JsonResponse:
    """The answer for what a service or a part of the board will not or cannot do."""
    return error_answer(exc.code, str(exc), retry_after=getattr(exc, "retry_after", None))
