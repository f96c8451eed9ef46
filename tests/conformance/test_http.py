"""How the device speaks HTTP, good clients and bad ones."""

import datetime
import json
import socket
import struct
import time

import pytest

VERSION = b"GET /api/version/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def refused(device, data, status, code):
    """The device answers these bytes with an error and closes the connection."""
    with device.connect() as wire:
        wire.send(data)
        found, body, headers = wire.answer()
        assert (found, body["error"]) == (status, code)
        assert set(body) == {"error", "message"}
        assert headers["connection"] == "close"
        wire.sock.shutdown(socket.SHUT_WR)
        assert wire.closed()


def test_a_connection_is_kept(device):
    with device.connect() as wire:
        for _ in range(20):
            wire.send(VERSION)
            status, body, headers = wire.answer()
            assert (status, body["device"], headers["connection"]) == (200, "MC252", "keep-alive")


def test_pipelined_requests_are_answered_in_order(device):
    with device.connect() as wire:
        unknown = b"GET /api/nothing/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        salt = b"GET /api/login/salt HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
        wire.send((VERSION + unknown + salt) * 5)
        for _ in range(5):
            assert wire.answer()[1]["device"] == "MC252"
            assert wire.answer()[0] == 404
            assert len(wire.answer()[1]["salt"]) == 40


def test_requests_may_come_byte_by_byte(device):
    with device.connect() as wire:
        wire.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in VERSION:
            wire.send(bytes([byte]))
        assert wire.answer()[0] == 200


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 40, len(VERSION) - 1])
def test_requests_may_come_in_two_parts(device, cut):
    with device.connect() as wire:
        wire.send(VERSION[:cut])
        time.sleep(0.02)
        wire.send(VERSION[cut:])
        assert wire.answer()[0] == 200


def test_connection_close_is_honoured(device):
    with device.connect() as wire:
        wire.send(VERSION[:-2] + b"Connection: close\r\n\r\n")
        assert wire.answer()[2]["connection"] == "close"
        assert wire.closed()


def test_http_1_0_clients_are_served_and_closed(device):
    with device.connect() as wire:
        wire.send(b"GET /api/version/ HTTP/1.0\r\n\r\n")
        assert wire.answer()[0] == 200
        assert wire.closed()


