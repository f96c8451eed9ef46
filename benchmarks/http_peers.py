"""Requests per second over kept connections, against other servers that give the same answers.

`python -m benchmarks.http_peers` prints the tables of this module alone.
"""

import http.client
import json
import statistics
import sys

from benchmarks.rig import DeviceProcess, Process, load, log_in

PEERS = ("aiohttp", "fastapi")
CONNECTIONS = (1, 8, 64)
ROUNDS = 5
SECONDS = 0.4
SETTINGS = {"httpd": {"maxConnections": 128}}
REQUESTS = {"/api/version/": "", "/api/state/get/": "?bus"}


class Peer(Process):
    """One of benchmarks/peers.py."""

    def __init__(self, name: str, bodies: dict):
        super().__init__([sys.executable, "-m", "benchmarks.peers", name, json.dumps(bodies)])
        self.http_port = int(self.first_line)


def get(port: int, target: str, token: str) -> dict:
    """The content of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", target, headers={"Authorization": "Bearer " + token})
    content = json.load(connection.getresponse())
    connection.close()
    return content


def request(target: str, token: str) -> bytes:
    """A GET as bytes; the version is asked for as guests do."""
    access = "" if target == "/api/version/" else f"Authorization: Bearer {token}\r\n"
    return f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n{access}\r\n".encode()


def measure(servers: dict, target: str, token: str, connections: int) -> "dict[str, float]":
    """Median of the requests per second of each server; the servers take turns, so that all see the same machine."""
    rates: dict = {name: [] for name in servers}
    for _ in range(ROUNDS):
        for name, server in servers.items():
            with load(server.http_port, connections, SECONDS, request(target, token)) as result:
                rates[name].append(result["rate"])
    return {name: statistics.median(values) for name, values in rates.items()}


def memory(servers: dict, token: str) -> "dict[str, float]":
    """Resident MB of each server with 32 connections open."""
    used = {}
    for name, server in servers.items():
        with load(server.http_port, 32, SECONDS, request("/api/version/", token)):
            used[name] = server.rss_mb()
    return used


def main() -> None:
    """All tables of this module."""
    device = DeviceProcess(SETTINGS)
    servers: dict = {"ours": device}
    try:
        token = log_in(device.http_port)
        bodies = {path: get(device.http_port, path + query, token) for path, query in REQUESTS.items()}
        for name in PEERS:
            servers[name] = Peer(name, bodies)
        print_rates(servers, token)
        used = memory(servers, token)
        print("\nHTTP: resident MB with 32 connections open: ", end="")
        print(", ".join(f"{name} {used[name]:.1f}" for name in servers))
    finally:
        for server in servers.values():
            server.stop()


def print_rates(servers: dict, token: str) -> None:
    """Requests per second, and the ratios."""
    print(
        "\nHTTP: requests per second over kept connections, and how many times the peers' that is. The peers give the"
    )
    print("same body and check nothing; ours checks token, query and limits")
    titles = "".join(f"{name:>9}" for name in servers) + "".join(f"{'to ' + name:>12}" for name in PEERS)
    print(f"{'request':>20} {'clients':>8}{titles}")
    for path, query in REQUESTS.items():
        for connections in CONNECTIONS:
            rates = measure(servers, path + query, token, connections)
            numbers = "".join(f"{rates[name]:>9.0f}" for name in servers)
            ratios = "".join(f"{rates['ours'] / rates[name]:>12.2f}" for name in PEERS)
            print(f"{path + query:>20} {connections:>8}{numbers}{ratios}", flush=True)


if __name__ == "__main__":
    main()
