"""Answers: their content, and the bytes that go out (RFC 9112 section 4)."""

from microdot import Response

from hal.runtime import json_dumps
from hal.runtime.annotations import AsyncIterator, Callable, Iterator

_COMMON_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class JsonResponse(Response):
    """An answer with a JSON body. `after_sent`, where set, is called once the answer has left."""

    after_sent: Callable[[], None] | None = None

    def __init__(self, content: object, status: int = 200, headers: dict[str, str] | None = None):
        # Response.__init__ would build a case-insensitive header table for every answer.
        self.status_code = status
        self.reason = None  # type: ignore[assignment]
        self.is_head = False
        self.body = json_dumps(content).encode()
        self.headers = _COMMON_HEADERS if headers is None else dict(_COMMON_HEADERS, **headers)  # type: ignore[assignment]


class Stream(JsonResponse):
    """An answer that comes in parts, each sent as soon as it is made: for what is too long to be held."""

    def __init__(
        self, parts: Iterator[str] | Iterator[bytes] | AsyncIterator[str], content_type: str = "application/json"
    ):
        super().__init__(None, 200, {"Content-Type": content_type})
        self.body = parts  # type: ignore[assignment]


REASONS = {
    200: "OK",
    204: "No Content",
    304: "Not Modified",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


def check(response: Response) -> Response:
    """An answer that is no JsonResponse, completed as Microdot does it; ValueError for a field that is none."""
    response.complete()
    _render_fields(response.headers)
    if isinstance(response.body, (bytearray, memoryview)):
        response.body = bytes(response.body)
    return response


def render(response: Response, keep_alive: bool, date: str = "", head_only: bool = False) -> bytes:
    """An answer whose body is there, as bytes ready for a single write."""
    body = response.body
    if response.headers is not _COMMON_HEADERS and response.status_code in _BODILESS:
        return render_head(response, "", keep_alive, date)
    head = render_head(response, f"Content-Length: {len(body)}\r\n", keep_alive, date)
    return head if head_only else head + body


def render_head(response: Response, framing: str, keep_alive: bool, date: str) -> bytes:
    """Status line and fields of an answer; `framing` is the field that tells where its body ends, `date` its Date."""
    headers = response.headers
    fields = _COMMON_FIELDS if headers is _COMMON_HEADERS else _render_fields(headers)
    status = response.status_code
    reason = response.reason or REASONS.get(status, "")
    connection = "keep-alive" if keep_alive else "close"
    return f"HTTP/1.1 {status} {reason}\r\n{date}{framing}{fields}Connection: {connection}\r\n\r\n".encode()


def _render_fields(headers: dict) -> str:
    fields = ""
    for name in headers:
        if name.lower() in _FRAMING:
            continue
        values = headers[name]
        for value in values if isinstance(values, list) else [values]:
            line = f"{name}: {value}"
            if "\r" in line or "\n" in line:
                raise ValueError("a header field with a line break in it")
            fields += line + "\r\n"
    return fields


_BODILESS = (204, 304)
_FRAMING = ("content-length", "transfer-encoding", "connection", "date")  # said by the server, not by handlers
_COMMON_FIELDS = _render_fields(_COMMON_HEADERS)
