"""The device's current state, by key."""

STATE_KEYS = (
    "ethernet",
    "gsm",
    "vpn",
    "mbTcpCallback",
    "activation",
    "fwUpdate",
    "card",
    "time",
    "bus",
    "devices",
    "access",
    "system",
)


class State:
    """Asks for each key the service that knows it, and only for the keys that are wanted.

    `sources` is key -> function without arguments, plain or async, that gives the key's value.
    """

    def __init__(self, sources: dict):
        self._sources = sources

    async def get(self, keys) -> dict:
        """Key -> value; a part that the board lacks is null."""
        values = {}
        for key in keys:
            value = self._sources[key]()
            values[key] = await value if hasattr(value, "send") else value
        return values
