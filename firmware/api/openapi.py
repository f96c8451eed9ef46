"""The OpenAPI 3.1 document, generated from the table of endpoints."""

from firmware import VERSION
from firmware.api.endpoint import Endpoint
from firmware.api.endpoints import AREAS
from firmware.api.error_meanings import MEANINGS
from firmware.api.errors import ERRORS
from firmware.api.kinds import Anything, Content, Named, Words
from firmware.api.query import Flag, Keys, Parameters
from hal.fields import REQUIRED, AnyOf, Choice, Field, Kind, ListOf, MapOf, Nullable, Object
from hal.runtime import json_dumps
from hal.runtime.annotations import Any, Callable, Iterator

_HEAD = {
    "openapi": "3.1.0",
    "info": {
        "title": "MC252",
        "description": "The HTTP API of a Modbus gateway. Every path works with and without its trailing slash. "
        "A request whose body is empty counts as one with the body {}.",
        "version": str(VERSION),
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [
        {"url": "/", "description": "the device that this document comes from"},
        {
            "url": "http://{host}",
            "description": "a device",
            "variables": {"host": {"default": "mc252", "description": "its address or name, with :port unless 80"}},
        },
    ],
    "tags": [{"name": area} for area in AREAS],
}

_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "The token of POST /api/login/, in the header Authorization or Authorized. "
    "Neither is needed after a press of the button, nor over the VPN.",
}

PART_LENGTH = 1024  # characters

_ERROR = {"$ref": "#/components/schemas/Error"}

_OTHER = (
    "What is wrong with any request, or unexpected: BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, TIMEOUT, URI_TOO_LONG, "
    "HEADERS_TOO_LARGE, INTERNAL, NOT_IMPLEMENTED, BUSY, NO_MEMORY, HTTP_VERSION"
)


def document_parts() -> Iterator[str]:
    """The JSON text of the document in parts of about PART_LENGTH characters: a board has no room for all of it."""
    part = ""
    for piece in _pieces():
        part += piece
        if len(part) >= PART_LENGTH:
            yield part
            part = ""
    yield part


def _pieces() -> Iterator[str]:
    declared = _Declared()
    yield json_dumps(_HEAD)[:-1] + ', "paths": {'
    separator = ""
    for path in _paths():
        yield separator + json_dumps(path) + ": "
        yield from _texts(_path_item(path, declared))
        separator = ", "
    yield '}, "components": {"securitySchemes": ' + json_dumps({"token": _TOKEN})
    yield ', "responses": {"Other": ' + json_dumps(_response(_OTHER, _ERROR))
    for name, codes in declared.responses.items():
        yield ", " + json_dumps(name) + ": " + json_dumps(_refusal(codes))
    yield '}, "schemas": {"Error": ' + json_dumps(_error().schema())
    for name, make in declared.schemas:  # grows while it is gone through
        kind = make()
        declared.gather(kind)
        yield ", " + json_dumps(name) + ": "
        yield from _texts(kind.schema())
    yield "}}}"


def _texts(value: Any) -> Iterator[str]:
    """The JSON text of a value, a small piece at a time."""
    if not isinstance(value, (dict, list)) or not value:
        yield json_dumps(value)
        return
    opening, closing = ("{", "}") if isinstance(value, dict) else ("[", "]")
    for key in value:
        yield opening + (json_dumps(key) + ": " if closing == "}" else "")
        yield from _texts(value[key] if closing == "}" else key)
        opening = ", "
    yield closing


class _Declared:
    """The components that the operations refer to."""

    def __init__(self) -> None:
        self.schemas: list[tuple[str, Callable[[], Kind]]] = []  # (name, function that makes the kind)
        self.responses: dict[str, list[str]] = {}  # name -> codes

    def gather(self, kind: Kind | None) -> None:
        """Note every Named kind inside a kind."""
        if isinstance(kind, Named):
            if kind.name not in [name for name, _ in self.schemas]:
                self.schemas.append((kind.name, kind.make))
        elif isinstance(kind, Object):
            for field in kind.fields:
                self.gather(field.kind)
        elif isinstance(kind, AnyOf):
            for inner in kind.kinds:
                self.gather(inner)
        elif isinstance(kind, Anything):
            self.gather(kind.shape and kind.shape())
        elif isinstance(kind, (ListOf, MapOf, Nullable)):
            self.gather(kind.kind)

    def refusal(self, codes: list[str]) -> dict:
        """A reference to the response that tells of these codes."""
        name = ".".join(codes)
        self.responses[name] = codes
        return {"$ref": "#/components/responses/" + name}


