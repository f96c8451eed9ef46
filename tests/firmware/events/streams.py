"""A client of the event stream, as a tool has it: a socket, read line by line."""

import json
import re
import socket


class Events:
    """Events of a running device, one after another: (name, data); `last_id` is the last one's that had an id."""

    def __init__(self, running, keys="", headers=None, receive_buffer=None):
        host, port = re.search(r"http://([^:/]+):(\d+)", running.line).groups()
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect((host, int(port)))
        given = {"Host": f"{host}:{port}", **(headers or {})}
        if headers is None and running.client.headers.get("Authorization"):
            given["Authorization"] = running.client.headers["Authorization"]
        lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self.socket.sendall(f"GET /api/events/?{keys} HTTP/1.0\r\n{lines}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.fields = {}
        while (line := self.file.readline().decode().strip()) != "":
            name, _, value = line.partition(": ")
            self.fields[name.lower()] = value
        self.last_id = None

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def next(self):
        """The next event, None at the end of the stream."""
        name, data = None, None
        while (line := self.file.readline().decode()) != "":
            field, _, value = line.rstrip("\n").partition(": ")
            if field == "id":
                self.last_id = value
            elif field == "event":
                name = value
            elif field == "data":
                data = json.loads(value)
            elif line == "\n" and name is not None:
                return name, data
        return None

    def until(self, name, matches=lambda data: True):
        """The data of the next event of a name that matches."""
        while True:
            event = self.next()
            assert event is not None, "the stream has ended"
            if event[0] == name and matches(event[1]):
                return event[1]
