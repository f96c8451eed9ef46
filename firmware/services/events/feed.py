"""Whoever follows the device's life gets it from here: one look at the state for all, one text of the trace for all.

Nothing is queued for anybody. A follower knows what it has told its client and makes the next event from what is there
when the client takes one: one that reads slowly gets the newest state, and of the trace what the ring still has, with
the number of entries that it has missed.
"""

import asyncio

from firmware.services.access.tickets import Admission
from firmware.services.events.follower import OTHERS, SEARCHES, TRACE, Follower
from firmware.services.events.texts import event
from firmware.services.system.state import State
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.ring import Cursor
from hal.runtime import random_text, wait_until
from hal.runtime.annotations import Any, Callable
from hal.service import Service

LOOK_SEC = 1.0  # how often the state is looked at while somebody follows it
GATHER_SEC = 0.1  # for how long entries of the trace are gathered before they are told
TOGETHER = 32  # entries of the trace that are told at once


class EventFeed(Service):
    """`state` and `trace` are what is followed; `searches` is name -> function that gives how far a search is."""

    def __init__(self, state: State, trace: BusTrace, searches: dict[str, Callable[[], dict]]):
        self.trace = trace
        self.start_id = random_text(6)  # of this start, in event ids
        self.values: dict[str, Any] = {}  # what was looked at last
        self.until = 0  # up to which entry the trace is told: the newer ones are still gathered
        self.batch: tuple[int, Cursor, str] | None = None  # (after which entry it begins, where it ends, its text)
        self._state = state
        self._searches = searches
        self._followers: list[Follower] = []
        self._joined = asyncio.Event()
        self._traced = asyncio.Event()  # set while somebody follows the trace

    async def start(self) -> None:
        """Begin to look, while somebody follows."""
        self.keep_running(self._look())
        self.keep_running(self._gather())

    def follow(self, keys: list[str], admission: Admission, last_id: str | None) -> Follower:
        """A new follower of some keys, of all without any: an asynchronous iterator of events as text, which ends when
        its admission does. `last_id` is the last event's id that its client has seen. Refused UNKNOWN_KEY."""
        self._state.check_keys([key for key in keys if key not in OTHERS], OTHERS)
        follower = Follower(self, keys, admission, self._place_of(last_id))
        self._followers.append(follower)
        self._joined.set()
        if follower.follows(TRACE):
            self.until = self.trace.ring.last
            self._traced.set()
        return follower

    def leave(self, follower: Follower) -> None:
        """Somebody follows no more."""
        if follower in self._followers:
            self._followers.remove(follower)

    def count(self) -> int:
        """How many follow."""
        return len(self._followers)

    def _place_of(self, last_id: str | None) -> int:
        """The number of the entry after which a client goes on."""
        if last_id is None:
            return self.trace.ring.last
        start, _, number = last_id.rpartition("-")
        known = start == self.start_id and 0 < len(number) <= 15 and all(digit in "0123456789" for digit in number)
        return int(number) if known else 0

    # For all together

    async def _look(self) -> None:
        while True:
            if not self._followers:
                self.values = {}
                await self._joined.wait()
            self._joined.clear()
            await self._take_values()
            for follower in self._followers:
                follower.wake.set()
            await wait_until(self._joined, LOOK_SEC)

    async def _take_values(self) -> None:
        wanted = [key for key in self._state.names() if self._is_followed(key)]
        values = await self._state.get(wanted) if wanted else {}
        for name in SEARCHES:
            if self._is_followed(name):
                values[name] = self._searches[name]()
        self.values = values

    def _is_followed(self, name: str) -> bool:
        return any(follower.follows(name) for follower in self._followers)

    async def _gather(self) -> None:
        news = self.trace.news
        while True:
            if not self._is_followed(TRACE):
                self._traced.clear()
                await self._traced.wait()
            await news.wait()
            await asyncio.sleep(GATHER_SEC)
            news.clear()
            self._make_batch()
            for follower in self._followers:
                if follower.follows(TRACE):
                    follower.wake.set()

    def _make_batch(self) -> None:
        """The text of the newest entries, once for all who are that far."""
        followers = [follower for follower in self._followers if follower.follows(TRACE)]
        self.batch = None
        self.until = self.trace.ring.last
        if len(followers) > 1:
            after = max(follower.cursor.after for follower in followers)
            cursor = Cursor(self.trace.ring, after)
            text = self.text_after(cursor)
            if text and not cursor.lost:
                self.batch = (after, cursor, text)

    def text_after(self, cursor: Cursor) -> str:
        """The text of the entries after a cursor, which moves on; "" where there are none to be told yet."""
        records: list[tuple[int, bytes]] = []
        while len(records) < TOGETHER and cursor.after < self.until:
            record = cursor.next()
            if record is None:
                break
            records.append((cursor.after, record))
        if not records:
            return ""
        return event(TRACE, f"[{self.trace.json_of(records)}]", f"{self.start_id}-{cursor.after}")
