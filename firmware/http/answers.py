"""Answers: their content, and the bytes that go out (RFC 9112 section 4)."""

from microdot import Response

from hal.runtime import json_dumps

_COMMON_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class JsonResponse(Response):
    """An answer with a JSON body. `after_sent`, where set, is called once the answer has left."""

    after_sent: object = None

    def __init__(self, content, status: int = 200, headers: "dict | None" = None):
        # Response.__init__ would build a case-insensitive header table for every answer.
        self.status_code = status
        self.reason = None  # type: ignore[assignment]
        self.is_head = False
        self.body = json_dumps(content).encode()
        self.headers = _COMMON_HEADERS if headers is None else dict(_COMMON_HEADERS, **headers)  # type: ignore[assignment]


class JsonStream(JsonResponse):
    """An answer whose JSON text comes in parts, each sent as soon as it is made: for what is too long to be held."""

    def __init__(self, parts):
        super().__init__(None)
        self.body = parts


REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


def render(status: int, headers: dict, body: bytes, keep_alive: bool, head_only: bool = False) -> bytes:
    """One answer as bytes, ready for a single write."""
    head = render_head(status, headers, f"Content-Length: {len(body)}\r\n", keep_alive)
    return head if head_only else head + body


def render_head(status: int, headers: dict, framing: str, keep_alive: bool) -> bytes:
    """The head of an answer; `framing` is the header line that says where its body ends, or empty."""
    head = f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n{framing}"
    for name in headers:
        head += f"{name}: {headers[name]}\r\n"
    head += "Connection: keep-alive\r\n\r\n" if keep_alive else "Connection: close\r\n\r\n"
    return head.encode()


def chunk(data: bytes) -> bytes:
    """A part of a body as a chunk (RFC 9112 section 7.1); nothing of an empty one, which would end the body."""
    return b"%x\r\n" % len(data) + data + b"\r\n" if data else b""
