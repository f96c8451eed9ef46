"""Calls of the API's handlers without HTTP."""

from types import SimpleNamespace


def call(services, body=None, query=None):
    """A call by somebody who is logged in; `services` are those that the handler uses, by name."""
    return SimpleNamespace(
        services=SimpleNamespace(**services), body=body, query=query, token="test", address="127.0.0.1", level=1
    )
