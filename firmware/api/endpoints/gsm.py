"""The GSM modem."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import outcome
from firmware.services.settings.forms import PHONE
from hal.fields import Choice, Field, Nullable, Object, Text

_SMS = Object(
    Field("phone", Nullable(Text(16, 6, PHONE)), None, help="+ and 5..15 digits; default: gsm.smsPhone"),
    Field("text", Nullable(Text(1530, 1)), None, help="up to 10 messages: 1530 letters of the GSM alphabet, else 670"),
)


def _sms_result() -> Object:
    """How sending ended."""
    return Object(
        Field("status", Choice("DONE", "ERROR")),
        Field("errorCode", Nullable(Text(64))),
        Field("message", Nullable(Text(512)), help="why not, in words"),
    )


async def gsm_sms_test(call: Call) -> dict:
    """POST /api/cmd/gsm/sms-test/"""
    error, message = await call.services.gsm.sms_test(call.body["phone"], call.body["text"]) or (None, None)
    return dict(outcome(error), message=message)


ENDPOINTS = (
    Endpoint(
        "POST",
        "/api/cmd/gsm/sms-test/",
        1,
        "Send test SMS",
        gsm_sms_test,
        _sms_result,
        body=_SMS,
        errors=("NO_SMS_NUMBER", "SMS_LIMIT", "NO_MODEM"),
    ),
)
