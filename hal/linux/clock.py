"""The system clock and the RTC of a Linux board."""

import calendar
import fcntl
import os
import struct
import time

from hal.contracts import Clock, NotPermitted, PartError
from hal.fields import Choice, Field, Nullable, Object, Text
from hal.linux import libc
from hal.linux.device_node import require_soldered
from hal.runtime import log

RTC_RD_TIME = 0x80247009  # linux/rtc.h
RTC_SET_TIME = 0x4024700A

_RTC_TIME = struct.Struct("9i")  # seconds, minutes, hours, day, month from 0, year - 1900, week day, year day, DST
_YEARS = (2024, 2099)  # an RTC that says another year has lost its battery


class LinuxClock(Clock):
    """System clock by clock_settime(2), RTC by the ioctls of rtc(4).

    With `setBy` "system" a time service such as chrony or systemd-timesyncd keeps both, and the firmware only reads.
    """

    OPTIONS = Object(
        Field("rtc", Nullable(Text(255, 1)), None, help="path of the RTC, such as /dev/rtc0; null: the board has none"),
        Field("setBy", Choice("firmware", "system"), "firmware", help="who sets the clock: firmware or time service"),
    )

    def __init__(self, options: dict, state_dir: str):
        self._rtc: str | None = options["rtc"]
        self._by_firmware = options["setBy"] == "firmware"
        if self._rtc is not None:
            require_soldered("clock.rtc", self._rtc)

    async def start(self) -> None:
        """See whether the clock may be set, and set it by the RTC where it is behind. NotPermitted with what to do."""
        self._require_privilege()
        if self._by_firmware and self._rtc is not None:
            self._catch_up(self._rtc)

    async def probe(self) -> str:
        """The system clock, and how far the RTC is from it."""
        self._require_privilege()
        text = time.strftime("system clock %Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time()))
        if self._rtc is None:
            return text + ", no RTC"
        return f"{text}, RTC {round(self._read(self._rtc) - time.time()):+d} s"

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z by the system clock."""
        return int(time.time() * 1000)

    def set(self, moment: int) -> None:
        """Set the system clock and the RTC, that to the whole second. PartError where the RTC alone fails."""
        if not self._by_firmware:
            raise NotPermitted("the clock of this board is kept by the system's own time service")
        self._set_system(moment / 1000)
        if self._rtc is not None:
            self._write(self._rtc, moment / 1000)

    def _require_privilege(self) -> None:
        if self._by_firmware and not libc.may_set_clock():
            raise NotPermitted(
                "clock: this process may not set the system clock: give it the capability CAP_SYS_TIME, "
                'or have the system keep the time: "setBy": "system" in the board config'
            )

    def _catch_up(self, rtc: str) -> None:
        try:
            moment = self._read(rtc)
        except NotPermitted:
            raise
        except PartError as exc:
            log(f"clock: {exc}")  # an empty battery must not keep the device down
            return
        if moment > time.time() + 1:
            self._set_system(moment)

    def _set_system(self, seconds: float) -> None:
        try:
            time.clock_settime(time.CLOCK_REALTIME, seconds)
        except PermissionError as exc:
            raise NotPermitted("this process may not set the system clock: it lacks CAP_SYS_TIME") from exc
        except (OSError, OverflowError) as exc:
            raise PartError(f"the system clock cannot be set: {exc}") from exc

    def _read(self, rtc: str) -> float:
        raw = bytearray(_RTC_TIME.size)
        self._ioctl(rtc, RTC_RD_TIME, raw)
        second, minute, hour, day, month, year, *_ = _RTC_TIME.unpack(raw)
        if not _YEARS[0] <= year + 1900 <= _YEARS[1]:
            raise PartError(f"the RTC {rtc} has lost the time: it says year {year + 1900}")
        return float(calendar.timegm((year + 1900, month + 1, day, hour, minute, second)))

    def _write(self, rtc: str, seconds: float) -> None:
        moment = time.gmtime(round(seconds))
        fields = (moment.tm_sec, moment.tm_min, moment.tm_hour, moment.tm_mday, moment.tm_mon - 1)
        self._ioctl(rtc, RTC_SET_TIME, bytearray(_RTC_TIME.pack(*fields, moment.tm_year - 1900, 0, 0, 0)))

    def _ioctl(self, rtc: str, number: int, raw: bytearray) -> None:
        try:
            descriptor = os.open(rtc, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(descriptor, number, raw)
            finally:
                os.close(descriptor)
        except PermissionError as exc:
            raise NotPermitted(f"clock: this process may not use the RTC {rtc}: {exc.strerror}") from exc
        except OSError as exc:
            raise PartError(f"the RTC {rtc} fails: {exc.strerror}") from exc
