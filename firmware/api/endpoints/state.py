"""The device's state, as JSON and as metrics."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import Content, Named, type_name
from firmware.api.query import Keys
from firmware.http.messages.answers import Stream
from hal.fields import Field, Nullable, Object
from hal.runtime.annotations import Any


def _state() -> Named:
    """The keys that were asked for. The table is imported here: a small board needs it for documents alone."""
    from firmware.services.system.state_table import STATE

    return Named("State", lambda: Object(*[_field(key) for key in STATE]))


def _field(key: Any) -> Field:
    """A key of the table; what fails makes it null, whatever it is."""
    return Field(key.name, Nullable(Named(type_name("State", key.name), key.kind)), None, key.help)


def _names() -> tuple[str, ...]:
    from firmware.services.system.state_table import STATE_KEYS

    return STATE_KEYS


async def state_get(call: Call) -> dict:
    """GET /api/state/get/"""
    state = await call.services.state.get(call.query)
    if "access" in state:
        state["access"]["level"] = call.level
    return state


async def metrics(call: Call) -> Stream:
    """GET /metrics"""
    from firmware.services.system.metrics import CONTENT_TYPE, metrics_text

    values = await call.services.state.get([])
    return Stream(metrics_text(values, call.services.identity.version()), CONTENT_TYPE)


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/state/get/",
        1,
        "Current device state by key, or all",
        state_get,
        _state,
        query=Keys(_names),
    ),
    Endpoint(
        "GET",
        "/metrics",
        1,
        "The state as metrics in Prometheus' text format; no login from networks of httpd.metricsAllow",
        metrics,
        lambda: Content("text/plain"),
        for_readers=True,
    ),
)
