"""The trace as the API shows it: kinds for the documents."""

from firmware.api.kinds import UINT32, Named
from firmware.services.trace.bus_trace import PAGE_LIMIT
from firmware.services.trace.entry import CAUSES, LANES, REASONS
from hal.fields import Choice, Field, Integer, ListOf, Nullable, Object, Text


def _is_hex(text: str) -> bool:
    return len(text) % 2 == 0 and all(digit in "0123456789abcdef" for digit in text)


_NUMBER = Integer(0, 2**53)
_HEX = Text(1024, 0, (_is_hex, "lower-case hexadecimal", {"pattern": "^(?:[0-9a-f]{2})*$"}))


def _piece() -> Object:
    return Object(
        Field("why", Choice(*REASONS), help="why it was thrown away"),
        Field("bytes", _HEX, help="as they came on the line"),
    )


def _entry() -> Object:
    """One exchange."""
    return Object(
        Field("n", UINT32, help="number, counted from the start of the device"),
        Field("time", Nullable(Text(32)), help="UTC when the question began to leave, ISO 8601 with microseconds"),
        Field("atUs", _NUMBER, help="the same on the device's own clock, microseconds"),
        Field("lane", Choice(*LANES)),
        Field(
            "source", Text(64), help="who asked: http, tcp or udp and an address, cloud, ownSrv, rmSrv, search, line"
        ),
        Field("uid", Integer(0, 255)),
        Field("func", Integer(0, 127), help="function code; 0: only bytes were thrown away"),
        Field("question", _HEX, help="unit id and PDU, without checksum"),
        Field("answer", Nullable(_HEX), help="the same; null: none"),
        Field("thrown", ListOf(_piece(), 64), help="what was heard besides since the exchange before"),
        Field("cause", Nullable(Choice(*CAUSES[1:])), help="why there is no good answer; null: there is one"),
        Field("exception", Nullable(Integer(0, 255)), help="Modbus exception code"),
        Field("heardUid", Nullable(Integer(0, 255)), help="with FOREIGN: the unit that answered"),
        Field("queuedMs", UINT32, help="how long it waited for its turn"),
        Field("firstByteUs", Nullable(UINT32), help="from the question's last byte to the first one heard"),
        Field("lineUs", UINT32, help="time on the line"),
        Field("shared", Integer(0, 255), help="other requests that got the same answer"),
        Field("baudRate", Nullable(UINT32), help="line setting; null three times: not on the line"),
        Field("charFormat", Nullable(Integer(0, 5))),
        Field("frameMode", Nullable(Integer(0, 1))),
    )


def trace_entry() -> Named:
    """One exchange, as the trace and the events show it."""
    return Named("TraceEntry", _entry)


def page() -> Object:
    """A part of the trace."""
    return Object(
        Field("first", UINT32, help="number of the oldest entry that is kept, 0: none"),
        Field("last", UINT32, help="of the newest"),
        Field("lost", UINT32, help="entries after `since` that are kept no more"),
        Field("next", UINT32, help="pass it as `since` for the next page"),
        Field("entries", ListOf(trace_entry(), PAGE_LIMIT), help="oldest first"),
    )
