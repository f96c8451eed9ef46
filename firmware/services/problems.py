"""What is wrong with the device: services report it here, and the state key `system` lists it."""

from hal.runtime import log
from hal.runtime.logs import ERROR

LIMIT = 64  # of what is kept


class Problems:
    """Texts, each under the key by which it was reported and is withdrawn. The same key again replaces its text."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._order: list[str] = []  # of the keys; dictionaries have none everywhere

    def report(self, key: str, text: str) -> None:
        """Something is wrong; the log says it once as long as it stays the same."""
        if self._texts.get(key) == text:
            return
        if key not in self._texts:
            if len(self._order) == LIMIT:
                del self._texts[self._order.pop(0)]
            self._order.append(key)
        self._texts[key] = text
        log(text, ERROR)

    def withdraw(self, key: str) -> None:
        """What was reported under this key, if anything, is no longer so."""
        if key in self._texts:
            self._order.remove(key)
            del self._texts[key]

    def texts(self) -> list:
        """The texts, in the order in which they were first reported."""
        return [self._texts[key] for key in self._order]
