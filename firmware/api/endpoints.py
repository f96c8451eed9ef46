"""The API as one table: method, path, access level, what it is for, handler, query, body and answer of each endpoint.

Routes, the access guard, checks of queries and bodies, the OpenAPI document and the README's table derive from it.
"""

from firmware.api import handlers
from firmware.api.call import Flag, Keys, Parameters
from firmware.services.bus.pdu import DATA_MAX
from firmware.services.search.devices import ANSWER, BAD_LINK, COLLISION, EXCEPTION, FIRST_UID, LAST_UID, ODD
from firmware.services.settings.forms import PHONE
from firmware.services.settings.table import SETTINGS
from firmware.services.system.state import STATE_KEYS
from hal.fields import AnyOf, BadField, Base64, Boolean, Choice, Field, Integer, ListOf, Nullable, Number, Object, Text


class Endpoint:
    """A row of the table. `answer` declares the body of a success for the OpenAPI document."""

    def __init__(self, method: str, path: str, level: int, purpose: str, handler, answer, query=None, body=None):
        self.method = method
        self.path = path
        self.level = level
        self.purpose = purpose
        self.handler = handler
        self.answer = answer
        self.query = query
        self.body = body


class Anything:
    """Any JSON object: answers whose members depend on the keys asked for, bodies that a service checks."""

    def check(self, value, where: str = "body"):
        """The object, or BadField."""
        if not isinstance(value, dict):
            raise BadField(f"{where}: must be an object")
        return value

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "object"}


class CardPath:
    """A path on the SD card: any text of its length; what is wrong inside it is for the card service to say."""

    HIGH = 1024

    def check(self, value, where: str):
        """The path, or BadField."""
        if not isinstance(value, str) or not 1 <= len(value) <= self.HIGH:
            raise BadField(f"{where}: must be text of 1..{self.HIGH} characters")
        return value

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "string", "minLength": 1, "maxLength": self.HIGH}


def _search_is_whole(fields: dict) -> "list[str]":
    """A rule: a search has line settings and walks upwards."""
    problems = []
    for one, several in (("baudRate", "baudRates"), ("charFormat", "charFormats")):
        if fields[one] is None and fields[several] is None:
            problems.append(f"{one}: is missing")
    if fields["uidFrom"] > fields["uidTo"]:
        problems.append("uidTo: must not be less than uidFrom")
    return problems


_UINT = Integer(0, 0xFFFFFFFF)
_NOTHING = Object()

_VERSION = (
    Field("device", Text(64), help="device model"),
    Field("deviceId", _UINT),
    Field("firmwareType", _UINT),
    Field("firmwareVer", _UINT, help="counts up with every release"),
    Field("releaseDate", Text(32), help="ISO 8601 without zone"),
)

_IDENTITY = _VERSION + (
    Field("manufacturer", Text(64)),
    Field("mac", Text(17), help="lower-case colon form"),
    Field("uniqueMac", Boolean()),
    Field("pubKey", Nullable(Text(44)), help="Base64 of the device's 32-byte X25519 public key"),
)

_LOGIN = Object(
    Field("username", Text(64, 1)),
    Field("password", Text(40, 40), help="lower-case hexadecimal SHA-1 of user name + password + salt"),
)

_SESSION = Object(
    Field("authType", Choice("Bearer")),
    Field("token", Text(48, 48)),
    Field("ttlSec", _UINT, help="seconds until the token dies unless it is used"),
)

_MODBUS_REQUEST = Object(
    Field("uid", Integer(0, 255), help="unit id; 0 is a broadcast"),
    Field("func", Integer(1, 127), help="function code"),
    Field("data", Base64(DATA_MAX), None, help="raw request: the bytes after the function code"),
    Field("addr", Integer(0, 65535), None, help="typed request: first address, counted from 0"),
    Field("count", Integer(1, 2000), None, help="functions 1 to 4: how many values"),
    Field("value", AnyOf(Integer(0, 65535), Boolean()), None, help="functions 5 and 6"),
    Field("values", ListOf(AnyOf(Integer(0, 65535), Boolean()), 1968, 1), None, help="functions 15 and 16"),
    Field(
        "timeoutMs", Integer(10, 60000), None, help="wait for the answer to begin; default: serial.responseTimeoutMs"
    ),
    Field("retries", Integer(0, 5), None, help="further tries, writes too; default: serial.retries, reads only"),
)

