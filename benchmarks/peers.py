"""The servers that ours is compared with: `python -m benchmarks.peers aiohttp|fastapi BODIES`.

BODIES is a JSON object of path -> content of the answer. They check neither the query nor the token, keep no access
log, and print their port.
"""

import json
import socket
import sys


def serve_aiohttp(bodies: dict, listener: socket.socket) -> None:
    """aiohttp's own server."""
    from aiohttp import web

    def handler(body: dict):
        async def answer(request: web.Request) -> web.Response:
            return web.json_response(body)

        return answer

    app = web.Application()
    for path, body in bodies.items():
        app.router.add_get(path, handler(body))
    web.run_app(app, sock=listener, access_log=None, print=None)


def serve_fastapi(bodies: dict, listener: socket.socket) -> None:
    """FastAPI on uvicorn."""
    import uvicorn
    from fastapi import FastAPI

    def handler(body: dict):
        async def answer() -> dict:
            return body

        return answer

    app = FastAPI()
    for path, body in bodies.items():
        app.get(path)(handler(body))
    uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning")).run(sockets=[listener])


def main() -> None:
    """Serve until terminated."""
    name, bodies = sys.argv[1:]
    # asyncio turns Nagle's algorithm off where the socket says that it is TCP; socket.create_server does not.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    {"aiohttp": serve_aiohttp, "fastapi": serve_fastapi}[name](json.loads(bodies), listener)


if __name__ == "__main__":
    main()
