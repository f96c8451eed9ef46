"""Logging in and out."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import UINT32, nothing
from hal.fields import Boolean, Choice, Field, Object, Text

_LOGIN = Object(
    Field("username", Text(64, 1)),
    Field("password", Text(40, 40), help="lower-case hexadecimal SHA-1 of user name + password + salt"),
)


def _salt() -> Object:
    """What a login begins with."""
    return Object(
        Field("salt", Text(40, 40)),
        Field("open", Boolean(), None, help="true where no login is needed: after a press of the button, over the VPN"),
        Field("firstStart", Boolean(), None, help="true while the device has no password: set one after its button"),
    )


def _session() -> Object:
    """What a login gives."""
    return Object(
        Field("authType", Choice("Bearer")),
        Field("token", Text(48, 48)),
        Field("ttlSec", UINT32, help="seconds until the token dies unless it is used"),
    )


async def login_salt(call: Call) -> dict:
    """GET /api/login/salt/"""
    answer: dict = {"salt": call.services.login.salt(call.address)}
    if not call.services.login.has_password():
        answer["firstStart"] = True
    if call.arrival or call.services.button.seconds_left():
        answer["open"] = True
    return answer


async def login(call: Call) -> dict:
    """POST /api/login/"""
    token = await call.services.login.login(call.address, call.body["username"], call.body["password"])
    call.welcome()
    return {"authType": "Bearer", "token": token, "ttlSec": call.services.sessions.ttl_sec}


async def logout(call: Call) -> dict:
    """POST /api/cmd/logout/"""
    if call.token:
        call.services.sessions.close(call.token)
    return {}


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/login/salt/",
        0,
        "Salt for password hashing",
        login_salt,
        _salt,
        errors=("TOO_MANY_ATTEMPTS",),
    ),
    Endpoint(
        "POST",
        "/api/login/",
        0,
        "User authentication",
        login,
        _session,
        body=_LOGIN,
        errors=("BAD_CREDENTIALS", "TOO_MANY_ATTEMPTS"),
        body_bytes=2048,  # guests send it: enough for any name, and no more work than other requests
    ),
    Endpoint("POST", "/api/cmd/logout/", 1, "End session", logout, nothing),
)
