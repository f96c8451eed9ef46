"""Licences: what the maker has signed for one device. Checked offline, kept over restarts.

A licence is a signed document (hal/update/signed.py) of use "licence", handed over as Base64 text.
"""

from firmware.services.errors import Refused
from hal.contracts import Updater, UpdateRefused
from hal.fields import BadField, Field, Integer, ListOf, Nullable, Object, Text
from hal.json_text import json_loads
from hal.runtime import b64decode
from hal.runtime.annotations import Any
from hal.update.signed import Moment

PAYLOAD = Object(
    Field("serial", Text(64, 1), help="the maker's number of the licence"),
    Field("mac", Nullable(Text(17, 17)), None, help="the device's MAC, lower-case colon form"),
    Field("pubKey", Nullable(Text(44, 44)), None, help="or its public key, Base64"),
    Field("features", ListOf(Text(32, 1), 32), []),
    Field("expires", Nullable(Integer(0, 0xFFFFFFFFFF)), None, help="seconds since 1970; null: never"),
)


def read_text(text: str) -> Any:
    """The signed document in a licence's text. Refused BAD_LICENCE."""
    try:
        return json_loads(b64decode("".join(text.split())).decode())
    except ValueError:
        raise Refused("BAD_LICENCE", "this is no licence: Base64 text as the maker gave it") from None


def check(document: object, updater: Updater, moment: Moment, identity: dict, latest_time: int) -> dict:
    """The members of a licence for this device. Refused BAD_LICENCE says why it is none."""
    try:
        licence = PAYLOAD.check(updater.open_document(document, "licence", moment), "licence")
    except (UpdateRefused, BadField) as exc:
        raise Refused("BAD_LICENCE", f"the licence is not to be believed: {exc}") from None
    if licence["mac"] is None and licence["pubKey"] is None:
        raise Refused("BAD_LICENCE", "the licence names no device")
    if licence["mac"] not in (None, identity["mac"]) or licence["pubKey"] not in (None, identity["pubKey"]):
        raise Refused("BAD_LICENCE", "the licence is for another device")
    if is_expired(licence, latest_time):
        raise Refused("BAD_LICENCE", "the licence has expired")
    return licence


def is_expired(licence: dict, latest_time: int) -> bool:
    """Whether a licence is over at a time in seconds since 1970."""
    return licence["expires"] is not None and licence["expires"] < latest_time
