"""Files on the SD card that stay open between two blocks which are read."""

from hal.runtime.annotations import BinaryIO, Callable

_READERS_MAX = 4
_READER_AGE = 2000  # milliseconds: then it is looked up anew, somebody else may have put another file in its place


class Readers:
    """The files read last, by their path."""

    def __init__(self, clock: Callable[[], int]):
        self._clock = clock
        self._open: list[
            tuple[list[str], int, BinaryIO]
        ] = []  # (names of the path, when it was opened, file), the one opened last at the end

    def get(self, names: list[str]) -> BinaryIO | None:
        """The file at a path, where it was opened a moment ago, or None."""
        for reader in self._open:
            if reader[0] == names:
                if self._clock() - reader[1] <= _READER_AGE:
                    return reader[2]
                self._open.remove(reader)
                close_anyway(reader[2])
                break
        return None

    def keep(self, names: list[str], file: BinaryIO) -> BinaryIO:
        """The file, which stays open; another one gives way."""
        if len(self._open) >= _READERS_MAX:
            close_anyway(self._open.pop(0)[2])
        self._open.append((names, self._clock(), file))
        return file

    def close(self) -> None:
        """Close them all."""
        for reader in self._open:
            close_anyway(reader[2])
        self._open = []


def close_anyway(file: BinaryIO) -> None:
    """Close a file, whatever becomes of it."""
    try:
        file.close()
    except OSError:
        pass  # the card is gone: whatever was to be kept has been synced before
