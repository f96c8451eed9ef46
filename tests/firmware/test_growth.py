"""A device that is asked and asked does not grow."""

import pathlib
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
BATCH = 250


@pytest.fixture
def device(tmp_path):
    """(process id, port) of a running device."""
    arguments = ["--state-dir", str(tmp_path), "--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware", *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    url = process.stdout.readline().split(",")[0]
    yield process.pid, int(url.rstrip("/").rsplit(":", 1)[1])
    process.terminate()
    process.communicate(timeout=10)


def rss_kib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


def ask(sock, request, count):
    """Ask in batches on one connection; every answer is read."""
    sock.sendall(request)
    size = 0
    while not size:
        data = sock.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += sock.recv(65536)
        size = len(head) + 4 + length
    for _ in range(count // BATCH):
        sock.sendall(request * BATCH)
        missing = size * BATCH
        while missing > 0:
            data = sock.recv(min(missing, 1 << 20))
            assert data
            missing -= len(data)


def test_fifty_thousand_requests_leave_nothing_behind(device):
    pid, port = device
    version = b"GET /api/version/ HTTP/1.1\r\nHost: x\r\n\r\n"
    refused = b"GET /api/state/get/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + b"x" * 48 + b"\r\n\r\n"
    bad = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n" + b'{"user":1'
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        for request in (version, refused, bad):
            ask(sock, request, 2500)
        before = rss_kib(pid)
        ask(sock, version, 20000)
        ask(sock, refused, 15000)
        ask(sock, bad, 15000)
        assert rss_kib(pid) - before < 1024


def test_thousands_of_connections_leave_nothing_behind(device):
    pid, port = device

    def connect(count):
        for number in range(count):
            with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
                sock.sendall(b"GET /api/version/ HTTP/1.1\r\nHost: x\r\n\r\n"[: 12 if number % 3 else None])
                if number % 3 == 0:
                    assert sock.recv(4096)

    connect(300)
    before, files = rss_kib(pid), len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))
    connect(2000)
    assert rss_kib(pid) - before < 1024
    assert len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir())) <= files + 40


def test_thirty_two_connections_fit_in_forty_megabytes(device):
    pid, port = device
    socks = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(32)]
    for sock in socks:
        sock.sendall(b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(65536)
    assert rss_kib(pid) < 40 * 1024
    for sock in socks:
        sock.close()
