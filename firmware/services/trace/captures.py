"""The trace as a file: of what is kept now, or followed while it grows."""

from firmware.services.trace import pcapng
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.entry import Entry, fits, unpacked
from firmware.services.trace.ring import Cursor
from hal.runtime.annotations import Iterator

CSV_TYPE = "text/csv; charset=utf-8"
COLUMNS = [
    "n",
    "time",
    "atUs",
    "lane",
    "source",
    "uid",
    "func",
    "question",
    "answer",
    "cause",
    "exception",
    "heardUid",
    "queuedMs",
    "firstByteUs",
    "lineUs",
    "shared",
    "baudRate",
    "charFormat",
    "frameMode",
    "thrown",
]

_PART = 4096  # bytes that are made at once at least


class Capture:
    """Makes the bytes of a file of the trace: `kind` is "pcapng" or "csv". `about` names the program in it.

    `uid` and `errors` select entries. `cursor` says how far it is.
    """

    def __init__(
        self, trace: BusTrace, kind: str, about: str, since: int = 0, uid: int | None = None, errors: bool = False
    ):
        self.cursor = Cursor(trace.ring, since)
        self.entries = 0
        self._trace = trace
        self._kind = kind
        self._about = about
        self._uid = uid
        self._errors = errors

    def header(self) -> bytes:
        """What the file begins with."""
        if self._kind == "csv":
            return (",".join(COLUMNS) + "\r\n").encode()
        return pcapng.header(self._about)

    def next(self) -> bytes | None:
        """The bytes of the next entries, a few kilobytes at the most; None where there are no more yet."""
        part = b""
        record = self.cursor.next()
        while record is not None:
            if fits(record, self._uid, self._errors):
                self.entries += 1
                part += self._bytes_of(unpacked(self.cursor.after, record))
                if len(part) >= _PART:
                    return part
            record = self.cursor.next()
        return part or None

    def parts(self) -> Iterator[bytes]:
        """The whole file of what is kept now."""
        yield self.header()
        last = self._trace.ring.last
        while self.cursor.after < last:
            part = self.next()
            if part is None:
                return
            yield part

    def _bytes_of(self, entry: Entry) -> bytes:
        if self._kind == "csv":
            return _row(entry, self._trace.time_of(entry.at)).encode()
        utc_us = self._trace.utc_us(entry.at)
        return pcapng.packets(entry, entry.at if utc_us is None else utc_us)


def _row(entry: Entry, time: str | None) -> str:
    """A line of CSV (RFC 4180); no value holds a comma or a quote."""
    shown = entry.shown(time)
    shown["thrown"] = " ".join([f"{piece['why']}:{piece['bytes']}" for piece in shown["thrown"]])
    return ",".join(["" if shown[name] is None else str(shown[name]) for name in COLUMNS]) + "\r\n"
