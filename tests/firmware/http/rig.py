"""An HTTP server in the test's own event loop, on real sockets, with clients from as many addresses as are wanted."""

import asyncio
import json

from firmware.api.errors import error_answer
from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import JsonResponse
from firmware.http.server import HttpServer

SMALL = {"head_sec": 0.2, "body_sec": 0.2, "idle_sec": 0.2, "connections": 3}
HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
GUEST = 0


def get(path, version="1.1", method="GET", fields=""):
    """A request as bytes."""
    return f"{method} {path} HTTP/{version}\r\nHost: x\r\n{fields}\r\n".encode()


class Rig:
    def __init__(self, **options):
        clocks = {name: options.pop(name) for name in ("utc", "clock") if name in options}
        self.server = HttpServer(HttpLimits(**dict(SMALL, **options)), error_answer, **clocks)
        self.release = asyncio.Event()
        self.begun = 0
        self.given_up = 0
        self.finished = 0
        self.writers: list = []
        self.server.add("GET", "/hello", self.hello)
        self.server.add("GET", "/slow", self.slow)
        self.server.add("POST", "/slow", self.slow)
        self.server.add("GET", "/big", self.big)
        self.server.add("GET", "/broken", self.broken)
        self.server.add("POST", "/hello", self.hello)
        self.server.add("GET", "/user", self.user)

    async def hello(self, request):
        return JsonResponse({"hello": len(request.body)})

    def make_hello(self):
        """A handler of its own that does as `hello`."""

        async def handler(request):
            return await self.hello(request)

        return handler

    async def slow(self, request):
        self.begun += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        self.finished += 1
        return JsonResponse({"slow": True})

    async def big(self, request):
        return JsonResponse({"big": "x" * 100000})

    async def broken(self, request):
        raise ValueError("a secret detail")

    async def user(self, request):
        request.g.welcome()
        return JsonResponse({})

    async def __aenter__(self):
        self.tasks = asyncio.all_tasks()
        self.port = await self.server.listen("127.0.0.1", 0, GUEST)
        return self

    async def __aexit__(self, *exc):
        await self.server.stop()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)
        assert self.server.connection_count() == 0
        assert asyncio.all_tasks() - self.tasks == set()

    async def connect(self, source="127.0.0.1"):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(source, 0))
        self.writers.append(writer)
        return reader, writer

    async def sent(self, data, source="127.0.0.1"):
        """A new connection on which this was sent, taken in by the server."""
        count = self.server.connection_count()
        reader, writer = await self.connect(source)
        writer.write(data)
        await self.until(lambda: self.server.connection_count() > count)
        return reader, writer

    async def status(self, data=HELLO, source="127.0.0.1"):
        """The status of an answer on a new connection, None where it is closed without one; it stays open."""
        reader, writer = await self.connect(source)
        writer.write(data)
        try:
            return (await answer(reader))[0]
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def until(self, condition, seconds=5.0):
        for _ in range(int(seconds / 0.01)):
            if condition():
                return
            await asyncio.sleep(0.01)
        raise AssertionError("it did not come about")


async def head(reader):
    """(status, fields by lower-case name) of the next answer."""
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)).decode().split("\r\n")
    return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:-2])


async def answer(reader):
    """(status, JSON body, fields) of the next answer."""
    status, headers = await head(reader)
    body = await asyncio.wait_for(reader.readexactly(int(headers["content-length"])), 5)
    return status, json.loads(body), headers


async def chunks(reader):
    """The chunks of a body, to its end."""
    parts = []
    while True:
        size = int(await asyncio.wait_for(reader.readuntil(b"\r\n"), 5), 16)
        data = await asyncio.wait_for(reader.readexactly(size + 2), 5)
        assert data[-2:] == b"\r\n"
        if size == 0:
            return parts
        parts.append(data[:-2])
