"""The board itself on Linux: who it is, how it feels, how it restarts."""

import glob
import hashlib
import os

from hal.contracts import NotPermitted
from hal.fields import BadField, Field, Integer, Object, Text
from hal.linux import libc
from hal.linux.host import systemd
from hal.linux.host.device_key import public_key
from hal.linux.host.factory_login import read_login
from hal.linux.host.restart_reason import forget_reason, keep_reason, note_end, take_reason
from hal.linux.host.supervisor import SupervisedSystem

_NET = "/sys/class/net"
_THERMAL = "/sys/class/thermal"
_MEMORY = "/proc/meminfo"
_SERIAL_FILES = (  # where boards tell their serial number; the last one is the installation's
    "/proc/device-tree/serial-number",
    "/sys/devices/soc0/serial_number",
    "/sys/class/dmi/id/product_serial",
    "/etc/machine-id",
)
_CPU_SENSORS = ("cpu", "soc", "x86_pkg_temp")


class LinuxSystem(SupervisedSystem):
    """A machine of its own, which restarts as a whole."""

    OPTIONS = Object(
        Field("device", Text(64, 1), "MC252"),
        Field("deviceId", Integer(0, 0xFFFFFFFF), 252),
        Field("firmwareType", Integer(0, 0xFFFFFFFF), 1),
        Field("manufacturer", Text(64, 1), "mc252-firmware"),
        Field("interface", Text(15), "", help="interface whose MAC is the device's; empty: the first on the board"),
    )

    def __init__(self, options: dict, state_dir: str):
        self._options = options
        self._state_dir = state_dir
        self._reason = "POWER_ON"
        interface = options["interface"]
        if interface and not os.path.exists(os.path.join(_NET, interface)):
            raise BadField(f"system.interface: this machine has no interface {interface}")

    async def start(self) -> None:
        """Learn why the device has started."""
        self._reason = take_reason(self._state_dir)

    async def stop(self) -> None:
        """Note that it was stopped."""
        note_end(self._state_dir)

    async def probe(self) -> str:
        """The MAC, and the serial number where the board has one."""
        mac, unique = self._mac()
        return f"MAC {mac}{'' if unique else ' (not unique)'}, serial number {serial_number() or 'unknown'}"

    def identity(self) -> dict:
        """Who the board is; the key pair is made at the first call."""
        identity = {name: self._options[name] for name in ("device", "deviceId", "firmwareType", "manufacturer")}
        identity["mac"], identity["uniqueMac"] = self._mac()
        identity["pubKey"] = public_key(self._state_dir)
        return identity

    def factory_login(self) -> tuple[str, str] | None:
        """The login that `mc252 provision` has made."""
        return read_login(self._state_dir)

    def memory_free(self) -> int | None:
        """Bytes that the kernel thinks can be allocated."""
        with open(_MEMORY) as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
        return None

    def cpu_temperature(self) -> float | None:
        """Degrees Celsius of the processor's sensor, or of the first one there is."""
        zones = sorted(glob.glob(os.path.join(_THERMAL, "thermal_zone*")))
        zones.sort(key=lambda zone: not any(name in (_read(zone, "type") or "").lower() for name in _CPU_SENSORS))
        for zone in zones:
            text = _read(zone, "temp")
            if text is not None:
                return int(text) / 1000
        return None

    def start_reason(self) -> str:
        """POWER_ON, or what the last restart was told."""
        return self._reason

    def restart(self, reason: str) -> None:
        """Restart the machine: through systemd where it runs, by reboot(2) elsewhere. NotPermitted."""
        keep_reason(self._state_dir, reason)
        try:
            if systemd.runs():
                systemd.ask("systemctl", "--no-wall", "reboot")
            else:
                os.sync()
                libc.reboot()
        except OSError as exc:
            forget_reason(self._state_dir)
            raise NotPermitted(
                f"the machine cannot be restarted: {exc.strerror}; this process needs the capability CAP_SYS_BOOT, "
                "or the right to org.freedesktop.login1.reboot by a rule of polkit"
            ) from exc

    def _mac(self) -> tuple[str, bool]:
        """(MAC, whether it is unique in the world); one made of the serial number where there is no interface."""
        name = self._options["interface"] or board_interface()
        mac = name and _read(os.path.join(_NET, name), "address")
        if mac and mac != "00:00:00:00:00:00":
            local = int(mac[:2], 16) & 2  # IEEE 802, section 8.2.2: administered locally
            return mac, not local and _read(os.path.join(_NET, name), "addr_assign_type") == "0"
        digest = hashlib.sha256((serial_number() or "").encode()).digest()
        return ":".join(f"{byte:02x}" for byte in b"\x02" + digest[:5]), False


def board_interface() -> str:
    """Name of the first network interface with hardware behind it, wired ones before others; empty: there is none."""
    names = [name for name in sorted(os.listdir(_NET)) if os.path.exists(os.path.join(_NET, name, "device"))]
    names.sort(key=lambda name: os.path.exists(os.path.join(_NET, name, "wireless")))
    return names[0] if names else ""


def serial_number() -> str | None:
    """The board's serial number, or what else tells it from its like."""
    for path in _SERIAL_FILES:
        text = _read(*os.path.split(path))
        if text:
            return text
    return None


def _read(folder: str, name: str) -> str | None:
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip("\0\n ")
    except (OSError, ValueError):
        return None
