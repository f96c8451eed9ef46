"""Files by blocks over one kept connection, against plain POSTs of the same size; and what others feel of it.

`python -m benchmarks.files` prints the table of this module alone.
"""

import base64
import http.client
import json
import multiprocessing
import os
import time

from benchmarks.rig import DeviceProcess, log_in

BLOCKS = 16384  # of 1024 bytes: 16 MiB
ASKED = 1500  # requests of /api/version/ while files move


class Client:
    """A kept connection."""

    def __init__(self, port: int, token: str):
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Authorization": "Bearer " + token}

    def post(self, path: str, body: str) -> "tuple[int, bytes]":
        """(status, body) of a POST."""
        self._connection.request("POST", path, body, self._headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def get(self, path: str) -> bytes:
        """The body of a GET."""
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse().read()


def write_body(path: str, index: int, data: str) -> str:
    """The body of a block write."""
    return json.dumps({"path": path, "blockIdx": index, "blockCount": BLOCKS, "data": data})


def upload(port: int, token: str, path: str, blocks: "list[str]") -> float:
    """Seconds to write a file."""
    client = Client(port, token)
    started = time.monotonic()
    for index, data in enumerate(blocks):
        status, body = client.post("/api/card/file/write/", write_body(path, index, data))
        assert status == 200, body
    return time.monotonic() - started


def download(port: int, token: str, path: str, blocks: "list[str]") -> float:
    """Seconds to read a file, every block compared."""
    client = Client(port, token)
    started = time.monotonic()
    for index, data in enumerate(blocks):
        status, body = client.post("/api/card/file/read/", json.dumps({"path": path, "blockIdx": index}))
        assert status == 200, body
        assert json.loads(body)["data"] == data
    return time.monotonic() - started


def plain_posts(port: int, token: str, blocks: "list[str]") -> float:
    """Seconds for POSTs of the same size that nobody reads: there is no such path."""
    client = Client(port, token)
    started = time.monotonic()
    for index, data in enumerate(blocks):
        client.post("/api/nowhere/", write_body("/plain.bin", index, data))
    return time.monotonic() - started


def move_files(port: int, token: str) -> None:
    """Upload and download until killed."""
    blocks = [base64.b64encode(os.urandom(1024)).decode()] * BLOCKS
    while True:
        upload(port, token, "/moving.bin", blocks)
        download(port, token, "/moving.bin", blocks)


def latencies(port: int, token: str) -> "list[float]":
    """Milliseconds that /api/version/ takes, sorted."""
    client = Client(port, token)
    taken = []
    for _ in range(ASKED):
        started = time.monotonic()
        client.get("/api/version/")
        taken.append((time.monotonic() - started) * 1000)
        time.sleep(0.002)
    return sorted(taken)


def main() -> None:
    """The table."""
    device = DeviceProcess({})
    mover = None
    try:
        token = log_in(device.http_port)
        blocks = [base64.b64encode(os.urandom(1024)).decode() for _ in range(BLOCKS)]
        plain = plain_posts(device.http_port, token, blocks)
        written = upload(device.http_port, token, "/bench.bin", blocks)
        read = download(device.http_port, token, "/bench.bin", blocks)
        print("\nFiles: 16 MiB in blocks over one kept connection; how many times longer than plain POSTs of that size")
        print(f"plain {BLOCKS / plain:.0f} a second,", end="")
        print(f" written {BLOCKS / written:.0f} ({written / plain:.2f} times longer),", end="")
        print(f" read {BLOCKS / read:.0f} ({read / plain:.2f}), intact")
        quiet = latencies(device.http_port, token)
        mover = multiprocessing.Process(target=move_files, args=(device.http_port, token))
        mover.start()
        time.sleep(0.5)
        busy = latencies(device.http_port, token)
        print("GET /api/version/ in ms, median and p99: ", end="")
        print(f"quiet {quiet[ASKED // 2]:.2f} {quiet[ASKED * 99 // 100]:.2f},", end="")
        print(f" while files move {busy[ASKED // 2]:.2f} {busy[ASKED * 99 // 100]:.2f}")
    finally:
        if mover is not None:
            mover.terminate()
            mover.join()
        device.stop()


if __name__ == "__main__":
    main()
