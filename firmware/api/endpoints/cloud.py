"""The connection to the cloud server."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from hal.fields import Choice, Field, Nullable, Object, Text


async def callback_reconnect(call: Call) -> dict:
    """POST /api/cmd/callback/reconnect/"""
    return await call.device.cloud.reconnect()


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cmd/callback/reconnect/",
        1,
        "Reconnect to the cloud server via Modbus",
        callback_reconnect,
        lambda: Object(Field("status", Choice("DONE", "ERROR")), Field("errorCode", Nullable(Text(64)))),
    ),
)
