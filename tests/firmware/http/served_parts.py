"""A server of bodies in parts, and of a site's files, which the tests run on MicroPython: prints its port."""

import asyncio
import sys

from microdot import Response

from firmware.api.errors import error_answer
from firmware.http.files import add_files
from firmware.http.limits import HttpLimits
from firmware.http.server import HttpServer


class Numbers:
    """An asynchronous iterator, as both runtimes have them."""

    def __init__(self, count):
        self.left = count

    def __aiter__(self):
        return self

    async def __anext__(self):
        if self.left == 0:
            raise StopAsyncIteration
        self.left -= 1
        await asyncio.sleep(0.001)
        return f"data: {self.left}\n\n"

    async def aclose(self):
        print("closed with", self.left, "left")


async def iterator(request):
    return Response(iter(["one", b"two", "", "three"]))


async def events(request):
    return Response(Numbers(3), headers={"Content-Type": "text/event-stream"})


async def endless(request):
    return Response(Numbers(-1))


async def file(request):
    return Response.send_file(__file__)


async def main():
    server = HttpServer(HttpLimits(), error_answer)
    for path, handler in (("/iterator", iterator), ("/events", events), ("/endless", endless), ("/file", file)):
        server.add("GET", path, handler)
    if len(sys.argv) > 1:
        add_files(server, sys.argv[1], "/x/")
    for port in range(20000, 21000):
        try:
            await server.listen("127.0.0.1", port, 0)
            break
        except OSError:
            pass
    print(port)
    while True:
        await asyncio.sleep(1)


asyncio.run(main())
