"""The device as a whole: who it is, and its restart."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import UINT32, nothing
from firmware.http.messages.answers import JsonResponse
from hal.fields import Base64, Boolean, Field, Nullable, Object, Text


def _version_fields() -> tuple[Field, ...]:
    return (
        Field("device", Text(64), help="device model"),
        Field("deviceId", UINT32),
        Field("firmwareType", UINT32),
        Field("firmwareVer", UINT32, help="counts up with every release"),
        Field("releaseDate", Text(32), help="ISO 8601 without zone"),
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


async def reboot(call: Call) -> JsonResponse:
    """POST /api/cmd/reboot/"""
    answer = JsonResponse({})
    answer.after_sent = lambda: call.services.request_restart("REBOOT")
    return answer


ENDPOINTS = (
    Endpoint("GET", "/api/version/", 0, "Device firmware version", version, _version),
    Endpoint("GET", "/api/identify/", 1, "Physical device identification", identify, _identity),
    Endpoint("POST", "/api/cmd/reboot/", 1, "Reboot device", reboot, nothing),
)