_MODBUS_RESULT = Object(
    Field("tid", _UINT),
    Field("status", Choice("PENDING", "DONE", "ERROR")),
    Field("uid", Integer(0, 255)),
    Field("func", Integer(1, 127)),
    Field("data", Nullable(Text(340)), help="Base64 of the answer's bytes after the function code"),
    Field("values", Nullable(ListOf(AnyOf(Boolean(), Integer(0, 65535)), 2000)), help="values of a typed read"),
    Field(
        "errorCode",
        Nullable(
            Choice("TIMEOUT", "BAD_FRAME", "FOREIGN", "ECHO", "DEVICE_DOWN", "EXCEPTION", "PORT_LOST", "CANCELLED")
        ),
    ),
    Field("exception", Nullable(Integer(0, 255)), help="Modbus exception code"),
    Field("elapsedMs", _UINT, help="time on the line, all tries together"),
)

_DONE = Object(Field("status", Choice("DONE", "BUSY")))

_SMS = Object(
    Field("phone", Nullable(Text(16, 6, PHONE)), None, help="+ and 5..15 digits; default: gsm.smsPhone"),
    Field("text", Nullable(Text(1530, 1)), None, help="up to 10 messages: 1530 letters of the GSM alphabet, else 670"),
)

_SMS_RESULT = Object(
    Field("status", Choice("DONE", "ERROR")),
    Field("errorCode", Nullable(Text(64))),
    Field("message", Nullable(Text(512)), help="why not, in words"),
)

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
    Field("stopAtFirst", Boolean(), False, help="end at the first line setting that answers"),
    rule=_search_is_whole,
)

_FOUND = Object(
    Field("uid", Integer(0, 255)),
    *_LINE,
    Field("verdict", Choice(ANSWER, EXCEPTION, ODD, BAD_LINK, COLLISION)),
    Field("identity", Nullable(Text(1024)), None),
)

_FIND_RESULT = Object(
    Field("status", Choice("IDLE", "RUNNING", "DONE", "STOPPED", "ERROR")),
    Field("progress", Integer(0, 100)),
    Field("etaSec", _UINT),
    Field("foundDevices", ListOf(_FOUND, 8192), None),
)

_TEMPLATE = Field("filePath", CardPath(), help="template on the card")

_CLASS_RESULT = Object(
    Field("status", Choice("IDLE", "RUNNING", "DONE", "STOPPED", "ERROR")),
    Field("progress", Integer(0, 100)),
    Field("etaSec", _UINT),
    Field(
        "foundDevices",
        ListOf(
            Object(
                Field("uid", Integer(1, 247)),
                *_LINE,
                Field("class", Text(64)),
                Field("title", Text(128)),
                Field("params", Anything(), help="name -> value, null where the device gave none"),
            ),
            247,
        ),
    ),
)

_PATH = Field("path", CardPath(), help="absolute path on the card, with /")

_ITEM = (
    Field("name", Text(255)),
    Field("attrib", Text(3, 3), help="d directory, r readable, w writable, - where not"),
    Field("size", Integer(0, 0xFFFFFFFF)),
    Field("datetime", Text(32), help="last change, ISO 8601, device local time"),
)

_INDEX = Nullable(Integer(0, 0x7FFFFFFF))
_BLOCK = Integer(0, 0x3FFFFF)

_BLOCK_COUNT = Field("blockCount", Integer(1, 0x400000), help="blocks of 1024 bytes in the whole file")

_DIRECTORY = Object(
    Field("fromIdx", _INDEX),
    Field("toIdx", _INDEX),
    Field("total", _UINT),
    Field("items", ListOf(Object(*_ITEM), 65536)),
)

