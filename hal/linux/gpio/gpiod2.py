"""A GPIO line through version 2 of the Python package `gpiod`."""

from types import ModuleType

_EVENTS_KEPT = 256  # edges that the kernel keeps for us; of more the oldest are lost


def has(gpiod: ModuleType, path: str, name: str) -> bool:
    """Whether a chip has a line of this name: the chips' own numbers change from kernel to kernel."""
    with gpiod.Chip(path) as chip:
        try:
            chip.line_offset_from_id(name)
        except (OSError, ValueError):
            return False
    return True


class Pin:
    """One line that is held: one that is driven, or one whose edges are heard. OSError; ValueError for no such line."""

    def __init__(self, gpiod: ModuleType, chip: str, line: int | str, active_low: bool, output: bool):
        kind = gpiod.line
        if output:
            settings = {"direction": kind.Direction.OUTPUT, "output_value": kind.Value.INACTIVE}
        else:
            pull = kind.Bias.PULL_UP if active_low else kind.Bias.PULL_DOWN
            settings = {"direction": kind.Direction.INPUT, "edge_detection": kind.Edge.BOTH, "bias": pull}
        config = {line: gpiod.LineSettings(active_low=active_low, **settings)}
        self._request = gpiod.request_lines(chip, config, consumer="mc252", event_buffer_size=_EVENTS_KEPT)
        self._line = line
        self._output = output
        self._inactive, self._active = kind.Value.INACTIVE, kind.Value.ACTIVE
        self._rising = gpiod.EdgeEvent.Type.RISING_EDGE

    def drive(self, active: bool) -> None:
        """Set the line. OSError."""
        self._request.set_value(self._line, self._active if active else self._inactive)

    def fileno(self) -> int:
        """Readable when edges have come."""
        descriptor: int = self._request.fd
        return descriptor

    def is_active(self) -> bool:
        """The level now. OSError."""
        return bool(self._request.get_value(self._line) == self._active)

    def edges(self) -> list[tuple[int, bool]]:
        """(milliseconds of `now_ms`, whether the line became active) of each edge since. OSError."""
        return [
            (event.timestamp_ns // 1000000, event.event_type == self._rising)
            for event in self._request.read_edge_events()
        ]

    def release(self) -> None:
        """Give the line back, one that is driven as inactive. OSError."""
        try:
            if self._output:
                self.drive(False)
        finally:
            self._request.release()
