"""The clock."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import nothing, outcome
from hal.fields import Choice, Field, Nullable, Number, Object, Text


async def time_set(call: Call) -> dict:
    """POST /api/cmd/time/set/"""
    call.services.clock.set(call.body["datetime"])
    return {}


async def time_sync(call: Call) -> dict:
    """POST /api/cmd/time/sync/"""
    error, offset = await call.services.clock.sync()
    return dict(outcome(error), offsetMs=offset)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cmd/time/set/",
        1,
        "Set time",
        time_set,
        nothing,
        body=Object(Field("datetime", Text(64, 1), help="ISO 8601; without zone: device local time")),
        errors=("NO_CLOCK", "NOT_PERMITTED"),
    ),
    Endpoint(
        "POST",
        "/api/cmd/time/sync/",
        1,
        "Time synchronization",
        time_sync,
        lambda: Object(
            Field("status", Choice("DONE", "ERROR")),
            Field("errorCode", Nullable(Text(64))),
            Field("offsetMs", Nullable(Number(-1e15, 1e15)), help="how far the clock was behind"),
        ),
        errors=("NO_CLOCK",),
    ),
)
