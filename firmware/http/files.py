"""Files that are served as they are: gzip'd copies in a folder, by a list that is made with them.

The list, files.json, has for each file its path, the name of its copy in the folder, its media type, its entity tag,
and whether it may be kept for ever, because its path changes with its content. Clients that take no gzip get it too:
they are no browsers, which such files are for (RFC 9110 section 12.5.3 leaves that to the server).
"""

import json

from microdot import Request, Response

from firmware.http.application import Application
from hal.runtime import offload
from hal.runtime.annotations import Any, Awaitable, Callable

LIST = "files.json"

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
}


def add_files(application: Application, folder: str) -> None:
    """Route the files of a folder's list. OSError or ValueError where there is no list."""
    with open(folder + "/" + LIST) as file:
        listed = json.load(file)
    for row in listed:
        application.add("GET", row["path"], _route(folder + "/" + row["file"], row))


def _route(path: str, row: dict) -> Callable[[Request], Awaitable[Response]]:
    tag = '"' + row["etag"] + '"'
    caching = "max-age=31536000, immutable" if row["kept"] else "no-cache"

    async def answer(request: Request) -> Response:
        headers = dict(_SECURITY)
        headers["Cache-Control"] = caching
        headers["ETag"] = tag
        if _is_known(request.headers.get("if-none-match"), tag):
            return Response(b"", 304, headers)
        headers["Content-Type"] = row["type"]
        headers["Content-Encoding"] = "gzip"
        return Response(await offload(_opened, path), 200, headers)

    return answer


def _opened(path: str) -> Any:
    """The file, which is closed when it was sent."""
    return open(path, "rb")


def _is_known(field: str | None, tag: str) -> bool:
    """Whether If-None-Match names an entity tag (RFC 9110 section 13.1.2)."""
    return field is not None and (field.strip() == "*" or any(_weak(known) == tag for known in field.split(",")))


def _weak(known: str) -> str:
    known = known.strip()
    return known[2:] if known[:2] == "W/" else known
