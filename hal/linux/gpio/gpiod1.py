"""A GPIO line through version 1 of the Python package `gpiod`: Debian 12's python3-libgpiod, 1.6."""

from types import ModuleType
from typing import Any


def has(gpiod: ModuleType, path: str, name: str) -> bool:
    """Whether a chip has a line of this name: the chips' own numbers change from kernel to kernel."""
    with gpiod.Chip(path, gpiod.Chip.OPEN_BY_PATH) as chip:
        return chip.find_line(name) is not None


class Pin:
    """One line that is held: one that is driven, or one whose edges are heard. OSError; ValueError for no such line."""

    def __init__(self, gpiod: ModuleType, chip: str, line: int | str, active_low: bool, output: bool):
        kind = gpiod.LINE_REQ_DIR_OUT if output else gpiod.LINE_REQ_EV_BOTH_EDGES
        flags = gpiod.LINE_REQ_FLAG_ACTIVE_LOW if active_low else 0
        if not output:
            flags |= gpiod.LINE_REQ_FLAG_BIAS_PULL_UP if active_low else gpiod.LINE_REQ_FLAG_BIAS_PULL_DOWN
        self._chip = gpiod.Chip(chip, gpiod.Chip.OPEN_BY_PATH)
        try:
            self._line = _line_of(self._chip, line)
            self._line.request("mc252", kind, flags, default_val=0)
        except BaseException:
            self._chip.close()
            raise
        self._output = output
        self._rising = gpiod.LineEvent.RISING_EDGE

    def drive(self, active: bool) -> None:
        """Set the line. OSError."""
        self._line.set_value(int(active))

    def fileno(self) -> int:
        """Readable when edges have come."""
        descriptor: int = self._line.event_get_fd()
        return descriptor

    def is_active(self) -> bool:
        """The level now. OSError."""
        return bool(self._line.get_value())

    def edges(self) -> list[tuple[int, bool]]:
        """(milliseconds of `now_ms`, whether the line became active) of edges since, 16 at a time. OSError."""
        return [
            (event.sec * 1000 + event.nsec // 1000000, event.type == self._rising)
            for event in self._line.event_read_multiple()
        ]

    def release(self) -> None:
        """Give the line back, one that is driven as inactive. OSError."""
        try:
            if self._output:
                self.drive(False)
        finally:
            self._line.release()
            self._chip.close()


def _line_of(chip: Any, line: int | str) -> Any:
    found = chip.get_line(line) if isinstance(line, int) else chip.find_line(line)
    if found is None:
        raise ValueError(f"the chip has no line {line}")
    return found
