"""A board that runs MicroPython."""

import gc

from hal.configured_system import ConfiguredSystem


class MicroPythonSystem(ConfiguredSystem):
    """A microcontroller, or MicroPython's unix port. It has no key pair."""

    def memory_free(self) -> int | None:
        """Bytes free on the heap."""
        return gc.mem_free()  # type: ignore[attr-defined]
