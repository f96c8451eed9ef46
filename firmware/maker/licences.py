"""The maker's tool for licences (firmware/services/update/licence.py): `mc252 licence make`, `mc252 licence show`."""

import argparse
import base64
import datetime
import json
import os
import time

DAY = 86400


def make(keys: str, payload: dict) -> str:
    """A licence's text, signed by the signing key in a folder. OSError; ValueError where that holds no key."""
    from firmware.maker.signing import read_key, sign_document  # megabytes that a running device has no use for

    key = read_key(os.path.join(keys, "signing.key"))
    with open(os.path.join(keys, "signing.cert")) as file:
        certificate = json.load(file)
    document = sign_document(key, certificate, "licence", payload)
    return base64.b64encode(json.dumps(document).encode()).decode()


def show(text: str) -> str:
    """What a licence says, in lines; its signature is not looked at. ValueError where it is none."""
    try:
        document = json.loads(base64.b64decode(text, validate=True))
        payload, signer = json.loads(document["payload"]), json.loads(document["certificate"]["payload"])
        expires = payload.get("expires")
        end = "never" if expires is None else datetime.datetime.fromtimestamp(expires, datetime.UTC).isoformat()
        device = payload.get("mac") or payload.get("pubKey")
        features = ", ".join(payload.get("features", [])) or "none"
        lines = [f"serial {payload['serial']}", f"device {device}", f"features {features}", f"expires {end}"]
        return "\n".join([*lines, f"signed by {signer['name']}"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ValueError("this is no licence: Base64 text as `mc252 licence make` prints it") from exc


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("action", choices=("make", "show"), help="make a licence, or show what one says")
    parser.add_argument("licence", nargs="?", help="the licence to show")
    parser.add_argument("--keys", help="folder of signing.key and signing.cert")
    parser.add_argument("--serial", help="your number of the licence")
    parser.add_argument("--mac", help="the device's MAC, lower-case colon form")
    parser.add_argument("--pub-key", help="or its public key (GET /api/identify/)")
    parser.add_argument("--feature", action="append", default=[], help="what it opens; may be repeated")
    parser.add_argument("--days", type=int, help="days until it ends; without: never")


def answer(options: argparse.Namespace) -> str:
    """The text to print. ValueError says which argument is missing or wrong; OSError."""
    if options.action == "show":
        if not options.licence:
            raise ValueError("LICENCE: is missing")
        return show(options.licence)
    for name in ("keys", "serial"):
        if not getattr(options, name):
            raise ValueError(f"--{name}: is missing")
    if not options.mac and not options.pub_key:
        raise ValueError("--mac or --pub-key: is missing, a licence is for one device")
    payload = {"serial": options.serial, "mac": options.mac, "pubKey": options.pub_key, "features": options.feature}
    payload["expires"] = None if options.days is None else int(time.time()) + options.days * DAY
    return make(options.keys, payload)
