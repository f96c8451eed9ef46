"""A board that runs MicroPython: its identity from the board config."""

import gc

from hal.contracts import System
from hal.fields import Boolean, Field, Integer, Object, Text


class MicroPythonSystem(System):
    """A microcontroller, or MicroPython's unix port."""

    OPTIONS = Object(
        Field("device", Text(64, 1), "MC252"),
        Field("deviceId", Integer(0, 0xFFFFFFFF), 252),
        Field("firmwareType", Integer(0, 0xFFFFFFFF), 2),
        Field("manufacturer", Text(64, 1), "mc252-firmware"),
        Field("mac", Text(17, 17), "02:00:00:00:02:53"),
        Field("uniqueMac", Boolean(), False),
        Field(
            "factoryLogin",
            Object(Field("username", Text(64, 1)), Field("password", Text(64, 1))),
            None,
            help="login that the device has when it leaves the factory; none: only the button lets in",
        ),
    )

    def __init__(self, options: dict, state_dir: str):
        self._options = options

    def identity(self) -> dict:
        """Who the board is; it has no key pair."""
        names = ("device", "deviceId", "firmwareType", "manufacturer", "mac", "uniqueMac")
        identity = {name: self._options[name] for name in names}
        identity["pubKey"] = None
        return identity

    def factory_login(self) -> "tuple[str, str] | None":
        """The login of the board config."""
        login = self._options["factoryLogin"]
        return None if login is None else (login["username"], login["password"])

    def memory_free(self) -> "int | None":
        """Bytes free on the heap."""
        return gc.mem_free()  # type: ignore[attr-defined]
