"""A board whose identity stands in its board config: what the simulated board and MicroPython boards share."""

from hal.contracts import System
from hal.fields import Boolean, Field, Integer, Object, Text

_IDENTITY = ("device", "deviceId", "firmwareType", "manufacturer", "mac", "uniqueMac")

FIELDS = (  # of the config of all such systems
    Field("device", Text(64, 1), "MC252"),
    Field("deviceId", Integer(0, 0xFFFFFFFF), 252),
    Field("firmwareType", Integer(0, 0xFFFFFFFF), 1),
    Field("manufacturer", Text(64, 1), "mc252-firmware"),
    Field("uniqueMac", Boolean(), False),
    Field(
        "factoryLogin",
        Object(Field("username", Text(64, 1)), Field("password", Text(64, 1))),
        None,
        help="login that the device has when it leaves the factory; none: only the button lets in",
    ),
)


class ConfiguredSystem(System):
    """Base of systems that take their identity and factory login from the config."""

    OPTIONS = Object(*FIELDS, Field("mac", Text(17, 17), "02:00:00:00:02:52", help="lower-case colon form"))

    def __init__(self, options: dict, state_dir: str):
        self._options = options
        self._state_dir = state_dir

    def identity(self) -> dict:
        """Who the board is, by its config."""
        identity = {name: self._options[name] for name in _IDENTITY}
        identity["pubKey"] = self._public_key()
        return identity

    def factory_login(self) -> tuple[str, str] | None:
        """The login of the board config."""
        login = self._options["factoryLogin"]
        return None if login is None else (login["username"], login["password"])

    def _public_key(self) -> str | None:
        """Base64 of the device's public key; None where it has no key pair."""
        return None
