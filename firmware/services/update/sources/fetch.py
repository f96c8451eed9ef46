"""Files from web servers: HTTP/1.1 (RFC 9110, 9112) as a client, one request on a connection, a body as it comes.

Nothing is held in memory but a block. A download goes on where it broke off (Range and If-Range, RFC 9110 sections
13.1.5 and 14), redirects are followed from https to https only, and every wait has a bound.
"""

import asyncio

from firmware.services.errors import Refused
from hal.runtime import CONNECTION_ERRORS, MICROPYTHON, abort_stream, in_time, open_stream, open_tls
from hal.runtime.annotations import Any, Coroutine, T

HEAD_BLOCK = 4096
BLOCK = 4096 if MICROPYTHON else 16384  # of a body
HEAD_LIMIT = 8192  # bytes
CHUNK_DIGITS = 8
REDIRECTS = 5
CONNECT_SEC = 20
SILENCE_SEC = 30  # without a byte

_MOVED = (301, 302, 303, 307, 308)


class Url:
    """An http or https URL taken apart. Refused BAD_URL."""

    def __init__(self, text: str):
        scheme, mark, rest = text.partition("://")
        authority, _, path = rest.partition("/")
        host, port = _host_and_port(authority)
        if scheme not in ("http", "https") or not mark or not host or "@" in authority or " " in text:
            raise Refused("UPDATE_BAD_URL", f"{text[:80]}: is no http or https URL")
        self.tls = scheme == "https"
        self.host = host
        self.port = port or (443 if self.tls else 80)
        self.authority = authority
        self.path = "/" + path.partition("#")[0]

    def text(self) -> str:
        """The URL."""
        return ("https://" if self.tls else "http://") + self.authority + self.path

    def joined(self, reference: str) -> "Url":
        """The URL that a reference found at this one means (RFC 3986 section 5.2, no dot segments)."""
        if "://" in reference:
            return Url(reference)
        base = ("https://" if self.tls else "http://") + self.authority
        if reference.startswith("//"):
            return Url(("https:" if self.tls else "http:") + reference)
        if reference.startswith("/"):
            return Url(base + reference)
        return Url(base + self.path.partition("?")[0].rpartition("/")[0] + "/" + reference)


def _host_and_port(authority: str) -> tuple[str, int | None]:
    if authority[:1] == "[":
        host, _, rest = authority[1:].partition("]")
        digits = rest[1:] if rest[:1] == ":" else ""
    else:
        host, _, digits = authority.partition(":")
    if not digits:
        return host, None
    return (host, int(digits)) if digits.isdigit() and 0 < int(digits) < 65536 else ("", None)


class Incoming:
    """What a server sends, as lines of no more than HEAD_LIMIT bytes and as blocks."""

    def __init__(self, reader: asyncio.StreamReader):
        self._reader = reader
        self._ahead = b""

    async def line(self) -> bytes:
        """The next line without its end. Refused where there is none."""
        while b"\n" not in self._ahead:
            data = await _within(self._reader.read(HEAD_BLOCK), SILENCE_SEC)
            if not data or len(self._ahead) > HEAD_LIMIT:
                raise Refused("UPDATE_SERVER", "the server's answer is no HTTP")
            self._ahead += data
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line

    async def block(self, most: int) -> bytes:
        """The next bytes, so many at most; empty where the server has ended the connection."""
        if self._ahead:
            data, self._ahead = self._ahead[:most], self._ahead[most:]
            return data
        return await _within(self._reader.read(most), SILENCE_SEC)


