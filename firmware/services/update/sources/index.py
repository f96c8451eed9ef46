"""The index of updates: a signed list that says which bundle is for whom (docs/updates.md).

It lies as index.json beside the bundles in a folder that any web server can serve. Its serial number counts up, and it
expires: whoever stands between can hold it back, but can neither show an old one nor an old bundle.
"""

from firmware.services.errors import Refused
from hal.fields import BadField, Choice, Field, Integer, ListOf, Object, Text
from hal.runtime import sha256
from hal.update.bundle import is_inside
from hal.update.version import VERSION, version_key

FILE = "index.json"
SIZE_LIMIT = 65536  # bytes
CHANNELS = ("stable", "beta")

_INSTANT = Integer(0, 0xFFFFFFFFFF)

ENTRY = Object(
    Field("file", Text(128, 1), help="name of the bundle, in the same folder"),
    Field("version", VERSION),
    Field("compatible", ListOf(Text(64, 1), 32, 1)),
    Field("architecture", Text(64, 1)),
    Field("channel", Choice(*CHANNELS)),
    Field("size", Integer(1, 1 << 31), help="bytes of the bundle"),
    Field("sha256", Text(64, 64), help="of the bundle"),
    Field("notBefore", _INSTANT, 0, help="no device takes it before"),
    Field("rollout", Integer(0, 100), 100, help="percent of the devices that take it"),
)

INDEX = Object(
    Field("serial", _INSTANT),
    Field("issued", _INSTANT),
    Field("expires", _INSTANT),
    Field("bundles", ListOf(ENTRY, 256)),
)


def check_index(payload: dict, least_serial: int, latest_time: int) -> dict:
    """The members of an index; Refused where it is none, older than one that was seen, or expired."""
    try:
        index = INDEX.check(payload, "index")
    except BadField as exc:
        raise Refused("UPDATE_BAD_INDEX", str(exc)) from None
    for entry in index["bundles"]:
        if not is_inside(entry["file"]) or "/" in entry["file"]:
            raise Refused("UPDATE_BAD_PATH", f"the index names a file outside its folder: {entry['file'][:80]}")
    if index["serial"] < least_serial:
        raise Refused("UPDATE_REPLAYED", f"the index is number {index['serial']}, older than {least_serial}")
    if index["expires"] < latest_time:
        raise Refused("UPDATE_EXPIRED", "the index has expired: it must be signed anew")
    return index


def choose(index: dict, device: dict, channel: str, now: int, given_up: str) -> dict | None:
    """The newest bundle of an index that this device takes, None where there is none newer than what runs.

    `device` is {"version", "compatible", "architecture", "mac"}; `now` is seconds since 1970; `given_up` is a version
    that was rolled back and is not taken by itself again.
    """
    best = None
    for entry in index["bundles"]:
        if not _fits(entry, device, channel) or entry["notBefore"] > now or entry["version"] == given_up:
            continue
        if not takes_part(device["mac"], entry["version"], entry["rollout"]):
            continue
        newest = best["version"] if best is not None else device["version"]
        if version_key(entry["version"]) > version_key(newest):
            best = entry
    return best


def _fits(entry: dict, device: dict, channel: str) -> bool:
    if device["compatible"] not in entry["compatible"] or entry["architecture"] != device["architecture"]:
        return False
    return entry["channel"] == "stable" or channel == "beta"


def takes_part(mac: str, version: str, rollout: int) -> bool:
    """Whether a device is among the first so many percent for a version: each version has its own order of devices."""
    digest = sha256(f"{mac} {version}".encode())
    return (digest[0] << 8 | digest[1]) * 100 < rollout << 16
