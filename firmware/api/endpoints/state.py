"""The device's state."""

from firmware.api.call import Call, Keys
from firmware.api.endpoint import Endpoint
from firmware.services.system.state_table import STATE, STATE_KEYS
from hal.fields import Field, Nullable, Object


def _state() -> Object:
    """Each key that was asked for. A part that fails makes its key null, whatever it is."""
    return Object(*[Field(key.name, Nullable(key.kind()), None, key.help) for key in STATE])


async def state_get(call: Call) -> dict:
    """GET /api/state/get/"""
    state = await call.device.state.get(call.query)
    if "access" in state:
        state["access"]["level"] = call.level
    return state


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/state/get/",
        1,
        "Current device state by key, or all",
        state_get,
        _state,
        query=Keys(STATE_KEYS),
    ),
)
