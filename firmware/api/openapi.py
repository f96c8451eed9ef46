"""The OpenAPI 3.1 document, generated from the table of endpoints."""

from firmware import VERSION
from firmware.api.call import Keys, Parameters
from firmware.api.endpoint import Endpoint
from firmware.api.endpoints import ENDPOINTS
from hal.runtime import json_dumps

_HEAD = {
    "openapi": "3.1.0",
    "info": {"title": "MC252", "version": str(VERSION), "license": {"name": "MIT", "identifier": "MIT"}},
}

_ERROR = {
    "type": "object",
    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error", "message"],
}

_COMPONENTS = {
    "schemas": {"Error": _ERROR},
    "responses": {
        "Error": {
            "description": "Failure",
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    },
    "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
}


def document_parts():
    """The JSON text of the document in parts, none of them longer than one operation's: a board has no room for all."""
    yield json_dumps(_HEAD)[:-1] + ', "paths": {'
    for index, path in enumerate(_paths()):
        operations = {row.method.lower(): _operation(row) for row in ENDPOINTS if row.path == path}
        yield (", " if index else "") + json_dumps(path) + ": " + json_dumps(operations)
    yield '}, "components": ' + json_dumps(_COMPONENTS) + "}"


def _paths() -> "list[str]":
    paths: list = []
    for endpoint in ENDPOINTS:
        if endpoint.path not in paths:
            paths.append(endpoint.path)
    return paths


def _operation(endpoint: Endpoint) -> dict:
    operation: dict = {
        "summary": endpoint.purpose,
        "operationId": endpoint.method.lower() + endpoint.path.replace("/", "_").replace("-", "_").rstrip("_"),
        "responses": {
            "200": {"description": "Success", "content": {"application/json": {"schema": endpoint.answer().schema()}}},
            "default": {"$ref": "#/components/responses/Error"},
        },
    }
    if endpoint.level > 0:
        operation["security"] = [{"token": []}]
        operation["description"] = f"Needs access level {endpoint.level}."
    if endpoint.query is not None:
        operation["parameters"] = _parameters(endpoint.query)
    if endpoint.body is not None:
        operation["requestBody"] = {"content": {"application/json": {"schema": endpoint.body.schema()}}}
    return operation


def _parameters(query: "Keys | Parameters") -> list:
    if isinstance(query, Keys):
        bare = {"type": "string", "maxLength": 0}
        return [
            {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": bare}
            for name in query.names
        ]
    parameters = []
    for field in query.fields:
        schema = field.schema()
        parameters.append({"name": field.name, "in": "query", "required": "default" not in schema, "schema": schema})
    return parameters
