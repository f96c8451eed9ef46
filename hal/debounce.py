"""The debounce of a push button: what of a stream of edges is a press."""

DEBOUNCE_MS = 10  # contacts bounce for less, nobody presses that short


class Debounce:
    """Finds presses in a stream of edges.

    A level counts when it has held for `hold`, so spikes are no presses. Times are those at which the edges happened,
    not those at which they are told: a press is found even where all its edges are told after its end. All are integers
    in the unit of `hold`. `pressed` is the level at first; a button that is down then counts when it is pressed anew.
    """

    def __init__(self, pressed: bool, hold: int = DEBOUNCE_MS):
        self._hold = hold
        self._settled = pressed
        self._level = pressed
        self._since: int | None = None  # time of the last edge, None when its level has settled

    def edge(self, at: int, pressed: bool) -> bool:
        """The level changed; True where the one before had become a press."""
        press = self.settle(at)
        self._level = pressed
        self._since = at
        return press

    def settle(self, now: int) -> bool:
        """No edge has come up to now; True where the level has become a press by that."""
        if self._since is None or now - self._since < self._hold:
            return False
        self._since = None
        if self._level == self._settled:
            return False
        self._settled = self._level
        return self._settled

    def due(self) -> int | None:
        """When `settle` is next of use, None: not before the next edge."""
        return None if self._since is None else self._since + self._hold
