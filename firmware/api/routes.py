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
from hal.runtime import forget_modules
from hal.runtime.annotations import Any, Callable, Coroutine, Iterator

OPENAPI_PATH = "/api/openapi.json"
CONSOLE_PATH = "/console/"  # below which deploy/console puts what the page at / consists of


def add_routes(server: HttpServer, services: Services, guard: Guard) -> None:
    """Route every row of the table, and the document that describes them, on a server."""
    for endpoint in ENDPOINTS:
        server.add(endpoint.method, endpoint.path, _route(endpoint, services, guard), _body_limit(endpoint, guard))
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
    from firmware.api.openapi import document_parts  # here, since a board needs the memory while nobody asks

    try:
        yield from document_parts()
    finally:
        forget_modules("firmware.api.openapi", "firmware.api.error_meanings")


def _body_limit(endpoint: Endpoint, guard: Guard) -> Callable[[Request], int | None]:
    def limit(request: Request) -> int | None:
        try:
            guard.admit(request, endpoint.level)
        except Refused:
            return None
        return endpoint.body_bytes

    return limit


def _route(endpoint: Endpoint, services: Services, guard: Guard) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    async def answer(request: Request) -> Response:
        try:
            level = guard.admit_by_ticket(request) if endpoint.takes_ticket else None
            if level is None:
                level = guard.admit(request, endpoint.level, endpoint.for_readers)
            query = endpoint.query.check(request.query_string or "") if endpoint.query is not None else None
            body = await parse_body(request.body or b"", endpoint.body) if endpoint.method == "POST" else None
            result = await endpoint.handler(Call(services, request, level, query, body))
        except (Refused, BadField, PartError) as exc:
            return refusal(exc)
        return result if isinstance(result, Response) else JsonResponse(result)

    return answer


def refusal(exc: Refused | BadField | PartError) -> JsonResponse:
    """The answer for what a service or a part of the board will not or cannot do."""
    return error_answer(exc.code, str(exc), retry_after=getattr(exc, "retry_after", None))