def _paths() -> list[str]:
    paths: list = []
    for rows in AREAS.values():
        for row in rows:
            if row.path not in paths:
                paths.append(row.path)
    return paths


def _path_item(path: str, declared: _Declared) -> dict:
    item = {}
    for area, rows in AREAS.items():
        for row in rows:
            if row.path == path:
                item[row.method.lower()] = _operation(row, area, declared)
    return item


def _operation(row: Endpoint, area: str, declared: _Declared) -> dict:
    answer = row.answer()
    declared.gather(answer)
    operation: dict = {
        "summary": row.purpose,
        "operationId": row.method.lower() + row.path.replace("/", "_").replace("-", "_").rstrip("_"),
        "tags": [area],
        "responses": {"200": _success(answer)},
    }
    for status, codes in _by_status(errors_of(row)).items():
        operation["responses"][status] = declared.refusal(codes)
    operation["responses"]["default"] = {"$ref": "#/components/responses/Other"}
    if row.level > 0:
        operation["security"] = [{"token": []}]
        operation["description"] = f"Needs access level {row.level}."
    if row.query is not None:
        operation["parameters"] = _parameters(row.query)
    if row.body is not None:
        declared.gather(row.body)
        schema = row.body.schema()
        content = {"application/json": {"schema": schema}}
        required = "required" in schema or schema.get("minProperties", 0) > 0
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def errors_of(row: Endpoint) -> list[str]:
    """The codes that an endpoint may answer with, of the guard and the checks too, in the order of the table."""
    codes = set(row.errors)
    if row.level > 0:
        codes |= {"UNAUTHORIZED", "CROSS_SITE"}
    if row.level > 1:
        codes.add("FORBIDDEN")
    if row.query is not None:
        codes |= {"UNKNOWN_KEY", "BAD_FIELD"}
    if row.method == "POST":
        codes |= {"BAD_JSON", "BAD_FIELD", "TOO_LARGE", "CROSS_SITE"}
    return [code for code in ERRORS if code in codes]


def _by_status(codes: list[str]) -> dict:
    grouped: dict = {}
    for code in codes:
        grouped.setdefault(str(ERRORS[code][0]), []).append(code)
    return grouped


def _refusal(codes: list[str]) -> dict:
    words = "; ".join([f"{code}: {MEANINGS[code]}" for code in codes])
    response = _response(words, _ERROR)
    if ERRORS[codes[0]][0] in (429, 503):
        response["headers"] = {
            "Retry-After": {"description": "seconds, where waiting helps", "schema": {"type": "integer", "minimum": 0}}
        }
    return response


def _success(answer: Any) -> dict:
    if isinstance(answer, Content):
        content = {answer.media_type: {"schema": answer.schema()}}
        if answer.other:
            content[answer.other] = {"schema": {"type": "string"}}
        return {"description": "Success", "content": content}
    return _response("Success", answer.schema())


def _response(description: str, schema: dict) -> dict:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _error() -> Object:
    return Object(
        Field("error", Choice(*ERRORS), help="the code"),
        Field("message", Words(), help="what was wrong and what to do; it may repeat a part of the request"),
    )


def _parameters(query: Keys | Parameters) -> list:
    flag = {"in": "query", "required": False, "allowEmptyValue": True, "schema": Flag().schema()}
    names = query.names() if isinstance(query, Keys) else ()
    parameters = [dict(flag, name=name) for name in names]
    for field in query.fields:
        if isinstance(field.kind, Flag):
            parameters.append(dict(flag, name=field.name, description=field.help))
        else:
            required = field.default is REQUIRED
            schema = field.schema()
            parameters.append({"name": field.name, "in": "query", "required": required, "schema": schema})
    return parameters