_SETTINGS_AREA = Keys(tuple(field.name for field in SETTINGS))

ENDPOINTS = (
    Endpoint("GET", "/api/version/", 0, "Device firmware version", handlers.version, Object(*_VERSION)),
    Endpoint(
        "GET",
        "/api/login/salt/",
        0,
        "Salt for password hashing",
        handlers.login_salt,
        Object(Field("salt", Text(40, 40))),
    ),
    Endpoint("GET", "/api/identify/", 1, "Physical device identification", handlers.identify, Object(*_IDENTITY)),
    Endpoint(
        "GET",
        "/api/state/get/",
        1,
        "Current device state by key, or all",
        handlers.state_get,
        Anything(),
        query=Keys(STATE_KEYS),
    ),
    Endpoint(
        "GET",
        "/api/settings/active/get/",
        1,
        "Active settings by key, or all",
        handlers.settings_active_get,
        Anything(),
        query=_SETTINGS_AREA,
    ),
    Endpoint(
        "GET",
        "/api/settings/saved/get/",
        1,
        "Saved settings by key, or all",
        handlers.settings_saved_get,
        Anything(),
        query=_SETTINGS_AREA,
    ),
    Endpoint(
        "GET",
        "/api/modbus/resp/",
        1,
        "Modbus response by tid",
        handlers.modbus_resp,
        _MODBUS_RESULT,
        query=Parameters(
            Field("tid", Integer(1, 0x7FFFFFFF), help="from POST /api/modbus/req/"),
            Field("wait", Integer(0, 10000), 0, help="milliseconds to hold the answer until the result is there"),
        ),
    ),
    Endpoint(
        "GET",
        "/api/modbus/find/result/",
        1,
        "Modbus device search result",
        handlers.modbus_find_result,
        _FIND_RESULT,
        query=Parameters(Field("list", Flag(), help="with the devices found")),
    ),
    Endpoint("POST", "/api/login/", 0, "User authentication", handlers.login, _SESSION, body=_LOGIN),
    Endpoint("POST", "/api/cmd/logout/", 1, "End session", handlers.logout, _NOTHING),
    Endpoint("POST", "/api/cmd/memory/card_eject", 1, "Safe SD card ejection", handlers.card_eject, _NOTHING),
    Endpoint(
        "POST",
        "/api/cmd/time/sync/",
        1,
        "Time synchronization",
        handlers.time_sync,
        Object(
            Field("status", Choice("DONE", "ERROR")),
            Field("errorCode", Nullable(Text(64))),
            Field("offsetMs", Nullable(Number(-1e15, 1e15)), help="how far the clock was behind"),
        ),
    ),
    Endpoint(
        "POST",
        "/api/cmd/time/set/",
        1,
        "Set time",
        handlers.time_set,
        _NOTHING,
        body=Object(Field("datetime", Text(40, 1), help="ISO 8601; without zone: device local time")),
    ),
    Endpoint("POST", "/api/cmd/reboot/", 1, "Reboot device", handlers.reboot, _NOTHING),
    Endpoint(
        "POST",
        "/api/cmd/callback/reconnect/",
        1,
        "Reconnect to the cloud server via Modbus",
        handlers.callback_reconnect,
        Object(Field("status", Choice("DONE", "ERROR")), Field("errorCode", Nullable(Text(64)))),
    ),
    Endpoint("POST", "/api/cmd/gsm/sms-test/", 1, "Send test SMS", handlers.gsm_sms_test, _SMS_RESULT, body=_SMS),
    Endpoint(
        "POST",
        "/api/cmd/settings/reset/",
        1,
        "Reset settings to factory defaults",
        handlers.settings_reset,
        _NOTHING,
    ),
    Endpoint(
        "POST",
        "/api/cmd/settings/import/",
        1,
        "Import configuration",
        handlers.settings_import,
        _NOTHING,
        body=Object(
            Field("filePath", CardPath(), None, help="an export on the card"),
            Field("settings", Anything(), None, help="or the export itself"),
        ),
    ),
    Endpoint(
        "POST",
        "/api/cmd/settings/export/",
        1,
        "Export current settings",
        handlers.settings_export,
        Anything(),
        body=Object(Field("filePath", CardPath(), None, help="where to write it on the card")),
    ),
    Endpoint(
        "POST",
        "/api/card/file/info/",
        1,
        "Get file info on SD card",
        handlers.card_file_info,
        Object(*_ITEM),
        body=Object(_PATH),
    ),
    Endpoint(
        "POST",
        "/api/card/file/read/",
        1,
        "Read file from SD card",
        handlers.card_file_read,
        Object(Field("blockIdx", _BLOCK), _BLOCK_COUNT, Field("data", Text(1368), help="Base64")),
        body=Object(_PATH, Field("blockIdx", _BLOCK)),
    ),
    Endpoint(
        "POST",
        "/api/card/file/write/",
        1,
        "Write file to SD card",
        handlers.card_file_write,
        Object(Field("blockIdx", _BLOCK), _BLOCK_COUNT),
        body=Object(_PATH, Field("blockIdx", _BLOCK), _BLOCK_COUNT, Field("data", Base64(1024))),
    ),
    Endpoint(
        "POST",
        "/api/card/remove/",
        1,
        "Remove file from SD card",
        handlers.card_remove,
        _NOTHING,
        body=Object(_PATH, Field("recursive", Boolean(), False, help="remove a folder with all it holds")),
    ),
    Endpoint(
        "POST",
        "/api/card/dir/",
        1,
        "List files and directories",
        handlers.card_dir,
        _DIRECTORY,
        body=Object(
            _PATH,
            Field("fromIdx", Integer(0, 0x7FFFFFFF), 0, help="first index"),
            Field("toIdx", Integer(0, 0x7FFFFFFF), None, help="last index, inclusive; default: the last there is"),
        ),
    ),
    Endpoint(
        "POST",
        "/api/settings/saved/set/",
        1,
        "Change configuration parameters",
        handlers.settings_saved_set,
        _NOTHING,
        body=Anything(),
    ),
    Endpoint(
        "POST",
        "/api/modbus/req/",
        1,
        "Send Modbus request",
        handlers.modbus_req,
        Object(Field("tid", _UINT), Field("status", Choice("QUEUED"))),
        body=_MODBUS_REQUEST,
    ),
    Endpoint(
        "POST",
        "/api/modbus/find/start/",
        1,
        "Start Modbus device search on RS-485",
        handlers.modbus_find_start,
        _DONE,
        body=_FIND,
    ),
    Endpoint(
        "POST",
        "/api/modbus/find/stop/",
        1,
        "Stop Modbus device search on RS-485",
        handlers.modbus_find_stop,
        _DONE,
    ),
    Endpoint(
        "GET",
        "/api/modbus/class-find/result/",
        1,
        "Modbus template search result",
        handlers.class_find_result,
        _CLASS_RESULT,
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/search-meta-info/",
        1,
        "Get meta info from a search template",
        handlers.class_find_meta_info,
        Object(
            Field("status", Choice("DONE", "ERROR")),
            Field("errorCode", Nullable(Text(1024))),
            Field("metaInfo", Nullable(Anything()), help="class, title, manufacturer, version, source"),
        ),
        body=Object(_TEMPLATE),
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/start/",
        1,
        "Start template Modbus device search",
        handlers.class_find_start,
        Object(
            Field("status", Choice("DONE", "BUSY", "ERROR")),
            Field("errorCode", Nullable(Text(1024))),
            Field("metaInfo", Nullable(Anything()), None, help="with ?search-meta-info"),
        ),
        query=Parameters(Field("search-meta-info", Flag(), help="with the template's meta information")),
        body=Object(_TEMPLATE, *_LINE),
    ),
    Endpoint(
        "POST",
        "/api/modbus/class-find/stop/",
        1,
        "Stop template Modbus device search",
        handlers.class_find_stop,
        _DONE,
    ),
)
