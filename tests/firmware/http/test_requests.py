"""Requests as bytes: what each says, and every limit to the byte."""

import asyncio

import pytest

from firmware.http.limits import HttpLimits
from firmware.http.messages import http1
from firmware.http.messages.http1 import (
    ConnectionClosed,
    HttpError,
    RequestHead,
    RequestReader,
    body_length,
    chunk_size,
    parse_head,
)

LIMITS = HttpLimits(head_bytes=200)


def reader(data: bytes, ended: bool = True) -> RequestReader:
    stream = asyncio.StreamReader()
    stream.feed_data(data)
    if ended:
        stream.feed_eof()
    return RequestReader(stream, LIMITS)


def head_of(line: str = "GET /a HTTP/1.1", *fields: str) -> RequestHead:
    return parse_head("\r\n".join([line, "Host: x", *fields]).encode())


def code(call, *arguments) -> str:
    with pytest.raises(HttpError) as caught:
        call(*arguments)
    return caught.value.code


async def code_of(coroutine) -> str:
    with pytest.raises(HttpError) as caught:
        await coroutine
    return caught.value.code


async def chunked(data: bytes, limit: int = 100) -> bytes:
    return await reader(data).body(None, limit)


def test_a_head_says_method_target_version_and_fields_in_any_case():
    head = head_of("POST /a?b HTTP/1.0", "X-One:  1 ", "x-one:\t2", "Empty:")
    assert (head.method, head.target, head.version) == ("POST", "/a?b", "1.0")
    assert head.headers.fields == {"host": "x", "x-one": "1, 2", "empty": ""}
    assert "X-ONE" in head.headers and "x-two" not in head.headers
    assert (head.headers["X-ONE"], head.headers.get("EMPTY"), head.headers.get("x-two")) == ("1, 2", "", None)
    assert (head.headers.get("Host", "y"), head.headers.get("x-two", "y")) == ("x", "y")


@pytest.mark.parametrize(
    ("protocol", "version"), [("HTTP/1.1", "1.1"), ("HTTP/1.0", "1.0"), ("HTTP/1.2", "1.1"), ("HTTP/1.9", "1.1")]
)
def test_a_later_minor_version_is_the_latest_known(protocol, version):
    assert head_of("GET / " + protocol).version == version


@pytest.mark.parametrize("protocol", ["HTTP/2.0", "HTTP/0.9", "HTTP/9.9"])
def test_another_major_version_is_named(protocol):
    assert code(head_of, "GET / " + protocol) == "HTTP_VERSION"


@pytest.mark.parametrize(
    "line",
    ["GET /", "GET  / HTTP/1.1", "GET / HTTP/1.1 ", "GET / HTTP/1", "GET / HTTP/1.10", "GET / http/1.1"]
    + ["GET / HTTP/1,1", "GET / HTTP/x.1", "GET / HTTP/1.x", "GET / HTPP/1.1", "GET / HTTP 1.1", "GET / HTTP/..1"]
    + ["G,T / HTTP/1.1", " / HTTP/1.1", "GET  HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\u00e9 HTTP/1.1", "GET a HTTP/1.1"]
    + [
        "GET * HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET http:/x HTTP/1.1",
        "GET http:///a HTTP/1.1",
        "GET http://y/ HTTP/1.1",
    ],
)
def test_what_is_no_request_line_is_a_bad_request(line):
    assert code(head_of, line) == "BAD_REQUEST"


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE", "QUERY"])
def test_known_methods_are_read_and_others_named(method):
    assert head_of(method + " / HTTP/1.1").method == method
    assert code(head_of, method + "S / HTTP/1.1") == "NOT_IMPLEMENTED"
    assert code(head_of, method.lower() + " / HTTP/1.1") == "NOT_IMPLEMENTED"


def test_targets_that_need_no_slash():
    assert head_of("OPTIONS * HTTP/1.1").target == "*"
    assert head_of("GET http://X/a HTTP/1.1").target == "http://X/a"
    assert parse_head(b"GET http://y/a HTTP/1.0").target == "http://y/a"
    assert code(parse_head, b"GET http:///a HTTP/1.0") == "BAD_REQUEST"


