"""A flood of clients in a process of its own: `python flood.py KIND PORT CLIENTS` until it is terminated.

Each client comes from an address of its own, 127.0.2.1 and up, sends as fast as can be and throws away what it is told.
One that is turned away or cut comes again a little later.
"""

import selectors
import socket
import sys
import time

READ_OWN_UNIT = b"\0\1\0\0\0\6\x6f\3\0\2\0\1"  # unit 111, function 3
LOGIN = b"POST /api/login/ HTTP/1.1\r\nHost: x\r\n"
OBJECTS = b"[" + b"{}," * 21000 + b"{}]"
SENT = {
    "modbus": READ_OWN_UNIT * 500,
    "pipeline": b"GET /api/version/ HTTP/1.1\r\nHost: x\r\n\r\n" * 100,
    "chunks": LOGIN + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 60000 + b"0\r\n\r\n",
    "json": LOGIN + b"Content-Length: %d\r\n\r\n" % len(OBJECTS) + OBJECTS,
    "openapi": b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 10,
    "connections": b"GET /api/version/ HTTP/1.0\r\n\r\n",
}
PAUSE = 0.05


class Client:
    """One connection after the other from one address."""

    def __init__(self, selector, address, port, data):
        self._selector = selector
        self._address = address
        self._port = port
        self._data = data
        self.again_at = 0.0
        self._socket = None

    def connect(self):
        self.again_at = float("inf")
        self._socket = socket.socket()
        self._socket.bind((self._address, 0))
        self._socket.setblocking(False)
        self._socket.connect_ex(("127.0.0.1", self._port))
        self._left = memoryview(self._data)
        self._selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def go_on(self, events):
        try:
            if events & selectors.EVENT_READ and not self._socket.recv(1 << 20):
                raise ConnectionResetError
            if events & selectors.EVENT_WRITE:
                self._left = self._left[self._socket.send(self._left) :] or memoryview(self._data)
        except BlockingIOError:
            pass
        except OSError:
            self._selector.unregister(self._socket)
            self._socket.close()
            self.again_at = time.monotonic() + PAUSE


def main():
    kind, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    selector = selectors.DefaultSelector()
    clients = [Client(selector, f"127.0.2.{number + 1}", port, SENT[kind]) for number in range(count)]
    while True:
        now = time.monotonic()
        for client in clients:
            if now >= client.again_at:
                client.connect()
        for key, events in selector.select(PAUSE):
            key.data.go_on(events)


if __name__ == "__main__":
    main()
