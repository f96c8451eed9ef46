"""The device as a whole: who it is, its log, and its restart."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import UINT32, nothing
from firmware.api.query import Parameters
from firmware.http.messages.answers import JsonResponse
from hal.fields import Base64, Boolean, Choice, Field, ListOf, Nullable, Object, Text
from hal.runtime.logs import KEPT, KEPT_LENGTH, LEVELS, LOG


def _version_fields() -> tuple[Field, ...]:
    return (
        Field("device", Text(64), help="device model"),
        Field("deviceId", UINT32),
        Field("firmwareType", UINT32),
        Field("firmwareVer", UINT32, help="counts up with every release"),
        Field("releaseDate", Text(32), help="ISO 8601 without zone"),
    )


def _log() -> Object:
    """The last lines of the log."""
    line = Object(
        Field("number", UINT32, help="counts up with every line since the start"),
        Field("secAgo", UINT32, help="seconds since it was written"),
        Field("utc", Nullable(Text(32)), help="when that was, ISO 8601 with Z; null: no clock"),
        Field("priority", Choice(*sorted(LEVELS.values())), help="as syslog has it: 3 error, 4 warning, 6 information"),
        Field("text", Text(KEPT_LENGTH)),
    )
    return Object(
        Field("lines", ListOf(line, KEPT), help="those after `since` that are still kept, the oldest first"),
        Field("lost", UINT32, help="lines after `since` that are kept no more"),
        Field("last", UINT32, help="number of the last line, to ask for what comes after it"),
    )


def _version() -> Object:
    """Model and firmware."""
    return Object(*_version_fields())


def _identity() -> Object:
    """Model, firmware and this one device."""
    return Object(
        *_version_fields(),
        Field("manufacturer", Text(64)),
        Field("mac", Text(17), help="lower-case colon form"),
        Field("uniqueMac", Boolean()),
        Field("pubKey", Nullable(Base64(32, 32)), help="the device's X25519 public key"),
    )


async def version(call: Call) -> dict:
    """GET /api/version/"""
    return call.services.identity.version()


async def identify(call: Call) -> dict:
    """GET /api/identify/"""
    return call.services.identity.full()


async def log(call: Call) -> dict:
    """GET /api/log/"""
    since = call.query["since"]
    lines = LOG.since(since)
    utc = call.services.clock.utc_iso_ago
    return {
        "lines": [
            {"number": number, "secAgo": age // 1000, "utc": utc(age / 1000), "priority": priority, "text": text}
            for number, age, priority, text in lines
        ],
        "lost": max(0, LOG.count - since - len(lines)),
        "last": LOG.count,
    }


async def reboot(call: Call) -> JsonResponse:
    """POST /api/cmd/reboot/"""
    answer = JsonResponse({})
    answer.after_sent = lambda: call.services.request_restart("REBOOT")
    return answer


ENDPOINTS = (
    Endpoint("GET", "/api/version/", 0, "Device firmware version", version, _version),
    Endpoint("GET", "/api/identify/", 1, "Physical device identification", identify, _identity),
    Endpoint(
        "GET",
        "/api/log/",
        1,
        "The last lines of the log",
        log,
        _log,
        query=Parameters(Field("since", UINT32, 0, help="number of the last line that is known already")),
    ),
    Endpoint("POST", "/api/cmd/reboot/", 1, "Reboot device", reboot, nothing),
)
