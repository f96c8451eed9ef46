"""The searches for Modbus devices: by address, and by template."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import UINT32, CardPath, Named
from firmware.api.query import Flag, Parameters
from firmware.services.search.absent import BadTemplate, NoDiscovery, NoTemplateSearch
from firmware.services.search.verdicts import (
    ANSWER,
    BAD_LINK,
    COLLISION,
    EXCEPTION,
    FIRST_UID,
    LAST_UID,
    ODD,
    Found,
    Member,
    Search,
)
from hal.fields import AnyOf, Boolean, Choice, Field, Integer, ListOf, MapOf, Nullable, Number, Object, Text


def _search_is_whole(fields: dict) -> list[str]:
    """A rule: a search has line settings and walks upwards."""
    problems = []
    for one, several in (("baudRate", "baudRates"), ("charFormat", "charFormats")):
        if fields[one] is None and fields[several] is None:
            problems.append(f"{one}: is missing")
    if fields["uidFrom"] > fields["uidTo"]:
        problems.append("uidTo: must not be less than uidFrom")
    return problems


def _done() -> Object:
    """Whether the search was started or stopped."""
    return Object(Field("status", Choice("DONE", "BUSY")))


_LINE = (
    Field("baudRate", Integer(75, 230400), help="bit/s"),
    Field("charFormat", Integer(0, 5), help="character format, as in setting serial"),
    Field("frameMode", Integer(0, 1), 0, help="0 RTU, 1 ASCII"),
)

_FIND = Object(
    Field("baudRate", Integer(75, 230400), None, help="bit/s; or else baudRates"),
    Field("charFormat", Integer(0, 5), None, help="character format, as in setting serial; or else charFormats"),
    Field("frameMode", Integer(0, 1), 0, help="0 RTU, 1 ASCII"),
    Field("fastSearch", Boolean(), False, help="wait for each unit only as long as the line calls for"),
    Field("uidFrom", Integer(0, 255), FIRST_UID, help="first unit id"),
    Field("uidTo", Integer(0, 255), LAST_UID, help="last unit id"),
    Field("baudRates", ListOf(Integer(75, 230400), 16, 1), None, help="rates to try in turn instead of baudRate"),
    Field("charFormats", ListOf(Integer(0, 5), 6, 1), None, help="formats to try in turn instead of charFormat"),
    Field("identify", Boolean(), False, help="ask the found ones who they are (function 43/14 or 17)"),
    Field("allProbes", Boolean(), False, help="ask the silent ones by functions 1, 43/14 and 17 too"),
    Field("stopAtFirst", Boolean(), False, help="end at the first line setting that answers"),
    rule=_search_is_whole,
)


def _found() -> Object:
    """A device that a search by address has found."""
    return Object(
        Field("uid", Integer(0, 255)),
        *_LINE,
        Field("verdict", Choice(ANSWER, EXCEPTION, ODD, BAD_LINK, COLLISION)),
        Field("identity", Nullable(Text(1024)), None),
    )


def _find_result() -> Object:
    """How far a search by address is."""
    return Object(
        Field("status", Choice("IDLE", "RUNNING", "DONE", "STOPPED", "ERROR")),
        Field("progress", Integer(0, 100)),
        Field("etaSec", UINT32),
        Field("foundDevices", ListOf(_found(), 8192), None),
    )


def _meta() -> Nullable:
    """What a template says of itself; null where it could not be read."""
    names = ("class", "title", "manufacturer", "version", "source")
    return Nullable(Named("TemplateMeta", lambda: Object(*[Field(name, Text(256)) for name in names])))


_TEMPLATE = Field("filePath", CardPath(), help="template on the card, or /builtin/templates/ and a shipped one's name")


def _class_result() -> Object:
    """How far a search by template is."""
    return Object(
        Field("status", Choice("IDLE", "RUNNING", "DONE", "STOPPED", "ERROR")),
        Field("progress", Integer(0, 100)),
        Field("etaSec", UINT32),
        Field(
            "foundDevices",
            ListOf(
                Object(
                    Field("uid", Integer(1, 247)),
                    *_LINE,
                    Field("class", Text(64)),
                    Field("title", Text(128)),
                    Field(
                        "params",
                        MapOf(Nullable(AnyOf(Number(-1e300, 1e300), Boolean(), Text(1024))), 256),
                        help="by name; null where the device gave none",
                    ),
                    Field(
                        "missing",
                        MapOf(Text(64), 256),
                        help="by name, why its value is null: EXCEPTION 2, TIMEOUT, ...",
                    ),
                ),
                247,
            ),
        ),
        Field(
            "unjudged",
            ListOf(Object(Field("uid", Integer(1, 247)), Field("reason", Text(32))), 247),
            help="units that answered, but not so that their class could be told",
        ),
    )


def _setting(body: dict) -> tuple[int, int, int]:
    return body["baudRate"], body["charFormat"], body["frameMode"]


def search_of(body: dict) -> Search:
    """The search that a checked body asks for."""
    rates = body["baudRates"] or [body["baudRate"]]
    formats = body["charFormats"] or [body["charFormat"]]
    return Search(
        [(rate, form, body["frameMode"]) for rate in rates for form in formats],
        range(body["uidFrom"], body["uidTo"] + 1),
        body["fastSearch"],
        body["allProbes"],
        body["identify"],
        body["stopAtFirst"],
    )


def _progress(search: NoDiscovery | NoTemplateSearch) -> dict:
    status, percent, seconds = search.progress()
    return {"status": status, "progress": percent, "etaSec": seconds}


def _device(found: Found | Member) -> dict:
    line = found.line
    return {
        "uid": found.uid,
        "baudRate": line.baud_rate,
        "charFormat": line.char_format,
        "frameMode": line.frame_mode,
    }


async def modbus_find_start(call: Call) -> dict:
    """POST /api/modbus/find/start/"""
    return {"status": "DONE" if call.services.discovery.begin(search_of(call.body)) else "BUSY"}


async def modbus_find_stop(call: Call) -> dict:
    """POST /api/modbus/find/stop/"""
    await call.services.discovery.end()
    return {"status": "DONE"}


async def modbus_find_result(call: Call) -> dict:
    """GET /api/modbus/find/result/"""
    return find_result(call.services.discovery, call.query["list"])


def find_result(discovery: NoDiscovery, with_list: bool) -> dict:
    """How far a search by address is, with what it has found or without."""
    answer = _progress(discovery)
    if with_list:
        answer["foundDevices"] = devices = []
        for found in discovery.found():
            device = dict(_device(found), verdict=found.verdict)
            devices.append(dict(device, identity=found.identity) if found.is_identified else device)
    return answer


async def class_find_meta_info(call: Call) -> dict:
    """POST /api/modbus/class-find/search-meta-info/"""
    try:
        meta = await call.services.template_search.meta_info(call.body["filePath"])
    except BadTemplate as exc:
        return _no_template(exc)
    return {"status": "DONE", "errorCode": None, "metaInfo": meta}


async def class_find_start(call: Call) -> dict:
    """POST /api/modbus/class-find/start/"""
    try:
        meta = await call.services.template_search.begin(call.body["filePath"], _setting(call.body))
    except BadTemplate as exc:
        return _no_template(exc)
    answer = {"status": "DONE" if meta is not None else "BUSY", "errorCode": None}
    return dict(answer, metaInfo=meta) if meta is not None and call.query["search-meta-info"] else answer


def _no_template(exc: BadTemplate) -> dict:
    return {"status": "ERROR", "errorCode": str(exc), "metaInfo": None}


async def class_find_stop(call: Call) -> dict:
    """POST /api/modbus/class-find/stop/"""
    await call.services.template_search.end()
    return {"status": "DONE"}


async def class_find_result(call: Call) -> dict:
    """GET /api/modbus/class-find/result/"""
    return class_result(call.services.template_search)


def class_result(search: NoTemplateSearch) -> dict:
    """How far a search by template is, and what it has found."""
    found = [
        dict(
            _device(member),
            **{"class": member.meta["class"], "title": member.meta["title"]},
            params=member.values,
            missing=member.missing,
        )
        for member in search.found()
    ]
    unjudged = [{"uid": uid, "reason": reason} for uid, reason in search.unjudged()]
    return dict(_progress(search), foundDevices=found, unjudged=unjudged)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/modbus/find/start/",
        1,
        "Start Modbus device search on RS-485",
        modbus_find_start,
        _done,
        body=_FIND,
        errors=("NO_PORT", "LISTEN_ONLY"),
    ),
    Endpoint(
        "POST",
        "/api/modbus/find/stop/",
        1,
        "Stop Modbus device search on RS-485",
        modbus_find_stop,
        _done,
    ),
    Endpoint(
        "GET",
        "/api/modbus/find/result/",
        1,
        "Modbus device search result",
        modbus_find_result,
        _find_result,
        query=Parameters(Field("list", Flag(), help="with the devices found")),
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/search-meta-info/",
        1,
        "Get meta info from a search template",
        class_find_meta_info,
        lambda: Object(
            Field("status", Choice("DONE", "ERROR")),
            Field("errorCode", Nullable(Text(1024))),
            Field("metaInfo", _meta(), help="what the template says of itself"),
        ),
        body=Object(_TEMPLATE),
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/start/",
        1,
        "Start template Modbus device search",
        class_find_start,
        lambda: Object(
            Field("status", Choice("DONE", "BUSY", "ERROR")),
            Field("errorCode", Nullable(Text(1024))),
            Field("metaInfo", _meta(), None, help="with ?search-meta-info"),
        ),
        query=Parameters(Field("search-meta-info", Flag(), help="with the template's meta information")),
        body=Object(_TEMPLATE, *_LINE),
        errors=("NO_PORT", "LISTEN_ONLY"),
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/stop/",
        1,
        "Stop template Modbus device search",
        class_find_stop,
        _done,
    ),
    Endpoint(
        "GET",
        "/api/modbus/class-find/result/",
        1,
        "Modbus template search result",
        class_find_result,
        _class_result,
    ),
)