class Answer:
    """The head of an answer and the way to its body. `close` it."""

    def __init__(self, status: int, headers: dict[str, str], incoming: Incoming, writer: asyncio.StreamWriter):
        self.status = status
        self.headers = headers
        self._incoming = incoming
        self._writer = writer
        self._left = _content_length(headers)  # None: until the connection ends, or in chunks
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._chunk = 0  # bytes left of the chunk

    async def read(self) -> bytes:
        """The next block of the body, empty at its end. Refused where the connection breaks before."""
        if self._chunked:
            return await self._read_chunked()
        if self._left == 0:
            return b""
        data = await self._incoming.block(min(BLOCK, self._left or BLOCK))
        if not data and self._left is not None:
            raise Refused("UPDATE_CUT_SHORT", "the server broke off")
        if self._left is not None:
            self._left -= len(data)
        return data

    async def _read_chunked(self) -> bytes:
        if self._chunk == 0:
            self._chunk = await self._chunk_size()
            if self._chunk == 0:
                self._chunked, self._left = False, 0
                return b""
        data = await self._incoming.block(min(BLOCK, self._chunk))
        if not data:
            raise Refused("UPDATE_CUT_SHORT", "the server broke off")
        self._chunk -= len(data)
        if self._chunk == 0:
            await self._incoming.line()
        return data

    async def _chunk_size(self) -> int:
        digits = (await self._incoming.line()).partition(b";")[0].strip()
        if not 0 < len(digits) <= CHUNK_DIGITS or digits.strip(b"0123456789abcdefABCDEF"):
            raise Refused("UPDATE_CUT_SHORT", "the server's chunks are none")
        return int(digits, 16)

    def close(self) -> None:
        """Let the connection go."""
        abort_stream(self._writer)


def _content_length(headers: dict) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isdigit() and len(text) < 12 else None


async def get(url: Url, headers: dict | None = None) -> Answer:
    """The answer to a GET, redirects followed. Refused says why there is none."""
    for _ in range(REDIRECTS + 1):
        answer = await ask(url, headers or {})
        if answer.status not in _MOVED:
            return answer
        answer.close()
        target = url.joined(answer.headers.get("location", ""))
        if url.tls and not target.tls:
            raise Refused("UPDATE_SERVER", "the server leads from https to http")
        url = target
    raise Refused("UPDATE_SERVER", f"the server leads on more than {REDIRECTS} times")


async def ask(url: Url, headers: dict, method: str = "GET", body: bytes = b"") -> Answer:
    """The answer to one request, whatever it is. Refused UPDATE_SERVER where there is none."""
    try:
        opening = open_tls(url.host, url.port) if url.tls else open_stream(url.host, url.port)
        reader, writer = await _within(opening, CONNECT_SEC)
    except CONNECTION_ERRORS as exc:
        raise Refused("UPDATE_SERVER", f"{url.host}: cannot be reached: {exc}") from None
    try:
        lines = [f"{method} {url.path} HTTP/1.1", f"Host: {url.authority}", "Connection: close"]
        lines += ["Accept-Encoding: identity"] + [f"{name}: {value}" for name, value in headers.items()]
        if method != "GET":
            lines.append(f"Content-Length: {len(body)}")
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)
        await _within(writer.drain(), SILENCE_SEC)
        incoming = Incoming(reader)
        status, given = await _read_head(incoming)
        return Answer(status, given, incoming, writer)
    except CONNECTION_ERRORS as exc:
        abort_stream(writer)
        raise Refused("UPDATE_SERVER", f"{url.host}: {exc}") from None
    except (Refused, asyncio.CancelledError):
        abort_stream(writer)
        raise


async def _read_head(incoming: Incoming) -> tuple[int, dict[str, str]]:
    headers: dict[str, str] = {}
    size, status = 0, 0
    while True:
        line = await incoming.line()
        size += len(line)
        if size > HEAD_LIMIT:
            raise Refused("UPDATE_SERVER", "the server's answer is no HTTP")
        text = _latin(line)
        if not status:
            status = _status(text)
        elif not text:
            if status >= 200:
                return status, headers
            status = 0  # 100 Continue and the like
        else:
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()


def _latin(line: bytes) -> str:
    return "".join(chr(byte) for byte in line).strip()


def _status(text: str) -> int:
    words = text.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit() or len(words[1]) != 3:
        raise Refused("UPDATE_SERVER", "the server's answer is no HTTP")
    return int(words[1])


async def _within(coroutine: Coroutine[Any, Any, T], seconds: float) -> T:
    try:
        return await in_time(coroutine, seconds)
    except asyncio.TimeoutError:
        raise Refused("UPDATE_SERVER", f"the server has been silent for {seconds} s") from None
    except CONNECTION_ERRORS as exc:
        raise Refused("UPDATE_SERVER", f"the connection broke: {exc}") from None
