"""The trace of the bus: what every exchange was, kept for whoever asks later, told to whoever follows."""

import asyncio

from firmware.services.bus.transaction import Transaction
from firmware.services.time.local_time import iso
from firmware.services.trace.entry import FORWARD, Entry, fits, unpacked
from firmware.services.trace.ring import Cursor, Ring
from hal.rs485.exchange import Exchange
from hal.rs485.framing import ASCII
from hal.runtime import json_dumps, now_us
from hal.runtime.annotations import Callable, Iterator

PAGE_LIMIT = 200  # entries of one page

_TOGETHER = 8  # entries that are made into text at once
_TURN = 128  # records that are looked at before others have their turn
_STEADY_US = 2000  # how far the clocks may seem to drift before the times of entries follow


class BusTrace:
    """Keeps the exchanges in `size` bytes. `utc()` gives milliseconds UTC, None where nobody knows them.

    `news` is set whenever there is a new entry.
    """

    def __init__(self, size: int, utc: Callable[[], int | None], clock: Callable[[], int] = now_us):
        self.ring = Ring(size)
        self.news = asyncio.Event()
        self._record_max = size // 4
        self._utc = utc
        self._clock = clock
        self._second = -1  # the one whose text is kept
        self._second_text = ""
        self._ahead: int | None = None  # microseconds that UTC is ahead of the firmware's clock

    # What tells it

    def exchange(self, transaction: Transaction, pdu: bytes, exchange: Exchange | None) -> None:
        """An exchange on the line has ended; None: the transaction ended without one."""
        if exchange is None or not exchange.began:
            now = self._clock()
            entry = Entry(transaction.lane, transaction.origin, now, transaction.uid, pdu)
            entry.queued_ms = max(0, now // 1000 - transaction.queued)
            entry.cause = transaction.error if exchange is None else exchange.error
        else:
            entry = Entry(transaction.lane, transaction.origin, exchange.began, transaction.uid, pdu)
            entry.queued_ms = max(0, transaction.asked - transaction.queued)
            _describe(entry, exchange)
        entry.shared = len(transaction.sharers)
        self.add(entry)

    def forwarded(self, transaction: Transaction) -> None:
        """A transaction that went to a server has ended."""
        entry = Entry(FORWARD, transaction.origin, transaction.queued * 1000, transaction.uid, transaction.pdu)
        entry.answer = transaction.answer
        entry.cause = transaction.error
        entry.line_us = int(transaction.elapsed * 1000000)
        entry.first_us = entry.line_us if entry.answer else None
        self.add(entry)

    def add(self, entry: Entry) -> None:
        """Keep an entry."""
        self.ring.add(entry.packed(self._record_max))
        self.news.set()

    # What asks it

    def state(self) -> dict:
        """{"first", "last"}: numbers of the oldest entry kept and of the newest, 0 where there is none."""
        none = self.ring.first > self.ring.last
        return {"first": 0 if none else self.ring.first, "last": self.ring.last}

    async def page(self, since: int | None, uid: int | None, errors: bool, limit: int) -> dict:
        """{"first", "last", "lost", "next", "entries"}, these packed, with their numbers: at most `limit` entries after
        the number `since`, the oldest first; without a number the newest ones. `uid` and `errors` select; `lost`
        entries after `since` are kept no more, and `next` is where the next page goes on."""
        cursor = Cursor(self.ring, 0 if since is None else since)
        found: list = []
        looked = 0
        record = cursor.next()
        while record is not None:
            if fits(record, uid, errors):
                found.append((cursor.after, record))
                if since is None and len(found) > limit:
                    found.pop(0)
                elif since is not None and len(found) == limit:
                    break
            looked += 1
            if looked % _TURN == 0:
                await asyncio.sleep(0)
            record = cursor.next()
        lost = 0 if since is None else cursor.lost
        return dict(self.state(), lost=lost, next=cursor.after, entries=found)

    def page_parts(self, page: dict) -> Iterator[str]:
        """The JSON text of a page, in parts: a board has no room for all of it."""
        entries = page.pop("entries")
        yield json_dumps(page)[:-1] + ', "entries": ['
        for start in range(0, len(entries), _TOGETHER):
            yield (", " if start else "") + self.json_of(entries[start : start + _TOGETHER])
        yield "]}"

    def json_of(self, records: list[tuple[int, bytes]]) -> str:
        """The JSON text of entries that are packed, separated by commas."""
        return ", ".join([json_dumps(self.shown(unpacked(number, record))) for number, record in records])

    def shown(self, entry: Entry) -> dict:
        """An entry as the API shows it."""
        return entry.shown(self.time_of(entry.at))

    def time_of(self, at: int) -> str | None:
        """UTC time of an instant of the firmware's clock, ISO 8601 with microseconds; None where nobody knows it."""
        moment = self.utc_us(at)
        if moment is None:
            return None
        second = moment // 1000000
        if second != self._second:  # entries come many a second, and a date takes long to compute
            self._second, self._second_text = second, iso(second * 1000)
        return f"{self._second_text}.{moment % 1000000:06d}Z"

    def utc_us(self, at: int) -> int | None:
        """Microseconds UTC of an instant of the firmware's clock; None where nobody knows it."""
        utc = self._utc()
        if utc is None:
            return None
        ahead = utc * 1000 - self._clock()
        if self._ahead is None or abs(ahead - self._ahead) > _STEADY_US:
            self._ahead = ahead
        return at + self._ahead


def _describe(entry: Entry, exchange: Exchange) -> None:
    """What came of a question that was asked."""
    entry.line_us = exchange.ended - exchange.began
    entry.answer = exchange.pdu or exchange.odd
    entry.cause = exchange.error
    entry.thrown = exchange.thrown
    line = exchange.line
    if line is not None:
        entry.line = (line.baud_rate, line.char_format, line.frame_mode)
    if exchange.first:
        size = len(entry.question) + 3 if line is None or line.frame_mode != ASCII else 2 * len(entry.question) + 7
        sent_us = 0 if line is None else line.wire_us(size)  # none: counted from the last byte already
        entry.first_us = max(0, exchange.first - exchange.began - sent_us)
    if exchange.error is None and entry.answer and entry.answer[0] & 0x80:
        entry.cause = "EXCEPTION"
    elif exchange.error == "FOREIGN":
        entry.heard_uid = exchange.frames[0][0]
    elif exchange.error == "TIMEOUT" and exchange.hurried:
        entry.cause = "HURRIED"