@pytest.mark.parametrize(
    "field", ["none", ": x", "a b: x", "a : x", "\u00e9: x", "a: x\0", "a: x\n", "a: \rx", " a: x"]
)
def test_what_is_no_field_is_a_bad_request(field):
    assert code(head_of, "GET / HTTP/1.1", field) == "BAD_REQUEST"


@pytest.mark.parametrize(
    "name", ["Content-Length", "Transfer-Encoding", "Host", "Authorization", "Authorized", "Origin", "Content-Type"]
)
def test_what_may_be_there_once_is_refused_twice(name):
    assert code(head_of, "GET / HTTP/1.1", name + ": 1", name.lower() + ": 1") == "BAD_REQUEST"


def test_http_1_1_needs_a_host_and_1_0_does_not():
    assert code(parse_head, b"GET / HTTP/1.1") == "BAD_REQUEST"
    assert parse_head(b"GET / HTTP/1.0").headers.fields == {}
    for host in ("a b", "x:y", "[::1", "x:65536"):
        for _ in range(2):  # what is refused once is refused again
            assert code(parse_head, f"GET / HTTP/1.1\r\nHost: {host}".encode()) == "BAD_REQUEST"


def test_values_are_utf_8_or_latin_1():
    assert head_of("GET / HTTP/1.1", "a: \u0457").headers["a"] == "\u0457"
    assert parse_head(b"GET / HTTP/1.0\r\na: \xe9").headers["a"] == "\u00e9"


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", None, True), ("1.0", None, False), ("1.1", "Close", False), ("1.1", "x, close", False)]
    + [("1.1", "keep-alive", True), ("1.0", "Keep-Alive", True), ("1.0", "close, keep-alive", False)]
    + [("1.0", "x", False), ("1.1", "x", True)],
)
def test_who_wants_the_connection_kept(version, connection, kept):
    fields = [] if connection is None else ["Connection: " + connection]
    assert head_of("GET / HTTP/" + version, *fields).keep_alive() is kept


def test_who_waits_to_be_told_to_go_on():
    assert head_of("POST / HTTP/1.1", "Expect: 100-Continue").expects_continue() is True
    assert head_of("POST / HTTP/1.1", "Expect: 200").expects_continue() is False
    assert head_of("POST / HTTP/1.1").expects_continue() is False
    assert head_of("POST / HTTP/1.0", "Expect: 100-continue").expects_continue() is False


@pytest.mark.parametrize(
    ("fields", "length"),
    [([], 0), (["Content-Length: 0"], 0), (["Content-Length: 999999999999999"], 10**15 - 1)]
    + [(["Transfer-Encoding: chunked"], None), (["Transfer-Encoding: CHUNKED \t"], None)],
)
def test_how_long_a_body_is(fields, length):
    assert body_length(head_of("POST / HTTP/1.1", *fields)) == length


@pytest.mark.parametrize(
    ("version", "fields", "expected"),
    [("1.1", [f"Content-Length: {number}"], "BAD_REQUEST") for number in ("", "-1", "+1", "1_0", "0x1", "1" * 16)]
    + [("1.1", ["Content-Length: 1", "Transfer-Encoding: chunked"], "BAD_REQUEST")]
    + [("1.0", ["Transfer-Encoding: chunked"], "BAD_REQUEST"), ("1.1", ["Transfer-Encoding: gzip"], "NOT_IMPLEMENTED")]
    + [("1.1", ["Transfer-Encoding: chunked, gzip"], "BAD_REQUEST")]
    + [("1.1", ["Transfer-Encoding: chunked, chunked"], "BAD_REQUEST")]
    + [("1.1", ["Transfer-Encoding: gzip, chunked"], "NOT_IMPLEMENTED")],
)
def test_a_body_whose_length_is_not_sure_is_refused(version, fields, expected):
    assert code(body_length, head_of("POST / HTTP/" + version, *fields)) == expected


@pytest.mark.parametrize(
    ("line", "size"),
    [(b"0", 0), (b"1F", 31), (b"aB;x=1", 171), (b"f \t;x", 15), (b"0" * 15 + b"a", 10), (b"1;\xe9\t ", 1)],
)
def test_the_size_of_a_chunk(line, size):
    assert chunk_size(line) == size


