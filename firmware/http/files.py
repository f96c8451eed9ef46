"""Files that are served as they are: gzip'd copies in a folder, by a list that is made with them.

The list has a line for each file: its path, the name of its copy in the folder, its entity tag, `kept` where it may be
kept for ever because its path changes with its content, else `asked`, and its media type. It is read for each request,
so that files cost a board no memory. Clients that take no gzip get it too: they are no browsers, which such files are
for (RFC 9110 section 12.5.3 leaves that to the server).
"""

from microdot import Request, Response

from firmware.http.application import Application
from hal.runtime import offload
from hal.runtime.annotations import Any, Awaitable, Callable

LIST = "files.txt"

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
}


def add_files(application: Application, folder: str, below: str) -> None:
    """Serve what a folder's list names, `/` and paths below one. OSError or ValueError where there is no list."""
    if _row(folder, "/") is None:
        raise ValueError(f"{folder}/{LIST} has no /")

    def find(path: str) -> dict[str, Callable[[Request], Awaitable[Response]]] | None:
        if path != "/" and not path.startswith(below):
            return None
        try:
            row = _row(folder, path)
        except OSError:  # it is being built anew
            return None
        return None if row is None else {"GET": _route(folder, row)}

    application.elsewhere = find


def _row(folder: str, path: str) -> list[str] | None:
    """A file's line of the list, None where it has none."""
    with open(folder + "/" + LIST) as lines:
        for line in lines:
            if line.startswith(path + " ") and " " not in path:
                return line.strip().split(" ", 4)
    return None


def _route(folder: str, row: list[str]) -> Callable[[Request], Awaitable[Response]]:
    _, name, tag, caching, kind = row
    tag = f'"{tag}"'

    async def answer(request: Request) -> Response:
        headers = dict(_SECURITY)
        headers["Cache-Control"] = "max-age=31536000, immutable" if caching == "kept" else "no-cache"
        headers["ETag"] = tag
        if _is_known(request.headers.get("if-none-match"), tag):
            return Response(b"", 304, headers)
        headers["Content-Type"] = kind
        headers["Content-Encoding"] = "gzip"
        return Response(await offload(_opened, folder + "/" + name), 200, headers)

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
