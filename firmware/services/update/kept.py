"""What updates must know over restarts, in one small document: numbers seen, bytes spent, the highest time."""

import asyncio

from firmware.services.settings.document_store import DocumentStore
from hal.runtime import log, offload


class Kept:
    """A document of names and plain values. `store` is a DocumentStore; a damaged one counts as empty."""

    def __init__(self, store: DocumentStore):
        self._store = store
        self._values: dict = store.load()[0] or {}
        self._turn = asyncio.Lock()

    def number(self, name: str) -> int:
        """A whole number, 0 where none was kept."""
        value = self._values.get(name)
        return value if isinstance(value, int) else 0

    def text(self, name: str) -> str:
        """A text, empty where none was kept."""
        value = self._values.get(name)
        return value if isinstance(value, str) else ""

    async def keep(self, **values: int | str) -> None:
        """Store values beside the others; where that fails they are kept until the next start, and it is logged."""
        async with self._turn:
            self._values = dict(self._values, **values)
            try:
                await offload(self._store.save, self._values)
            except OSError as exc:
                log(f"update: cannot be stored: {exc}")