def test_http_1_0_clients_may_ask_for_a_kept_connection(device):
    with device.connect() as wire:
        for _ in range(3):
            wire.send(b"GET /api/version/ HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, _, headers = wire.answer()
            assert (status, headers["connection"]) == (200, "keep-alive")


def test_head_is_get_without_the_body(device):
    with device.connect() as wire:
        wire.send(VERSION)
        length = wire.answer()[2]["content-length"]
        wire.send(VERSION.replace(b"GET", b"HEAD") + VERSION)
        status, body, headers = wire.answer("HEAD")
        assert (status, body, headers["content-length"]) == (200, None, length)
        assert wire.answer()[0] == 200


def test_options_names_the_methods(device):
    status, _, headers = device.ask("OPTIONS", "/api/version/")
    assert status == 200
    assert {method.strip() for method in headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS"}


def test_a_wrong_method_names_the_right_ones(device):
    status, body, headers = device.ask("POST", "/api/version/", "{}")
    assert (status, body["error"]) == (405, "METHOD_NOT_ALLOWED")
    assert "GET" in headers["allow"]
    status, body, headers = device.ask("GET", "/api/login/")
    assert (status, headers["allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/",
        "/api/versions",
        "/api/version//",
        "//api/version",
        "/api/%2e%2e/x",
        "/api/version/%3Fx",
    ],
)
def test_an_unknown_path_is_not_found(device, path):
    status, body, _ = device.ask("GET", path)
    assert (status, body["error"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["/api/version", "/api/version/", "/api/%76ersion/", "http://127.0.0.1/api/version/"])
def test_ways_to_write_a_path(device, path):
    assert device.ask("GET", path)[0] == 200


def test_chunked_bodies_are_understood(device):
    head = b"POST /api/login/ HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    with device.connect() as wire:
        wire.send(head + b'6;name=value\r\n{"user\r\nB\r\nname":"bob"\r\n1\r\n}\r\n0\r\nTrailer: x\r\n\r\n' + VERSION)
        status, body, _ = wire.answer()
        assert (status, body["error"]) == (400, "BAD_FIELD")
        assert "password: is missing" in body["message"]
        assert wire.answer()[0] == 200


def test_expect_100_continue_is_answered(device):
    with device.connect() as wire:
        wire.send(b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert wire.answer()[0] == 100
        wire.send(b"{}")
        assert wire.answer()[0] == 400


def test_empty_lines_before_a_request_are_passed_over(device):
    with device.connect() as wire:
        wire.send(b"\r\n\r\n" + VERSION)
        assert wire.answer()[0] == 200


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /api/version/\r\n\r\n",
        b"GET /api/version/ HTTP/1.1 x\r\nHost: x\r\n\r\n",
        b"G@T /api/version/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nBad header: 1\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nNoColon\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nX: a\nY: b\r\n\r\n",
        b"GET /api/version/ HTTP/1.1\r\nHost: \xff\xfe\r\n\r\n",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: -2\r\n\r\n{}",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2x\r\n\r\n{}",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n\r\n",
        b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
    ],
)
def test_what_is_not_http_is_a_bad_request(device, data):
    refused(device, data, 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "host",
    [
        *("a/b", "u@h", "a b", "a:b", "a:1:2", "a:99999", "a?b", "a#b", "a\\b", 'a"b', "<a>", "\xe9"),
        *("[::1", "::1", "[x.com]", "[::1]x", "[1.2.3.4]", "[fe80::1%]", "127.0.0.1:evil.com", "127.0.0.1:80:80"),
    ],
)
def test_a_host_that_is_none_is_a_bad_request(device, host):
    refused(device, b"GET /api/version/ HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode("latin-1"), 400, "BAD_REQUEST")
    refused(device, b"GET /api/version/ HTTP/1.0\r\nHost: %s\r\n\r\n" % host.encode("latin-1"), 400, "BAD_REQUEST")


@pytest.mark.parametrize(
    "host",
    [
        *("", "x", "x:", "x:80", "a_b.example", "xn--bcher-kva.example:8080", "127.0.0.1:8080"),
        *("[::1]", "[::1]:80", "[2001:db8::192.0.2.1]:1", "[fe80::1%25eth0]", "[fe80::1%eth0]:8080"),
    ],
)
def test_every_way_to_name_the_device_is_served(device, host):
    status, body, _ = device.ask("GET", "/api/version/", headers={"Host": host}, host=False)
    assert (status, body["device"]) == (200, "MC252")


@pytest.mark.parametrize(
    "target",
    [
        *(b"/api/version/\0", b"/api/version/\n", b"/api/version/\r", b"/api/version/\x7f", b"/api/\xff", b"/\t"),
        *(b"api/version/", b"*", b"", b"http://", b"http:///api/version/", b"https://x/api/version/", b"x:80"),
        *(b"http://y/api/version/", b"http://x:80/api/version/", b"http://u@x/api/version/", b"http://[::1/"),
    ],
)
def test_a_target_that_is_none_or_another_hosts_is_a_bad_request(device, target):
    refused(device, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400, "BAD_REQUEST")


def test_options_of_the_whole_server_names_what_it_knows(device):
    status, _, headers = device.ask("OPTIONS", "*")
    assert status == 200
    assert {method.strip() for method in headers["allow"].split(",")} == {"GET", "HEAD", "OPTIONS", "POST"}


def test_unknown_methods_are_not_implemented_and_known_ones_not_allowed(device):
    for method in (b"GOT", b"get", b"PROPFIND", b"CONNECT"):
        refused(device, method + b" /api/version/ HTTP/1.1\r\nHost: x\r\n\r\n", 501, "NOT_IMPLEMENTED")
    for method in ("PUT", "DELETE", "PATCH", "TRACE"):
        status, body, headers = device.ask(method, "/api/version/")
        assert (status, body["error"], headers["allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, HEAD, OPTIONS")


def test_a_later_minor_version_is_spoken_to_as_1_1(device):
    with device.connect() as wire:
        for _ in range(2):
            wire.send(b"GET /api/version/ HTTP/1.2\r\nHost: x\r\n\r\n")
            status, _, headers = wire.answer()
            assert (status, headers["connection"]) == (200, "keep-alive")
    for version in (b"HTTP/0.9", b"HTTP/2.0", b"HTTP/3.1"):
        refused(device, b"GET /api/version/ " + version + b"\r\nHost: x\r\n\r\n", 505, "HTTP_VERSION")
    for version in (b"HTTP/1.10", b"HTTP/1", b"http/1.1", b"HTTP/1.x", b"HTTPS/1.1"):
        refused(device, b"GET /api/version/ " + version + b"\r\nHost: x\r\n\r\n", 400, "BAD_REQUEST")


@pytest.mark.parametrize("value", [b"caf\xe9", "café".encode(), b"\x80\xff", b"a\tb", b""])
def test_a_field_value_may_hold_what_is_no_ascii(device, value):
    with device.connect() as wire:
        wire.send(b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nX-Name: " + value + b"\r\n\r\n")
        assert wire.answer()[0] == 200


CHUNKED = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "line",
    [
        *(b" 2", b"2 ", b"0x2", b"+2", b"", b";a", b"0000000000000002" + b"0", b"g", b"2\n{}", b"2\n"),
        *(b"2;a\nb", b"2;a\rb", b"2;a\0", b"2;a\x7f", b"2;x=" + b"y" * 300),
    ],
)
def test_a_chunk_that_is_none_is_a_bad_request(device, line):
    refused(device, CHUNKED + line + b"\r\n{}\r\n0\r\n\r\n", 400, "BAD_REQUEST")


@pytest.mark.parametrize("trailer", [b"rubbish", b": x", b"a b: c", b"a: b\nc", b"a: b\rc", b"a: \0", b"\n"])
def test_a_trailer_that_is_none_is_a_bad_request(device, trailer):
    refused(device, CHUNKED + b"2\r\n{}\r\n0\r\n" + trailer + b"\r\n\r\n", 400, "BAD_REQUEST")


def test_chunks_end_with_crlf_and_their_extensions_have_a_limit_together(device):
    refused(device, CHUNKED + b"2\r\n{}\n\n0\r\n\r\n", 400, "BAD_REQUEST")
    refused(device, CHUNKED + (b"1;x=" + b"y" * 200 + b"\r\n \r\n") * 50, 400, "BAD_REQUEST")


@pytest.mark.parametrize("line", [b"2;a=b;c", b'2 ; a="b c"', b"0000002", b'2;a="\xe9\t"'])
def test_chunk_extensions_and_trailers_are_passed_over(device, line):
    with device.connect() as wire:
        wire.send(CHUNKED + line + b"\r\n{}\r\n0;end\r\nX-Sum: caf\xe9\r\n\r\n" + VERSION)
        status, body, _ = wire.answer()
        assert (status, body["error"]) == (400, "BAD_FIELD")
        assert wire.answer()[0] == 200


@pytest.mark.parametrize("codings", [b"chunked, gzip", b"chunked, chunked", b"chunked,"])
def test_a_body_that_chunked_does_not_end_is_a_bad_request(device, codings):
    refused(device, CHUNKED.replace(b"chunked", codings) + b"2\r\n{}\r\n0\r\n\r\n", 400, "BAD_REQUEST")


def test_http_1_0_knows_neither_chunks_nor_expectations(device):
    chunked = CHUNKED.replace(b"HTTP/1.1", b"HTTP/1.0") + b"2\r\n{}\r\n0\r\n\r\n"
    refused(device, chunked, 400, "BAD_REQUEST")
    with device.connect() as wire:
        wire.send(b"POST /api/login/ HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        time.sleep(0.05)
        wire.send(b"{}")
        assert wire.answer()[0] == 400


def test_other_versions_and_encodings_are_named(device):
    refused(device, b"GET /api/version/ HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP_VERSION")
    head = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"
    refused(device, head, 501, "NOT_IMPLEMENTED")


def test_a_path_too_long(device):
    refused(device, b"GET /" + b"x" * 9000, 414, "URI_TOO_LONG")


def test_headers_too_large(device):
    head = b"GET /api/version/ HTTP/1.1\r\nHost: x\r\n" + b"X-Filler: " + b"x" * 9000
    refused(device, head + b"\r\n\r\n", 431, "HEADERS_TOO_LARGE")


def test_a_head_just_within_the_limit_is_served(device):
    head = b"GET /api/version/ HTTP/1.1\r\nHost: x\r\nX-Filler: "
    with device.connect() as wire:
        wire.send(head + b"x" * (8192 - len(head)) + b"\r\n\r\n")
        assert wire.answer()[0] == 200


def test_a_body_too_large_is_refused_before_it_is_read(device):
    refused(device, b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n", 413, "TOO_LARGE")
    chunked = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    refused(device, chunked + b"FFFFFFF\r\n", 413, "TOO_LARGE")


def test_a_client_that_sends_on_still_gets_its_413(device):
    with device.connect() as wire:
        wire.send(b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n")
        try:
            for _ in range(300):
                wire.send(b"x" * 1000)
        except (BrokenPipeError, ConnectionResetError):
            pass
        assert wire.answer()[0] == 413


def test_a_client_that_vanishes_in_mid_request_is_forgotten(device):
    for data in (b"", b"GET /api", VERSION[:-1], b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"):
        with device.connect() as wire:
            wire.send(data)
            wire.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert device.ask("GET", "/api/version/")[0] == 200


def test_more_connections_than_allowed_make_room_for_the_new_ones(device):
    wires = []
    for _ in range(50):
        wire = device.connect()
        wires.append(wire)
        wire.send(VERSION)
        assert wire.answer()[0] == 200
    for wire in wires:
        wire.sock.close()


def test_a_long_answer_comes_in_parts_and_the_connection_goes_on(device):
    with device.connect() as wire:
        wire.request("GET", "/api/openapi.json")
        status, document, headers = wire.answer()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert "content-length" not in headers
        wire.request("HEAD", "/api/openapi.json")
        assert wire.answer("HEAD")[:2] == (200, None)
        wire.request("GET", "/api/openapi.json")
        assert wire.answer()[1] == document


def test_a_long_answer_to_http_1_0_ends_with_the_connection(device):
    with device.connect() as wire:
        wire.send(b"GET /api/openapi.json HTTP/1.0\r\n\r\n")
        text = b""
        while data := wire.sock.recv(65536):
            text += data
    head, _, body = text.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert json.loads(body)["openapi"].startswith("3.1")


def test_answers_are_dated_where_the_clock_is_set(device, authorized):
    _, body, headers = device.ask("GET", "/api/state/get/?time", headers=authorized)
    assert ("date" in headers) == (body["time"] is not None)
    if body["time"] is not None:
        stated = datetime.datetime.strptime(headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
        assert abs(stated - datetime.datetime.strptime(body["time"]["utc"], "%Y-%m-%dT%H:%M:%SZ")).total_seconds() <= 2


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/settings/saved/set/", 401, "UNAUTHORIZED"),
        ("/api/cmd/settings/import/", 401, "UNAUTHORIZED"),
        ("/api/nothing/", 404, "NOT_FOUND"),
        ("/api/version/", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_what_is_refused_anyway_is_refused_before_its_body_is_read(device, path, status, code):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
    refused(device, head + b"Content-Length: 60000\r\n\r\n{", status, code)
    refused(device, head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n", status, code)
    refused(device, head + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n", status, code)
    with device.connect() as wire:  # a short one costs nobody the connection
        wire.send(head + b"Content-Length: 2\r\n\r\n{}" + VERSION)
        assert wire.answer()[0] == status
        assert wire.answer()[0] == 200


def test_a_guest_cannot_have_long_bodies_read(device):
    refused(device, b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 2049\r\n\r\n", 413, "TOO_LARGE")
