"""Reading HTTP/1.x requests (RFC 9110, RFC 9112) from streams of either runtime.

`RequestReader` gets bytes from a stream and cuts them into requests: request line, headers, body of a declared length
or in chunks, several requests in one segment, one request in many. Everything it holds is bounded by `HttpLimits`.
"""

import asyncio
import re

from firmware.http.limits import HttpLimits
from firmware.http.messages.targets import authority_of, is_authority
from hal.runtime import MICROPYTHON


class HttpError(Exception):
    """The request cannot be understood or is over a limit; the connection closes after this answer.

    `code` says which error it is; whoever answers knows the status that belongs to it.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class ConnectionClosed(Exception):
    """The client closed the connection between or in the middle of requests."""


class Headers:
    """Header fields, looked up in any case. `fields` is lower-case name -> value."""

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name.lower() in self.fields

    def __getitem__(self, name: str) -> str:
        return self.fields[name.lower()]

    def get(self, name: str, default: str | None = None) -> str | None:
        """The value of a field, or the default."""
        return self.fields.get(name.lower(), default)


class RequestHead:
    """A parsed request line with its headers."""

    def __init__(self, method: str, target: str, version: str, headers: Headers):
        self.method = method
        self.target = target
        self.version = version
        self.headers = headers

    def keep_alive(self) -> bool:
        """Whether the client wants the connection kept (RFC 9112 section 9.3)."""
        connection = self.headers.get("connection")
        if connection is None:
            return self.version == "1.1"
        options = [option.strip() for option in connection.lower().split(",")]
        if self.version == "1.1":
            return "close" not in options
        return "keep-alive" in options and "close" not in options

    def expects_continue(self) -> bool:
        """Whether the client waits with its body until it is told to go on (RFC 9110 section 10.1.1)."""
        return self.version == "1.1" and (self.headers.get("expect") or "").lower() == "100-continue"


_TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BAD_IN_TARGET = re.compile("[^!-~]")
_CONTROL = re.compile("[\x01-\x08\n-\x1f\x7f]")  # but the tabulator; and no NUL, which ends a pattern of MicroPython
_METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "QUERY")
_VERSIONS = {"HTTP/1.1": "1.1", "HTTP/1.0": "1.0"}
_ONCE = ("content-length", "transfer-encoding", "host", "authorization", "authorized", "origin", "content-type")
_CHUNK_LINE = 256  # bytes of a chunk-size line with its extensions
_CHUNK_DIGITS = 16
_CHUNKS_A_TURN = 16  # then others have theirs
_READ_SIZE = 1024 if MICROPYTHON else 4096  # the heap of a board has no long pieces after a while
_BODY_READ_SIZE = 1024 if MICROPYTHON else 16384
_KNOWN = 128
_KEPT_HEAD = 0 if MICROPYTHON else 1024  # bytes of a head that is kept with what it says

# What was looked at and found good, so that it is not looked at again with every request; each holds at most _KNOWN.
_known_names: dict = {}  # header field name as sent -> in lower case
_known_hosts: dict = {}  # value of Host -> True


def bad_request(message: str) -> HttpError:
    """The error of what is no HTTP."""
    return HttpError("BAD_REQUEST", message)


def _is_token(text: str) -> bool:
    return bool(text) and all(character in _TOKEN for character in text)


def _field(line: str) -> tuple[str, str]:
    """(lower-case name, value) of a field line (RFC 9112 section 5)."""
    colon = line.find(":")
    if colon <= 0:
        raise bad_request("a header or trailer line must be: name: value")
    value = line[colon + 1 :].strip(" \t")
    if "\r" in value or "\n" in value or "\0" in value:
        raise bad_request("a header value holds a control character")
    return _field_name(line[:colon]), value


def _field_name(raw: str) -> str:
    name = _known_names.get(raw)
    if name is None:
        if not _is_token(raw):
            raise bad_request("a header name holds a character that is not allowed")
        name = raw.lower()
        if len(_known_names) < _KNOWN and len(raw) <= 32:
            _known_names[raw] = name
    return name


def _check_host(host: str) -> None:
    if host in _known_hosts:
        return
    if not is_authority(host):
        raise bad_request("the header Host must be: name, name:port, or an IPv6 address in brackets")
    if len(_known_hosts) < _KNOWN and len(host) <= 64:
        _known_hosts[host] = True


def _text(data: bytes) -> str:
    """A head as text: UTF-8 where it is that, else Latin-1, which field values may be in (RFC 9110 section 5.5)."""
    try:
        return data.decode()
    except UnicodeError:
        return "".join([chr(byte) for byte in data])


def parse_head(data: bytes) -> RequestHead:
    """Parse a head without its final empty line (RFC 9112 sections 3 and 5).

    HttpError BAD_REQUEST, NOT_IMPLEMENTED for an unknown method, HTTP_VERSION for another major version.
    """
    lines = _text(data).split("\r\n")
    method, target, version = _request_line(lines[0])
    headers = Headers()
    fields = headers.fields
    for line in lines[1:]:
        name, value = _field(line)
        if name in fields:
            if name in _ONCE:
                raise bad_request("the header " + name + " is given twice")
            value = fields[name] + ", " + value
        fields[name] = value
    host = fields.get("host")
    if host is not None:
        _check_host(host)
    elif version == "1.1":
        raise bad_request("the header Host is missing")
    if target[0] != "/" and (target != "*" or method != "OPTIONS"):
        _check_target(target, host)
    return RequestHead(method, target, version, headers)


def _request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:
        raise bad_request("the request line must be: METHOD path HTTP/1.1")
    method, target, protocol = parts
    version = _VERSIONS.get(protocol) or _other_version(protocol)
    if _BAD_IN_TARGET.search(target) or not target:
        raise bad_request("the path holds a character that must be written as %XX, or is empty")
    if method not in _METHODS:
        if not _is_token(method):
            raise bad_request("the request line must be: METHOD path HTTP/1.1")
        raise HttpError("NOT_IMPLEMENTED", "unknown method; known are " + ", ".join(_METHODS))
    return method, target, version


def _other_version(protocol: str) -> str:
    """A later minor version is spoken to as the latest known here (RFC 9110 section 2.5)."""
    if len(protocol) != 8 or protocol[:5] != "HTTP/" or protocol[6] != ".":
        raise bad_request("the request line must be: METHOD path HTTP/1.1")
    major, minor = protocol[5], protocol[7]
    if major not in "0123456789" or minor not in "0123456789":
        raise bad_request("the request line must be: METHOD path HTTP/1.1")
    if major != "1":
        raise HttpError("HTTP_VERSION", "only HTTP/1.1 and HTTP/1.0 are spoken here")
    return "1.1"


def _check_target(target: str, host: str | None) -> None:
    """For a target that does not begin with a slash: absolute form it must be (RFC 9112 section 3.2)."""
    authority = authority_of(target)
    if authority is None:
        raise bad_request("the path must begin with /")
    if authority == "" or not is_authority(authority):
        raise bad_request("the address in the request line is none")
    if host is not None and host.lower() != authority.lower():
        raise bad_request("the address in the request line is not that of the header Host")


def body_length(head: RequestHead) -> int | None:
    """Bytes of the body, None for a chunked one (RFC 9112 section 6.3); HttpError where it cannot be told for sure."""
    encoding = head.headers.get("transfer-encoding")
    length = head.headers.get("content-length")
    if encoding is not None:
        if length is not None:
            raise bad_request("Content-Length and Transfer-Encoding exclude each other")
        _check_codings(encoding.lower(), head.version)
        return None
    if length is None:
        return 0
    if not 0 < len(length) <= 15 or not all("0" <= digit <= "9" for digit in length):
        raise bad_request("Content-Length must be a decimal number")
    return int(length)


def _check_codings(encoding: str, version: str) -> None:
    if version == "1.0":  # RFC 9112 section 6.1: its framing is to be taken for faulty
        raise bad_request("HTTP/1.0 has no Transfer-Encoding")
    codings = [coding.strip(" \t") for coding in encoding.split(",")]
    if "chunked" in codings[:-1]:
        raise bad_request("Transfer-Encoding must name chunked last, and once")
    if codings != ["chunked"]:
        raise HttpError("NOT_IMPLEMENTED", "the only Transfer-Encoding is chunked")


def chunk_size(line: bytes) -> int:
    """The size that a chunk's first line tells (RFC 9112 section 7.1); its extensions are passed over."""
    digits = line
    end = line.find(b";")
    if end >= 0:
        digits = line[:end].rstrip(b" \t")
        if b"\0" in line or _CONTROL.search(_text(line)):
            raise bad_request("a chunk extension holds a control character")
    if not 0 < len(digits) <= _CHUNK_DIGITS or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
        raise bad_request("a chunk size must be a hexadecimal number")
    return int(digits.decode(), 16)


