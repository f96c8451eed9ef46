"""How long exchanges take on the line, counted by size."""

BOUNDS_MS = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class ExchangeTimes:
    """Counts of times up to each bound, and of greater ones; and their sum."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_MS) + 1)
        self._sum = 0

    def add(self, ms: int) -> None:
        """Count one exchange of so many milliseconds."""
        self._sum += ms
        for index, bound in enumerate(BOUNDS_MS):
            if ms <= bound:
                self._counts[index] += 1
                return
        self._counts[-1] += 1

    def state(self) -> dict:
        """{"counts": one for each bound and one for what is greater, "sum": milliseconds}."""
        return {"counts": list(self._counts), "sum": self._sum}
