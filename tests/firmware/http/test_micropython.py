"""Bodies in parts, from a server on MicroPython."""

import http.client
import pathlib
import subprocess
import sysconfig

import pytest

from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, ROOT, environment

SERVER = pathlib.Path(__file__).with_name("served_parts.py")

pytestmark = NEEDS_MICROPYTHON


@pytest.fixture(scope="module")
def server():
    paths = f"{ROOT}:{sysconfig.get_path('purelib')}:.frozen"  # Microdot is among the environment's packages
    process = subprocess.Popen(
        [MICROPYTHON, str(SERVER)], env=dict(environment(), MICROPYPATH=paths), stdout=subprocess.PIPE, text=True
    )
    try:
        process.port = int(process.stdout.readline())
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_iterators_files_and_events_arrive_whole(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for _ in range(2):  # the connection is kept
        connection.request("GET", "/iterator")
        answer = connection.getresponse()
        assert (answer.getheader("Transfer-Encoding"), answer.read()) == ("chunked", b"onetwothree")
        connection.request("GET", "/file")
        answer = connection.getresponse()
        assert answer.read() == SERVER.read_bytes()
        assert int(answer.getheader("Content-Length")) == SERVER.stat().st_size
        connection.request("HEAD", "/iterator")
        assert connection.getresponse().read() == b""
    connection.request("GET", "/events")
    answer = connection.getresponse()
    assert (answer.getheader("Content-Type"), answer.read()) == (
        "text/event-stream",
        b"data: 2\n\ndata: 1\n\ndata: 0\n\n",
    )
    assert server.stdout.readline() == "closed with 0 left\n"


def test_a_stream_ends_when_its_client_has_gone(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", "/endless")
    answer = connection.getresponse()
    assert answer.read(5) == b"data:"
    answer.close()
    connection.close()
    assert server.stdout.readline().startswith("closed with -")
