"""What is served: a Microdot application whose routes are static paths."""

from microdot import Microdot, Request, Response

from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import JsonResponse, check
from firmware.http.messages.dates import http_date
from hal.runtime import log_exception, now_ms
from hal.runtime.annotations import Awaitable, Callable, Iterable
from hal.runtime.memory import MEMORY
from hal.trace import HTTP, is_traced, trace


def no_clock() -> int | None:
    """The time where there is no clock."""
    return None


class Application(Microdot):
    """Routes to async handlers, and the answers where there is none.

    `error_answer(code, message, headers)` makes the answers to what goes wrong here: BAD_REQUEST, TIMEOUT, TOO_LARGE,
    URI_TOO_LONG, HEADERS_TOO_LARGE, NOT_IMPLEMENTED, HTTP_VERSION, NOT_FOUND, METHOD_NOT_ALLOWED, BUSY, NO_MEMORY and
    INTERNAL. What a handler raises is unexpected: it is logged, counted in `errors` and answered with INTERNAL. `utc()`
    is the time for the field Date in milliseconds since 1970, None while nobody knows it.
    """

    def __init__(
        self,
        limits: HttpLimits,
        error_answer: Callable[..., JsonResponse],
        utc: Callable[[], int | None] = no_clock,
        clock: Callable[[], int] = now_ms,
    ):
        super().__init__()
        self.limits = limits
        self.error_answer = error_answer
        self.now = clock
        self.closing = False
        self.errors = 0
        self.requests = 0  # that were answered
        self.failed = 0  # of them, with status 500 and above
        self.elsewhere: Callable[[str], dict[str, Callable[[Request], Awaitable[Response]]] | None] = nowhere
        self._utc = utc
        self._date = ""
        self._date_at: int | None = None
        self._paths: dict[
            str, dict[str, Callable[[Request], Awaitable[Response]]]
        ] = {}  # path without trailing slash -> {method: handler}

    def add(self, method: str, path: str, handler: Callable[[Request], Awaitable[Response]]) -> None:
        """Route a method on a static path, with and without its trailing slash, to an async handler.

        A handler's `body_limit(request)`, where it has one, is asked before the body is read and gives how many bytes
        that may have: 0 for as many as the limits say, None where the request will be refused whatever its body.
        """
        self._paths.setdefault(path.rstrip("/"), {})[method] = handler

    def body_limit(self, request: Request) -> int | None:
        """Bytes that a request's body may have, None where it is refused without looking at it."""
        handler, _, _ = self.find_route(request)
        if not callable(handler):
            return None
        limit_of = getattr(handler, "body_limit", None)
        limit = 0 if limit_of is None else limit_of(request)
        return self.limits.body_bytes if limit == 0 else limit

    def find_route(self, req: Request) -> tuple[int | Callable[[Request], Awaitable[Response]], str, None]:
        """As Microdot's, by one look into a dict."""
        path = req.path
        if path == "*":  # the server as a whole (RFC 9110 section 9.3.7)
            req.g.allow = allowed_methods({method for methods in self._paths.values() for method in methods})
            return _options, "", None
        methods = self._paths.get(path) or (self._paths.get(path[:-1]) if path[-1:] == "/" else None)
        if methods is None:
            methods = self.elsewhere(path)
        if methods is None:
            return 404, "", None
        method = "GET" if req.method == "HEAD" else req.method
        handler: int | Callable[[Request], Awaitable[Response]] | None = methods.get(method)
        if handler is None:
            req.g.allow = allowed_methods(methods)
            handler = _options if method == "OPTIONS" else 405
        return handler, "", None

    async def dispatch_request(self, req: Request) -> Response:
        """As Microdot's, without its hooks and without its care for what else a handler could be or give."""
        response = await self._answer(req)
        self.requests += 1
        self.failed += response.status_code >= 500
        if is_traced(HTTP):
            trace(HTTP, f"HTTP: {req.client_addr[0]} {req.method} {req.path} {response.status_code}")
        return response

    async def _answer(self, req: Request) -> Response:
        handler, _, _ = self.find_route(req)
        if not callable(handler):
            return await self.error_response(req, handler)
        try:
            response = await handler(req)
            MEMORY.sufficed()
            return response if isinstance(response, JsonResponse) else check(response)
        except MemoryError:
            return self.out_of_memory(req.path)
        except Exception as exc:
            self.count_error(exc)
            return await self.error_response(req, 500)

    async def error_response(self, req: Request, status_code: int, reason: str | None = None) -> Response:
        """The answer where no handler gives one."""
        if status_code == 404:
            return self.error_answer("NOT_FOUND", "there is no such path")
        if status_code == 405:
            allow = req.g.allow
            return self.error_answer("METHOD_NOT_ALLOWED", "allowed here: " + allow, {"Allow": allow})
        return self.error_answer("INTERNAL", "an unexpected error, written to the device's log")

    def out_of_memory(self, what: str) -> JsonResponse:
        """The answer to what there was not enough memory for; there is some again."""
        MEMORY.ran_out(what)
        return self.error_answer("NO_MEMORY", "there is not enough memory for this now; try again")

    def count_error(self, exc: BaseException) -> None:
        """Log and count what nobody has expected."""
        self.errors += 1
        log_exception(exc)

    def date_field(self, now: int) -> str:
        """The field Date (RFC 9110 section 6.6.1) at a moment of the server's clock, "" where the time is not known."""
        if self._date_at is None or not 0 <= now - self._date_at < 1000:
            self._date_at = now
            utc = self._utc()
            self._date = "" if utc is None else f"Date: {http_date(utc // 1000)}\r\n"
        return self._date


def nowhere(path: str) -> None:
    """What there is besides the paths that were added: nothing."""


def allowed_methods(methods: Iterable[str]) -> str:
    """The value of an Allow header for a path's methods."""
    names = sorted(methods)
    if "GET" in names:
        names.append("HEAD")
    return ", ".join(names + ["OPTIONS"])


async def _options(request: Request) -> Response:
    return JsonResponse({}, 200, {"Allow": request.g.allow})
