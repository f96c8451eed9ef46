"""Signed documents: what an update bundle, an index of updates and a licence have in common.

A document is JSON: {"payload": JSON text, "signature": Base64, "certificate": {"payload", "signature"}}. The signature
is Ed25519 (RFC 8032) over "mc252 USE\\n" and the payload's UTF-8 bytes, so that a document of one use is none of
another. The certificate says which key signed, for which uses and how long; it is a document of use "certificate"
signed by one of the root keys that the device trusts. Root keys stay offline; signing keys live for months and can be
revoked.

Instants are whole seconds since 1970.
"""

from hal.contracts import UpdateRefused
from hal.fields import BadField, Base64, Choice, Field, Integer, ListOf, Object, Text
from hal.json_text import json_loads
from hal.runtime.archive import ed25519_verifies

USES = ("bundle", "index", "licence")

_INSTANT = Integer(0, 0xFFFFFFFFFF)
_SIGNED = (Field("payload", Text(2**24)), Field("signature", Base64(64, 64)))
_CERTIFICATE = Object(*_SIGNED)
_DOCUMENT = Object(*_SIGNED, Field("certificate", _CERTIFICATE))
_KEYS = ListOf(Base64(32, 32), 16)

_CERTIFICATE_PAYLOAD = Object(
    Field("name", Text(64)),
    Field("key", Base64(32, 32)),
    Field("uses", ListOf(Choice(*USES), len(USES), 1)),
    Field("notBefore", _INSTANT),
    Field("notAfter", _INSTANT),
)


class Keyring:
    """The keys that a device trusts: {"roots": [Base64 of public keys], "revoked": [signing keys no longer good]}."""

    FORM = Object(Field("roots", _KEYS), Field("revoked", _KEYS, []))

    def __init__(self, content: dict):
        checked = self.FORM.check(content, "keyring")
        self.roots: list[bytes] = checked["roots"]
        self.revoked: list[bytes] = checked["revoked"]


class Moment:
    """What time it may be: `now`, None where the clock was never set, and `least`, before which it cannot be.

    A device without a battery starts in 1970. It must still take an update, so a certificate that is not valid yet is
    refused only by a clock that somebody has set, and an expired one by the latest time that the device knows of.
    """

    def __init__(self, now: int | None, least: int):
        self.now = now
        self.least = least if now is None else max(now, least)

    def check(self, not_before: int, not_after: int, what: str) -> None:
        """UpdateRefused where `what` is not valid yet or no longer."""
        if self.now is not None and self.now < not_before:
            raise UpdateRefused("UPDATE_NOT_YET_VALID", f"{what} is not valid yet: is the clock right?")
        if self.least > not_after:
            raise UpdateRefused("UPDATE_EXPIRED", f"{what} has expired")


def open_signed(document: object, use: str, keyring: Keyring, moment: Moment) -> dict:
    """The payload of a document whose signature holds. UpdateRefused says what is wrong with it."""
    try:
        signed = _DOCUMENT.check(document, "document")
    except BadField as exc:
        raise UpdateRefused("UPDATE_UNSIGNED", f"it bears no signature of the form expected: {exc}") from None
    certificate = _open_certificate(signed["certificate"], keyring)
    if certificate["key"] in keyring.revoked:
        raise UpdateRefused("UPDATE_REVOKED", f"the signing key {certificate['name']} was revoked")
    if use not in certificate["uses"]:
        raise UpdateRefused("UPDATE_WRONG_KEY", f"the signing key {certificate['name']} is not for this: {use}")
    if not _holds(signed, use, certificate["key"]):
        raise UpdateRefused("UPDATE_CHANGED", "it was changed after it was signed")
    moment.check(certificate["notBefore"], certificate["notAfter"], f"the certificate {certificate['name']}")
    return _payload(signed)


def _open_certificate(signed: dict, keyring: Keyring) -> dict:
    for root in keyring.roots:
        if _holds(signed, "certificate", root):
            try:
                return _CERTIFICATE_PAYLOAD.check(_payload(signed), "certificate")
            except BadField as exc:
                raise UpdateRefused("UPDATE_UNSIGNED", str(exc)) from None
    raise UpdateRefused("UPDATE_WRONG_KEY", "it is signed by a key that this device does not trust")


def _holds(signed: dict, use: str, key: bytes) -> bool:
    return ed25519_verifies(key, signed["signature"], signed_bytes(use, signed["payload"]))


def signed_bytes(use: str, payload: str) -> bytes:
    """What a signature is over."""
    return f"mc252 {use}\n{payload}".encode()


def _payload(signed: dict) -> dict:
    try:
        content = json_loads(signed["payload"])
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UpdateRefused("UPDATE_UNSIGNED", "what is signed is no JSON object")
    return content
