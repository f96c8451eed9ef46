"""A board that works for long: requests, a search, an upload, connections that come and go; what is lost, what memory
is left.

`python -m tests.machine.endure [REQUESTS]` prints the figures and fails where a request was lost, or where the heap is
less free after all of them than after a tenth.
"""

import base64
import http.client
import json
import random
import socket
import struct
import sys
import tempfile
import time

from tests.conformance.conftest import start

METER = [252, 104, 2300, 5000]
BATCH = 10  # requests over HTTP for each over Modbus TCP
RECONNECTIONS = 200
UPLOADED = 1 << 20  # bytes of the upload
BLOCK = 1024  # bytes
SLACK = 16384  # bytes that a search keeps of what it has found, and connections that have just ended
FULL_TABLES = 200  # requests after which every table of a board has been filled once


class Board:
    """A board that runs, asked over connections that are kept."""

    def __init__(self, folder):
        self.process, self.device = start("micropython", folder)
        self.lost = 0
        self.headers = {"Authorization": "Bearer " + self.device.token()}
        self._http = http.client.HTTPConnection(self.device.host, self.device.port, timeout=20)
        self._modbus = socket.create_connection((self.device.host, self.device.modbus), timeout=20)

    def call(self, method, path, body=None):
        """The JSON of an answer."""
        self._http.request(method, path, None if body is None else json.dumps(body), self.headers)
        answer = self._http.getresponse()
        content = json.loads(answer.read())
        assert answer.status == 200, content
        return content

    def request(self, number):
        """One Modbus request; whether it was answered as it must be is counted."""
        try:
            if number % BATCH:
                body = {"uid": 1, "func": 3, "addr": 0, "count": 4, "timeoutMs": 5000}
                tid = self.call("POST", "/api/modbus/req/", body)["tid"]
                good = self.call("GET", f"/api/modbus/resp/?tid={tid}&wait=9000")["values"] == METER
            else:
                self._modbus.sendall(struct.pack(">HHHBBHH", number & 0xFFFF, 0, 6, 1, 3, 0, 4))
                good = self._modbus.recv(17, socket.MSG_WAITALL)[9:] == struct.pack(">4H", *METER)
        except (OSError, AssertionError, ValueError, http.client.HTTPException) as exc:
            print(f"request {number}: {exc!r}", file=sys.stderr)
            self._http.close()
            good = False
        self.lost += not good

    def requests(self, first, last):
        """So many of them."""
        for number in range(first, last):
            self.request(number)

    def reconnect(self):
        """Connections that come, ask once and go, of HTTP and of Modbus TCP."""
        for number in range(RECONNECTIONS):
            try:
                status = self.device.ask("GET", "/api/version/")[0]
                self._modbus.close()
                self._modbus = socket.create_connection((self.device.host, self.device.modbus), timeout=20)
                self.lost += status != 200
                self.request(number * BATCH)
            except (OSError, AssertionError) as exc:
                print(f"connection {number}: {exc!r}", file=sys.stderr)
                self.lost += 1

    def search(self):
        """A fast search finds whom it must."""
        body = {"baudRate": 9600, "charFormat": 5, "fastSearch": True, "uidFrom": 1, "uidTo": 10}
        self.call("POST", "/api/modbus/find/start/", body)
        while (found := self.call("GET", "/api/modbus/find/result/?list"))["status"] == "RUNNING":
            time.sleep(0.2)
        self.lost += [device["uid"] for device in found["foundDevices"]] != [1, 2]

    def upload(self):
        """A file goes onto the card block by block, and comes back as it was."""
        data = random.Random(UPLOADED).randbytes(UPLOADED)
        count = UPLOADED // BLOCK
        for index in range(count):
            block = data[index * BLOCK : (index + 1) * BLOCK]
            body = {
                "path": "/kept.bin",
                "blockIdx": index,
                "blockCount": count,
                "data": base64.b64encode(block).decode(),
            }
            self.call("POST", "/api/card/file/write/", body)
        for index in range(count):
            read = self.call("POST", "/api/card/file/read/", {"path": "/kept.bin", "blockIdx": index})["data"]
            self.lost += base64.b64decode(read) != data[index * BLOCK : (index + 1) * BLOCK]
        self.call("POST", "/api/card/remove/", {"path": "/kept.bin"})

    def memory(self):
        """(bytes free, how often there were too few)."""
        system = self.call("GET", "/api/state/get/?system")["system"]
        return system["memFree"], system["memShortages"]

    def stop(self):
        self._http.close()
        self._modbus.close()
        self.process.terminate()
        self.process.communicate(timeout=10)


def endure(folder, count):
    """Figures of a board that was asked so often."""
    board = Board(folder)
    try:
        board.requests(0, max(count // 10, FULL_TABLES))
        early, _ = board.memory()
        began = time.monotonic()
        board.requests(max(count // 10, FULL_TABLES), count)
        rate = (count - max(count // 10, FULL_TABLES)) / (time.monotonic() - began)
        late, shortages = board.memory()
        board.search()
        board.upload()
        board.reconnect()
        end, _ = board.memory()
        return {
            "requests": count,
            "lost": board.lost,
            "requestsPerSec": round(rate, 1),
            "freeAfterATenth": early,
            "freeAfterAll": late,
            "uploadedBytes": UPLOADED,
            "freeAfterConnections": end,
            "shortages": shortages,
        }
    finally:
        board.stop()


def holds(figures):
    """Whether nothing was lost, and memory neither."""
    kept = min(figures["freeAfterAll"], figures["freeAfterConnections"]) >= figures["freeAfterATenth"] - SLACK
    return figures["lost"] == 0 and figures["shortages"] == 0 and kept


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        told = endure(made, int(sys.argv[1]) if len(sys.argv) > 1 else 10000)
    print(json.dumps(told, indent=1))
    sys.exit(not holds(told))
