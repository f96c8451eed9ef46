"""The device's state."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import Named, type_name
from firmware.api.query import Keys
from firmware.services.system.state_table import STATE, STATE_KEYS, StateKey
from hal.fields import Field, Nullable, Object


def _state() -> Named:
    """The keys that were asked for."""
    return Named("State", lambda: Object(*[_key(key) for key in STATE]))


def _key(key: StateKey) -> Field:
    """A part that fails makes its key null, whatever it is."""
    return Field(key.name, Nullable(Named(type_name("State", key.name), key.kind)), None, key.help)


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