@pytest.mark.parametrize(
    "line",
    [b"", b";x", b"g", b"0x1", b"-1", b" 1", b"1 ", b"1" * 17, b"1;\0", b"1;\x01", b"1;\n", b"1;\x7f", b"1 ;\x1f"],
)
def test_what_is_no_size_of_a_chunk_is_a_bad_request(line):
    assert code(chunk_size, line) == "BAD_REQUEST"


def test_what_is_remembered_of_names_and_hosts_is_bounded(monkeypatch):
    monkeypatch.setattr(http1, "_known_names", {})
    monkeypatch.setattr(http1, "_known_hosts", {})
    for number in range(200):
        for host, name in ((f"h{number}", f"N{number}"), (f"h{number}".ljust(65, "h"), f"N{number}".ljust(33, "n"))):
            head = parse_head(f"GET / HTTP/1.1\r\nHost: {host}\r\n{name}: 1".encode())
            assert head.headers.fields == {"host": host, name.lower(): "1"}
    assert len(http1._known_names) == len(http1._known_hosts) == 128
    assert max(map(len, http1._known_names)) <= 32
    assert max(map(len, http1._known_hosts)) <= 64
    head = parse_head(b"GET / HTTP/1.1\r\nHost: h1\r\nN1: 2")
    assert head.headers.fields == {"host": "h1", "n1": "2"}


# From a stream


async def test_requests_are_cut_where_they_end():
    first, second = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /2 HTTP/1.1\r\nHost: y\r\n\r\n"
    requests = reader(b"\r\n\r\n" + first + b"\r\n" + second + b"body" + first)
    assert requests.pending() is False
    await requests.wait()
    assert requests.pending() is True
    assert (await requests.head()).target == "/1"
    await requests.wait()
    assert (await requests.head()).headers["host"] == "y"
    assert await requests.body(4, 4) == b"body"
    await requests.wait()
    assert (await requests.head()).target == "/1"
    assert requests.pending() is False
    with pytest.raises(ConnectionClosed):
        await requests.wait()


@pytest.mark.parametrize("cut", range(1, 29))
async def test_a_head_may_come_in_two_pieces(cut):
    data = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"
    stream = asyncio.StreamReader()
    stream.feed_data(data[:cut])
    requests = RequestReader(stream, LIMITS)
    reading = asyncio.create_task(requests.head())
    await asyncio.sleep(0)
    stream.feed_data(data[cut:] + b"xy")
    assert (await reading).target == "/1"
    assert await requests.body(2, 2) == b"xy"


async def test_the_same_head_again_says_the_same_and_another_one_does_not():
    one, other = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
    requests = reader(one + one + other + one)
    assert [(await requests.head()).target for _ in range(4)] == ["/1", "/1", "/2", "/1"]


def padded(length: int, line: bytes = b"GET / HTTP/1.1") -> bytes:
    """A head of so many bytes without its final empty line."""
    head = line + b"\r\nHost: x\r\na: "
    return head + b"a" * (length - len(head))


async def test_a_head_has_200_bytes_and_none_more():
    head = await reader(padded(200) + b"\r\n\r\n").head()
    assert len(head.headers["a"]) == 200 - len("GET / HTTP/1.1\r\nHost: x\r\na: ")
    for length in (201, 204, 205, 9000):
        assert await code_of(reader(padded(length) + b"\r\n\r\n").head()) == "HEADERS_TOO_LARGE"
    assert await code_of(reader(padded(5000)).head()) == "HEADERS_TOO_LARGE"
    for length, expected in ((200, "HEADERS_TOO_LARGE"), (201, "URI_TOO_LONG"), (5000, "URI_TOO_LONG")):
        line = b"GET /".ljust(length - 9, b"a") + b" HTTP/1.1"
        assert await code_of(reader(line + b"\r\nHost: x\r\n\r\n").head()) == expected
    with pytest.raises(ConnectionClosed):
        await reader(padded(200)).head()


