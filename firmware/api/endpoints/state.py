"""The device's state."""

from firmware.api.call import Call, Keys
from firmware.api.endpoint import Anything, Endpoint
from firmware.services.system.state import STATE_KEYS


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
        Anything,
        query=Keys(STATE_KEYS),
    ),
)
