"""The API as one table: method, path, access level, what it is for, handler, query, body and answer of each endpoint.

Routes, the access guard, checks of queries and bodies, the OpenAPI document and the README's table derive from it.
"""

from firmware.api import handlers
from firmware.api.call import Keys, Parameters
from firmware.services.modbus_pdu import DATA_MAX
from firmware.services.state import STATE_KEYS
from hal.fields import AnyOf, Base64, Boolean, Choice, Field, Integer, ListOf, Nullable, Object, Text


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
    """Any JSON object: answers whose members depend on the keys asked for."""

    def schema(self) -> dict:
        """JSON Schema."""
        return {"type": "object"}


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
    Endpoint("POST", "/api/login/", 0, "User authentication", handlers.login, _SESSION, body=_LOGIN),
    Endpoint("POST", "/api/cmd/logout/", 1, "End session", handlers.logout, _NOTHING),
    Endpoint(
        "POST",
        "/api/modbus/req/",
        1,
        "Send Modbus request",
        handlers.modbus_req,
        Object(Field("tid", _UINT), Field("status", Choice("QUEUED"))),
        body=_MODBUS_REQUEST,
    ),
)