async def test_a_body_of_a_length_is_read_to_its_last_byte_and_no_further():
    for length in (0, 1, 4096, 4097, 16384, 16385, 70000):
        data = bytes(range(256)) * 300
        requests = reader(b"GET / HTTP/1.0\r\n\r\n" + data)
        await requests.head()
        assert await requests.body(length, length) == data[:length]
        assert await requests.body(5, 5) == data[length : length + 5]
    assert await code_of(reader(b"12345").body(5, 4)) == "TOO_LARGE"
    with pytest.raises(ConnectionClosed):
        await reader(b"1234").body(5, 5)


async def test_chunks_become_one_body_and_what_follows_is_the_next_request():
    requests = reader(
        b"3\r\nabc\r\n00a;x=1\r\n0123456789\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\nGET / HTTP/1.0\r\n\r\n"
    )
    assert await requests.body(None, 13) == b"abc0123456789"
    assert (await requests.head()).target == "/"
    assert await chunked(b"0\r\n\r\n", 0) == b""


@pytest.mark.parametrize(
    ("data", "expected"),
    [(b"3\r\nabcd\r\n0\r\n\r\n", "BAD_REQUEST"), (b"3\r\nabc0\r\n\r\n", "BAD_REQUEST"), (b"x\r\n", "BAD_REQUEST")]
    + [(b"65\r\n" + b"a" * 101, "TOO_LARGE"), (b"64\r\n" + b"a" * 100 + b"\r\n1\r\na", "TOO_LARGE")]
    + [(b"0\r\nnone\r\n\r\n", "BAD_REQUEST"), (b"0" * 257 + b"\r\n", "BAD_REQUEST")]
    + [(b"0;" + b"x" * 255 + b"\r\n\r\n", "BAD_REQUEST"), (b"0;" + b"x" * 2000, "BAD_REQUEST")]
    + [(b"0\r\na: " + b"a" * 196 + b"\r\n\r\n", "BAD_REQUEST"), (b"0\r\na: " + b"a" * 2000, "BAD_REQUEST")]
    + [(b"0\r\n" + b"a: 1\r\n" * 34 + b"\r\n", "BAD_REQUEST")],
)
async def test_what_is_no_chunk_or_over_a_limit_is_refused(data, expected):
    assert await code_of(chunked(data)) == expected


async def test_chunks_have_limits_and_reach_them():
    assert await chunked(b"64\r\n" + b"a" * 100 + b"\r\n0\r\n\r\n") == b"a" * 100
    assert await chunked(b"0;" + b"x" * 254 + b"\r\n\r\n") == b""
    assert await chunked(b"0\r\na: " + b"a" * 195 + b"\r\n\r\n") == b""
    assert await chunked(b"0\r\n" + b"a: 1\r\n" * 33 + b"\r\n") == b""
    extended = b"1;" + b"x" * 114 + b"\r\na\r\n"  # 100 bytes more than a size may have
    assert await chunked(extended * 2 + b"0\r\n\r\n") == b"aa"
    assert await code_of(chunked(extended * 2 + b"1;" + b"x" * 15 + b"\r\na\r\n0\r\n\r\n")) == "BAD_REQUEST"
    assert await chunked(extended * 2 + b"1;" + b"x" * 14 + b"\r\na\r\n0\r\n\r\n") == b"aaa"


async def test_lines_of_a_chunked_body_may_come_in_two_pieces_at_any_place():
    data = b"3\r\nabc\r\n0;" + b"x" * 254 + b"\r\na: " + b"a" * 195 + b"\r\n\r\n"
    for cut in range(1, len(data)):
        stream = asyncio.StreamReader()
        stream.feed_data(data[:cut])
        reading = asyncio.create_task(RequestReader(stream, LIMITS).body(None, 3))
        await asyncio.sleep(0)
        stream.feed_data(data[cut:])
        assert await reading == b"abc"


async def test_what_a_refused_client_still_sends_is_dropped_up_to_a_bound():
    stream = asyncio.StreamReader()
    stream.feed_data(b"a" * 50000)
    await RequestReader(stream, LIMITS).discard(40000)
    left = len(stream._buffer)  # type: ignore[attr-defined]
    assert 0 < left <= 10000
    stream.feed_eof()
    await RequestReader(stream, LIMITS).discard(1 << 20)
    assert stream.at_eof()
