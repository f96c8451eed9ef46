"""A load generator in a process of its own, the same for every server.

`python -m benchmarks.load PORT CONNECTIONS SECONDS [RATE]` takes the bytes of one request on the standard input. Every
connection is kept and asks again as soon as it has its answer, or all together so many times a second. Prints one line
of JSON, then holds the connections open until it is terminated.
"""

import json
import re
import selectors
import socket
import sys
import time

_UNLIMITED = 1e9  # requests a second
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Client:
    """One kept connection and the answer that is coming in on it."""

    def __init__(self, port: int, request: bytes):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._answer = b""
        self._asked = 0.0

    def ask(self) -> None:
        """Send the request."""
        self._asked = time.monotonic()
        self.socket.sendall(self._request)

    def receive(self) -> "float | None":
        """Take what has arrived; the seconds that the answer took once it is whole."""
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        self._answer += data
        if not _is_whole(self._answer):
            return None
        self._answer = b""
        return time.monotonic() - self._asked


def _is_whole(answer: bytes) -> bool:
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(answer, 0, end + 2)
    if not answer.startswith(b"HTTP/1.1 200 ") or length is None:
        raise ConnectionError(answer.decode(errors="replace"))
    return len(answer) >= end + 4 + int(length[1])


def run_load(clients: "list[Client]", seconds: float, rate: float) -> dict:
    """Keep every client asking for so long; answers a second, and percentiles of their times in milliseconds."""
    selector = selectors.SelectSelector() if rate < _UNLIMITED else selectors.DefaultSelector()  # finer, or faster
    for client in clients:
        selector.register(client.socket, selectors.EVENT_READ, client)
    times = []
    asked = 0
    idle = list(clients)
    started = now = time.monotonic()
    while now < started + seconds:
        while idle and asked <= (now - started) * rate:
            idle.pop(0).ask()
            asked += 1
        for key, _ in selector.select(1 / rate if idle else 1):
            taken = key.data.receive()
            if taken is not None:
                times.append(taken)
                idle.append(key.data)
        now = time.monotonic()
    elapsed = now - started
    times.sort()
    return {
        "rate": len(times) / elapsed,
        "p50ms": times[len(times) // 2] * 1000,
        "p99ms": times[len(times) * 99 // 100] * 1000,
    }


def main() -> None:
    """Load the server, tell what came of it, hold the connections."""
    port, connections, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else _UNLIMITED
    request = sys.stdin.buffer.read()
    clients = [Client(port, request) for _ in range(connections)]
    print(json.dumps(run_load(clients, seconds, rate)), flush=True)
    time.sleep(3600)


if __name__ == "__main__":
    main()
