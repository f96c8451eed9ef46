"""Reading HTTP/1.x requests (RFC 9110, RFC 9112) from streams of either runtime.

`RequestReader` gets bytes from a stream and cuts them into requests: request line, headers, body of a declared length
or in chunks, several requests in one segment, one request in many. Everything it holds is bounded by `HttpLimits`.
"""

from firmware.http.limits import HttpLimits


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

    def __init__(self):
        self.fields: dict = {}

    def __contains__(self, name) -> bool:
        return name.lower() in self.fields

    def __getitem__(self, name):
        return self.fields[name.lower()]

    def get(self, name, default=None):
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


_TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_METHODS = ("GET", "POST", "HEAD", "OPTIONS")  # tokens that need no second look
_ONCE = ("content-length", "transfer-encoding", "host", "authorization", "authorized", "origin", "content-type")
_CHUNK_LINE = 256  # bytes of a chunk-size line with its extensions
_READ_SIZE = 4096


def _is_token(text: str) -> bool:
    return bool(text) and all(character in _TOKEN for character in text)


_known_names: dict = {}  # names of header fields that were found to be tokens; bounded by _KNOWN_NAMES
_KNOWN_NAMES = 128


def _field_name(raw: str) -> str:
    name = _known_names.get(raw)
    if name is None:
        if not _is_token(raw):
            raise HttpError("BAD_REQUEST", "a header name holds a character that is not allowed")
        name = raw.lower()
        if len(_known_names) < _KNOWN_NAMES and len(raw) <= 32:
            _known_names[raw] = name
    return name


def parse_head(data: bytes) -> RequestHead:
    """Parse a head without its final empty line (RFC 9112 sections 3 and 5); HttpError BAD_REQUEST or HTTP_VERSION."""
    try:
        lines = data.decode().split("\r\n")
    except UnicodeError:
        raise HttpError("BAD_REQUEST", "the request head is not UTF-8") from None
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[1] or not (parts[0] in _METHODS or _is_token(parts[0])):
        raise HttpError("BAD_REQUEST", "the request line must be: METHOD path HTTP/1.1")
    method, target, protocol = parts
    if protocol not in ("HTTP/1.1", "HTTP/1.0"):
        if protocol[:5] == "HTTP/":
            raise HttpError("HTTP_VERSION", "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise HttpError("BAD_REQUEST", "the request line must be: METHOD path HTTP/1.1")
    headers = Headers()
    fields = headers.fields
    for line in lines[1:]:
        colon = line.find(":")
        if colon <= 0:
            raise HttpError("BAD_REQUEST", "a header line must be: name: value")
        name = _field_name(line[:colon])
        value = line[colon + 1 :].strip(" \t")
        if "\r" in value or "\n" in value or "\0" in value:
            raise HttpError("BAD_REQUEST", "a header value holds a control character")
        if name in fields:
            if name in _ONCE:
                raise HttpError("BAD_REQUEST", "the header " + name + " is given twice")
            value = fields[name] + ", " + value
        fields[name] = value
    if protocol == "HTTP/1.1" and "host" not in fields:
        raise HttpError("BAD_REQUEST", "the header Host is missing")
    return RequestHead(method, target, protocol[5:], headers)


def body_length(head: RequestHead) -> "int | None":
    """Bytes of the body, None for a chunked one (RFC 9112 section 6.3); HttpError where it cannot be told for sure."""
    encoding = head.headers.get("transfer-encoding")
    length = head.headers.get("content-length")
    if encoding is not None:
        if length is not None:
            raise HttpError("BAD_REQUEST", "Content-Length and Transfer-Encoding exclude each other")
        if encoding.lower() != "chunked" or head.version == "1.0":
            raise HttpError("NOT_IMPLEMENTED", "the only Transfer-Encoding is chunked, in HTTP/1.1")
        return None
    if length is None:
        return 0
    if not 0 < len(length) <= 15 or not all("0" <= digit <= "9" for digit in length):
        raise HttpError("BAD_REQUEST", "Content-Length must be a decimal number")
    return int(length)


class RequestReader:
    """Cuts the bytes of one connection into requests."""

    def __init__(self, reader, limits: HttpLimits):
        self._reader = reader
        self._limits = limits
        self._buffer = b""

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
        return parse_head(data)

    async def body(self, length: "int | None") -> bytes:
        """The body that belongs to a head, by its `body_length`; HttpError BAD_REQUEST or TOO_LARGE."""
        if length is None:
            return await self._chunked_body()
        self._check_size(length)
        return await self._take(length)

    async def discard(self, most: int) -> None:
        """Read and drop what the client still sends, at most so many bytes, until it closes."""
        while most > 0:
            data = await self._reader.read(_READ_SIZE)
            if not data:
                return
            most -= len(data)

    def _check_size(self, size: int) -> None:
        if size > self._limits.body_bytes:
            raise HttpError("TOO_LARGE", f"the body must not be longer than {self._limits.body_bytes} bytes")

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
                data = await self._reader.read(min(missing, 16384))
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
        while end < 0 and len(self._buffer) <= limit:
            await self._fill()
            end = self._buffer.find(b"\r\n")
        if end < 0 or end > limit:
            raise HttpError("BAD_REQUEST", what + " is too long")
        line = self._buffer[:end]
        self._buffer = self._buffer[end + 2 :]
        return line

    async def _chunked_body(self) -> bytes:
        parts = []
        total = 0
        while True:
            digits = (await self._line(_CHUNK_LINE, "a chunk size line")).split(b";")[0].strip(b" \t")
            if not 0 < len(digits) <= 8 or not all(digit in b"0123456789abcdefABCDEF" for digit in digits):
                raise HttpError("BAD_REQUEST", "a chunk size must be a hexadecimal number")
            size = int(digits.decode(), 16)
            if size == 0:
                break
            total += size
            self._check_size(total)
            parts.append(await self._take(size))
            if await self._take(2) != b"\r\n":
                raise HttpError("BAD_REQUEST", "a chunk is longer than its size says")
        allowed = self._limits.head_bytes
        while True:  # trailer fields are read and dropped (RFC 9112 section 7.1.2)
            line = await self._line(allowed, "the trailer")
            if not line:
                return b"".join(parts)
            allowed -= len(line) + 2
