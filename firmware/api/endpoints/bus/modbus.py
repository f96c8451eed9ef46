"""Modbus requests to the devices on the line, and the connection to the cloud that brings some."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import UINT32, outcome
from firmware.api.query import Parameters
from firmware.services.bus.pdu import DATA_MAX, Fields
from firmware.services.bus.registers import NUMBERS, ORDERS, limits
from hal.fields import AnyOf, Base64, Boolean, Choice, Field, Integer, ListOf, Nullable, Number, Object, Text
from hal.runtime import b64encode

_NUMBER = Number(*limits("float64"))

_MODBUS_REQUEST = Object(
    Field("uid", Integer(0, 255), help="unit id; 0 is a broadcast"),
    Field("func", Integer(1, 127), help="function code"),
    Field("data", Base64(DATA_MAX), None, help="raw request: the bytes after the function code"),
    Field("addr", Integer(0, 65535), None, help="typed request: first address, counted from 0"),
    Field("count", Integer(1, 2000), None, help="functions 1 to 4: how many values, of the type where there is one"),
    Field(
        "value", AnyOf(_NUMBER, Boolean()), None, help="functions 5 and 6; of a register -32768..65535 without a type"
    ),
    Field("values", ListOf(AnyOf(_NUMBER, Boolean()), 1968, 1), None, help="functions 15 and 16"),
    Field("type", Choice(*NUMBERS), None, help="functions 3, 4, 6 and 16: what each value is; default: a register"),
    Field("order", Choice(*ORDERS), None, help="with a type: how its bytes stand on the wire, A the highest; ABCD"),
    Field(
        "timeoutMs", Integer(10, 60000), None, help="wait for the answer to begin; default: serial.responseTimeoutMs"
    ),
    Field("retries", Integer(0, 5), None, help="further tries, writes too; default: serial.retries, reads only"),
)


_LINE_ERRORS = ("TIMEOUT", "BAD_FRAME", "FOREIGN", "ECHO", "DEVICE_DOWN", "EXCEPTION", "PORT_LOST")
_REQUEST_ERRORS = _LINE_ERRORS + ("NO_PATH", "BUS_BUSY", "CANCELLED")


def _modbus_result() -> Object:
    """A result, or that there is none yet."""
    return Object(
        Field("tid", UINT32),
        Field("status", Choice("PENDING", "DONE", "ERROR")),
        Field("uid", Integer(0, 255)),
        Field("func", Integer(1, 127)),
        Field("data", Nullable(Base64(255)), help="the answer's bytes after the function code"),
        Field(
            "values",
            Nullable(ListOf(Nullable(AnyOf(Boolean(), _NUMBER)), 2000)),
            help="values of a typed read; null: a float that is no number",
        ),
        Field(
            "errorCode",
            Nullable(Choice(*_REQUEST_ERRORS)),
        ),
        Field("exception", Nullable(Integer(0, 255)), help="Modbus exception code"),
        Field("heardUid", Nullable(Integer(0, 255)), help="with FOREIGN: the unit that answered"),
        Field("raw", Nullable(Base64(258)), help="with BAD_FRAME and FOREIGN: what was heard, at most 256 bytes"),
        Field("elapsedMs", UINT32, help="time on the line, all tries together"),
    )


async def modbus_req(call: Call) -> dict:
    """POST /api/modbus/req/"""
    body = call.body
    fields = Fields(*[body[name] for name in ("func", "data", "addr", "count", "value", "values", "type", "order")])
    timeout = None if body["timeoutMs"] is None else body["timeoutMs"] / 1000
    source, origin = call.token or call.address, "http " + call.address
    tid = call.services.modbus_requests.submit(body["uid"], fields, source, timeout, body["retries"], origin)
    return {"tid": tid, "status": "QUEUED"}


async def modbus_resp(call: Call) -> dict:
    """GET /api/modbus/resp/"""
    tid = call.query["tid"]
    result = await call.services.modbus_requests.result(tid, call.query["wait"] / 1000)
    transaction = result.transaction
    answered = result.is_done and result.error is None
    return {
        "tid": tid,
        "status": "PENDING" if not result.is_done else "DONE" if answered else "ERROR",
        "uid": transaction.uid,
        "func": transaction.pdu[0],
        "data": b64encode(transaction.answer[1:]) if answered else None,
        "values": result.values,
        "errorCode": result.error,
        "exception": transaction.exception,
        "heardUid": transaction.heard_uid,
        "raw": b64encode(transaction.raw) if result.error in ("BAD_FRAME", "FOREIGN") else None,
        "elapsedMs": round(transaction.elapsed * 1000),
    }


async def callback_reconnect(call: Call) -> dict:
    """POST /api/cmd/callback/reconnect/"""
    return outcome(await call.services.cloud.reconnect())


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/modbus/req/",
        1,
        "Send Modbus request",
        modbus_req,
        lambda: Object(Field("tid", UINT32), Field("status", Choice("QUEUED"))),
        body=_MODBUS_REQUEST,
        errors=("NO_PORT", "LISTEN_ONLY", "BUS_BUSY"),
    ),
    Endpoint(
        "GET",
        "/api/modbus/resp/",
        1,
        "Modbus response by tid",
        modbus_resp,
        _modbus_result,
        query=Parameters(
            Field("tid", Integer(1, 0x7FFFFFFF), help="from POST /api/modbus/req/"),
            Field("wait", Integer(0, 10000), 0, help="milliseconds to hold the answer until the result is there"),
        ),
        errors=("UNKNOWN_TID",),
    ),
    Endpoint(
        "POST",
        "/api/cmd/callback/reconnect/",
        1,
        "Reconnect to the cloud server via Modbus",
        callback_reconnect,
        lambda: Object(Field("status", Choice("DONE", "ERROR")), Field("errorCode", Nullable(Text(64)))),
    ),
)