def check_size(size: int, limit: int) -> None:
    """HttpError TOO_LARGE for a body of more bytes than its limit."""
    if size > limit:
        raise HttpError("TOO_LARGE", f"the body must not be longer than {limit} bytes")


class RequestReader:
    """Cuts the bytes of one connection into requests."""

    def __init__(self, reader: asyncio.StreamReader, limits: HttpLimits):
        self._reader = reader
        self._limits = limits
        self._buffer = b""
        self._last: tuple[bytes, RequestHead] | None = None  # most clients send the same head again and again

    def pending(self) -> bool:
        """Whether bytes of a next request are already here."""
        return bool(self._buffer)

    async def wait(self) -> None:
        """Wait for the first byte of a request; ConnectionClosed where none comes."""
        while True:
            start = 0
            while self._buffer[start : start + 2] == b"\r\n":  # RFC 9112 section 2.2: ignore empty lines before it
                start += 2
            if start:
                self._buffer = self._buffer[start:]
            if self._buffer and self._buffer != b"\r":
                return
            await self._fill()

    async def head(self) -> RequestHead:
        """The next request head; HttpError BAD_REQUEST, URI_TOO_LONG or HEADERS_TOO_LARGE."""
        limit = self._limits.head_bytes
        end = self._buffer.find(b"\r\n\r\n")
        while end < 0 and len(self._buffer) <= limit + 4:
            searched = max(0, len(self._buffer) - 3)
            await self._fill()
            end = self._buffer.find(b"\r\n\r\n", searched)
        if end < 0 or end > limit:
            if 0 <= self._buffer.find(b"\r\n") <= limit:
                raise HttpError("HEADERS_TOO_LARGE", f"request line and headers must fit in {limit} bytes")
            raise HttpError("URI_TOO_LONG", f"request line and headers must fit in {limit} bytes")
        data = self._buffer[:end]
        self._buffer = self._buffer[end + 4 :]
        if self._last is not None and data == self._last[0]:
            return self._last[1]
        head = parse_head(data)
        self._last = (data, head) if len(data) <= _KEPT_HEAD else None
        return head

    async def body(self, length: int | None, limit: int) -> bytes:
        """The body that belongs to a head, by its `body_length`, of at most `limit` bytes.

        HttpError BAD_REQUEST or TOO_LARGE.
        """
        if length is None:
            return await self._chunked_body(limit)
        check_size(length, limit)
        return await self._take(length)

    async def discard(self, most: int) -> None:
        """Read and drop what the client still sends, at most so many bytes, until it closes."""
        while most > 0:
            data = await self._reader.read(_BODY_READ_SIZE)
            if not data:
                return
            most -= len(data)

    async def _fill(self) -> None:
        data = await self._reader.read(_READ_SIZE)
        if not data:
            raise ConnectionClosed
        self._buffer = self._buffer + data if self._buffer else bytes(data)

    async def _take(self, count: int) -> bytes:
        if len(self._buffer) < count:
            parts = [self._buffer]
            missing = count - len(self._buffer)
            self._buffer = b""
            while missing > 0:
                data = await self._reader.read(min(missing, _BODY_READ_SIZE))
                if not data:
                    raise ConnectionClosed
                parts.append(data)
                missing -= len(data)
            return b"".join(parts)
        taken = self._buffer[:count]
        self._buffer = self._buffer[count:]
        return taken

    async def _line(self, limit: int, what: str) -> bytes:
        end = self._buffer.find(b"\r\n")
        while end < 0 and len(self._buffer) <= limit + 1:  # all of the line, and half of its end
            await self._fill()
            end = self._buffer.find(b"\r\n")
        if end < 0 or end > limit:
            raise bad_request(what + " is too long")
        line = self._buffer[:end]
        self._buffer = self._buffer[end + 2 :]
        return line

    async def _chunked_body(self, limit: int) -> bytes:
        body = bytearray()
        chunks = 0
        extensions = self._limits.head_bytes  # bytes that all of them may have together
        while True:
            line = await self._line(_CHUNK_LINE, "a chunk size line")
            size = chunk_size(line)
            if size == 0:
                break
            check_size(len(body) + size, limit)
            extensions -= max(0, len(line) - _CHUNK_DIGITS)
            if extensions < 0:
                raise bad_request("the chunk extensions are too long")
            body += await self._take(size)
            if await self._take(2) != b"\r\n":
                raise bad_request("a chunk is longer than its size says")
            chunks += 1
            if chunks % _CHUNKS_A_TURN == 0:
                await asyncio.sleep(0)
        await self._trailer()
        return bytes(body)

    async def _trailer(self) -> None:
        """Trailer fields are read and dropped (RFC 9112 section 7.1.2)."""
        allowed = self._limits.head_bytes
        while True:
            line = await self._line(allowed, "the trailer")
            if not line:
                return
            _field(_text(line))
            allowed -= len(line) + 2
