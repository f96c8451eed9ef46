"""One client that follows: what it has been told, and what it is told next."""

import asyncio

from firmware.services.access.tickets import Admission
from firmware.services.events.changes import changes, search_changes
from firmware.services.events.texts import event
from firmware.services.trace.ring import Cursor
from hal.runtime import json_dumps, wait_until
from hal.runtime.annotations import Any

TRACE = "trace"
SEARCHES = ("search", "classSearch")
OTHERS = (TRACE,) + SEARCHES  # what is followed besides the keys of the state
QUIET_SEC = 15.0  # after so long without an event a comment keeps the connection


class Follower:
    """The events for one client, as an asynchronous iterator of texts; `aclose` ends it.

    `feed` is the EventFeed that it follows; `names` what of it, all without any. `wake` is set when there may be
    something.
    """

    def __init__(self, feed: Any, names: list[str], admission: Admission, after: int):
        self.wake = asyncio.Event()
        self.cursor = Cursor(feed.trace.ring, after)
        self._feed = feed
        self._names = names
        self._admission = admission
        self._told: dict[str, Any] = {}  # name -> the value that the client knows
        self._ended = False

    def follows(self, name: str) -> bool:
        """Whether the client wants the trace, or a search."""
        return not self._names or name in self._names

    def __aiter__(self) -> "Follower":
        return self

    async def __anext__(self) -> str:
        while not self._ended:
            self.wake.clear()
            text = self._next()
            if text:
                return text
            if not await wait_until(self.wake, QUIET_SEC):
                return ":\n\n"
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """The client has gone."""
        self._ended = True
        self._feed.leave(self)

    def _next(self) -> str:
        """The next event, "" where there is none yet."""
        if not self._admission.lasts():
            self._ended = True
            return event("session", '{"reason": "ENDED"}')
        return self._of_trace() or self._of_state() or self._of_searches()

    def _of_trace(self) -> str:
        if not self.follows(TRACE):
            return ""
        batch = self._feed.batch
        if batch is not None and batch[0] == self.cursor.after:
            self.cursor.go_to(batch[1])
            text: str = batch[2]
            return text
        text = self._feed.text_after(self.cursor)
        lost, self.cursor.lost = self.cursor.lost, 0
        return event("lost", json_dumps({"lost": lost})) + text if lost else text

    def _of_state(self) -> str:
        values = self._feed.values
        news = {}
        for key in values:
            if key in SEARCHES or not self.follows(key):
                continue
            value = values[key]
            if key == "access" and value is not None:
                value = dict(value, level=self._admission.level)
            if key not in self._told or value != self._told[key]:
                news[key] = changes(self._told.get(key), value)
                self._told[key] = value
        return event("state", json_dumps(news)) if news else ""

    def _of_searches(self) -> str:
        for name in SEARCHES:
            now = self._feed.values.get(name)
            before = self._told.get(name)
            if self.follows(name) and now is not None and now != before:
                self._told[name] = now
                return event(name, json_dumps(search_changes(before, now)))
        return ""
