"""A board that runs MicroPython."""

import gc

from hal.configured_system import FIELDS, ConfiguredSystem
from hal.fields import Field, Integer, Nullable, Object, Text
from hal.runtime import log, sha256
from hal.runtime.annotations import Any
from hal.small_file import read_whole, write_whole

POWER_ON, CRASH = "POWER_ON", "CRASH"

_REASON_FILE = "restart-reason"
_LONGEST = 64
_LONGEST_WATCHDOG_MS = 8388  # that an RP2040 can be told


class MicroPythonSystem(ConfiguredSystem):
    """A microcontroller. It has no key pair: whoever has its flash memory would have the key.

    With `watchdogMs` the board restarts itself where the device does not feed it so long; nothing but a restart ends
    that.
    """

    OPTIONS = Object(
        *FIELDS,
        Field("mac", Nullable(Text(17, 17)), None, help="lower-case colon form; null: made of the chip's own number"),
        Field("watchdogMs", Nullable(Integer(1000, _LONGEST_WATCHDOG_MS)), None, help="null: nobody watches"),
        Field("traceBytes", Integer(1024, 1 << 24), 4096, help="memory for the trace of the bus"),
    )

    def __init__(self, options: dict, state_dir: str):
        import machine  # here, so that what the driver takes can be told where there is none

        super().__init__(options, state_dir)
        self._machine = machine
        self._watchdog: Any = None
        self._reason = POWER_ON

    async def start(self) -> None:
        """Learn why the device has started."""
        machine = self._machine
        crashed = machine.reset_cause() == machine.WDT_RESET
        path = self._state_dir + "/" + _REASON_FILE
        try:
            reason = read_whole(path)[:_LONGEST]
            write_whole(path, "")  # rather than removed: then the next one always has room
        except (OSError, ValueError):
            reason = ""
        self._reason = reason or (CRASH if crashed else POWER_ON)

    async def probe(self) -> str:
        """The MAC, and the chip's number."""
        return f"MAC {self._mac()[0]}, chip {self._machine.unique_id().hex()}"

    def identity(self) -> dict:
        """Who the board is, by its config and its chip."""
        identity = super().identity()
        identity["mac"], identity["uniqueMac"] = self._mac()
        return identity

    def _mac(self) -> tuple[str, bool]:
        """(MAC, whether it is unique in the world); one made of the chip's number where that is none."""
        if self._options["mac"] is not None:
            return self._options["mac"], self._options["uniqueMac"]
        number = self._machine.unique_id()
        is_mac = len(number) == 6 and not number[0] & 3  # IEEE 802, section 8.2: neither a group's nor a local one
        mac = number if is_mac else b"\x02" + sha256(number)[:5]
        return ":".join([f"{byte:02x}" for byte in mac]), is_mac

    def trace_bytes(self) -> int:
        """As the board config says."""
        size: int = self._options["traceBytes"]
        return size

    def memory_free(self) -> int | None:
        """Bytes free on the heap, what nobody needs any more collected."""
        gc.collect()
        return gc.mem_free()  # type: ignore[attr-defined]

    def start_reason(self) -> str:
        """POWER_ON, what the last restart was told, or CRASH where the watchdog made it."""
        return self._reason

    def watchdog_sec(self) -> float | None:
        """By the board config."""
        milliseconds = self._options["watchdogMs"]
        return None if milliseconds is None else milliseconds / 1000

    def ready(self) -> None:
        """The watchdog watches from now on."""
        if self._options["watchdogMs"] is not None:
            self._watchdog = self._machine.WDT(timeout=self._options["watchdogMs"])

    def feed(self) -> None:
        """Keep the watchdog quiet."""
        if self._watchdog is not None:
            self._watchdog.feed()

    def restart(self, reason: str) -> None:
        """Reset the chip, the reason kept where there is room for it."""
        try:
            write_whole(self._state_dir + "/" + _REASON_FILE, reason)
        except OSError as exc:
            log(f"why the device restarts cannot be stored: {exc}")
        self._machine.reset()
