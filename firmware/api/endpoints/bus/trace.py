"""The trace of the line: pages of it, and captures to take home."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import CARD_ERRORS, UINT32, CardPath, Content, Named
from firmware.api.query import Flag, Parameters
from firmware.http.messages.answers import Stream
from firmware.services.trace.bus_trace import PAGE_LIMIT
from hal.fields import Boolean, Choice, Field, Integer, Object

_SELECTION = (
    Field("uid", Integer(0, 255), None, help="of one unit only"),
    Field("errors", Flag(), help="only what has a cause"),
)


def _page() -> Object:
    """A part of the trace. Its members are imported here: a small board needs them for documents alone."""
    from firmware.api.endpoints.bus.trace_kinds import page

    return page()


async def modbus_trace(call: Call) -> Stream:
    """GET /api/modbus/trace/"""
    query = call.query
    trace = call.services.trace
    return Stream(trace.page_parts(await trace.page(query["since"], query["uid"], query["errors"], query["limit"])))


async def modbus_trace_capture(call: Call) -> Stream:
    """GET /api/modbus/trace/capture/"""
    from firmware.services.trace.captures import CSV_TYPE, Capture
    from firmware.services.trace.pcapng import MEDIA_TYPE

    query = call.query
    kind = query["format"]
    about = call.services.identity.version()["device"]
    capture = Capture(call.services.trace, kind, about, query["since"], query["uid"], query["errors"])
    answer = Stream(capture.parts(), CSV_TYPE if kind == "csv" else MEDIA_TYPE)
    answer.headers["Content-Disposition"] = f'attachment; filename="modbus.{kind}"'
    return answer


def _names_a_file(fields: dict) -> list[str]:
    """A rule: what begins has a file, what ends has none."""
    if fields["stop"]:
        return ["filePath: has no place where stop is true"] if fields["filePath"] is not None else []
    return ["filePath: is missing; or stop: true ends the recording"] if fields["filePath"] is None else []


_RECORD = Object(
    Field("filePath", CardPath(), None, help="file on the card, made anew: CSV where it ends in .csv, else pcapng"),
    Field("seconds", Integer(1, 604800), 3600, help="how long"),
    Field("maxBytes", Integer(1024, 0xFFFFFFFF), 16 << 20, help="how long the file may get"),
    Field("stop", Boolean(), False, help="end the recording that is under way instead"),
    rule=_names_a_file,
)


def _recording() -> Named:
    """The state key. The table is imported here: a small board needs it for documents alone."""
    from firmware.services.system.state_table import STATE

    return Named("StateRecording", next(key.kind for key in STATE if key.name == "recording"))


async def modbus_trace_record(call: Call) -> dict:
    """POST /api/modbus/trace/record/"""
    recording = call.services.recording
    if call.body["stop"]:
        await recording.end()
    else:
        await recording.begin(call.body["filePath"], call.body["seconds"], call.body["maxBytes"])
    return recording.state()


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/modbus/trace/",
        1,
        "Exchanges on the RS-485 line, with their bytes and times",
        modbus_trace,
        _page,
        query=Parameters(
            Field("since", UINT32, None, help="entries after this number, oldest first; default: the newest ones"),
            *_SELECTION,
            Field("limit", Integer(1, PAGE_LIMIT), 100, help="how many at the most"),
        ),
    ),
    Endpoint(
        "GET",
        "/api/modbus/trace/capture/",
        1,
        "Download the trace for Wireshark, or as CSV",
        modbus_trace_capture,
        lambda: Content("application/x-pcapng", text=False, other="text/csv"),
        query=Parameters(
            Field("format", Choice("pcapng", "csv"), "pcapng"),
            Field("since", UINT32, 0, help="entries after this number"),
            *_SELECTION,
        ),
    ),
    Endpoint(
        "POST",
        "/api/modbus/trace/record/",
        1,
        "Record the trace to the SD card",
        modbus_trace_record,
        _recording,
        body=_RECORD,
        errors=("RECORDING", "IS_DIRECTORY", "CARD_FULL", "CARD_READ_ONLY") + CARD_ERRORS,
    ),
)
