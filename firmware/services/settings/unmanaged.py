"""Which settings can have no effect on a board, and why."""

from hal.contracts import Network, Part

_OF_PARTS = (("modem", "gsm", "GSM modem"), ("rs485", "serial", "RS-485 port"), ("clock", "ntp", "clock"))


def unmanaged_settings(parts: dict[str, Part | None], network: Network | None) -> dict[str, str]:
    """Key -> why, for the keys that a board has no part for, or whose part is not the firmware's to set."""
    keys = {"bodVoltage": "the voltage below which this board resets cannot be set"}
    if network is None or not network.is_managed():
        for key in ("ethernet", "wgManual"):
            keys[key] = "the network of this board is set up by its own system, not by this setting"
    if network is None:
        keys["wgCloud"] = "this board has no network of the firmware's"
    for part, key, name in _OF_PARTS:
        if parts[part] is None:
            keys[key] = f"this board has no {name}"
    return keys
