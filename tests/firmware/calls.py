"""Calls of the API's handlers without HTTP."""

from types import SimpleNamespace


def call(services, body=None, query=None, address="127.0.0.1"):
    """A call by somebody who is logged in; `services` are those that the handler uses, by name."""
    services = SimpleNamespace(**services)
    return SimpleNamespace(
        services=services, body=body, query=query, address=address, token="test", welcome=lambda: None
    )
