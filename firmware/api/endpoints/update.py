"""Updates of the firmware, and activation."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.http.messages.answers import JsonResponse
from firmware.services.errors import Refused
from hal.fields import Boolean, Choice, Field, ListOf, Nullable, Object, Text

ADMINISTRATOR = 2  # whoever comes over the VPN
LICENCE_LIMIT = 4096  # characters

_COMMAND = Object(Field("allowOlder", Boolean(), False, help="take an older version too; over the VPN only"))

_ACTIVATION = Object(
    Field("code", Nullable(Text(LICENCE_LIMIT, 1)), None, help="a licence, Base64 as the maker gave it"),
    Field("requestCode", Boolean(), False, help="ask the cloud for an activation code instead"),
)


def _result() -> Object:
    """What came of it; state `fwUpdate` says how far it is."""
    return Object(
        Field("status", Choice("DONE", "BUSY", "ERROR")),
        Field("errorCode", Nullable(Text(64)), help="why not, by its code; `message` of state fwUpdate in words"),
    )


def _activated() -> Object:
    """The activation as it is now."""
    return Object(
        Field("activated", Boolean()),
        Field("features", ListOf(Text(32), 32)),
        Field("expires", Nullable(Text(32)), help="ISO 8601; null: no end, or no licence"),
    )


def _older_allowed(call: Call) -> bool:
    if call.body["allowOlder"] and call.level < ADMINISTRATOR:
        raise Refused("FORBIDDEN", "allowOlder: an older version is taken only over the VPN")
    return call.body["allowOlder"]


async def download(call: Call) -> dict:
    """POST /api/cmd/updates/download/"""
    status, error = await call.services.updates.download(_older_allowed(call))
    return {"status": status, "errorCode": error}


async def program(call: Call) -> JsonResponse:
    """POST /api/cmd/updates/program/"""
    status, error = await call.services.updates.program(_older_allowed(call))
    answer = JsonResponse({"status": status, "errorCode": error})
    if status == "DONE":
        answer.after_sent = call.services.updates.restart_when_installed
    return answer


async def activation(call: Call) -> dict:
    """POST /api/activation/"""
    if call.body["code"] is None and not call.body["requestCode"]:
        raise Refused("BAD_LICENCE", "code: is missing; or requestCode: true asks the cloud for one")
    if call.body["requestCode"]:
        return await call.services.activation.request_code()
    return await call.services.activation.activate(call.body["code"])


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cmd/updates/download/",
        1,
        "Download available updates",
        download,
        _result,
        body=_COMMAND,
        errors=("UPDATE_DISABLED", "PART_FAILED", "FORBIDDEN", "NOT_ON_THIS_BOARD"),
    ),
    Endpoint(
        "POST",
        "/api/cmd/updates/program/",
        1,
        "Apply update",
        program,
        _result,
        body=_COMMAND,
        errors=("UPDATE_NONE", "UPDATE_ON_TRIAL", "PART_FAILED", "FORBIDDEN", "NOT_ON_THIS_BOARD"),
    ),
    Endpoint(
        "POST",
        "/api/activation/",
        1,
        "Licence or device activation",
        activation,
        _activated,
        body=_ACTIVATION,
        errors=("BAD_LICENCE", "NOT_ON_THIS_BOARD", "STORAGE_FAILED"),
    ),
)
