"""The maker's half of hal/update/signed.py: keys, certificates and signed documents.

A key file holds Base64 of the 32 bytes of an Ed25519 private key (RFC 8032), readable by its owner alone.
"""

import base64
import json
import os

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hal.update.signed import signed_bytes

_RAW = serialization.Encoding.Raw


def make_key(path: str) -> Ed25519PrivateKey:
    """A new key in a file that was not there. FileExistsError."""
    key = Ed25519PrivateKey.generate()
    raw = key.private_bytes(_RAW, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(base64.b64encode(raw) + b"\n")
    return key


def read_key(path: str) -> Ed25519PrivateKey:
    """The key in a file. ValueError where there is none in it; OSError."""
    with open(path, "rb") as file:
        return Ed25519PrivateKey.from_private_bytes(base64.b64decode(file.read(), validate=False))


def public_text(key: Ed25519PrivateKey) -> str:
    """Base64 of the public key's 32 bytes."""
    return base64.b64encode(key.public_key().public_bytes(_RAW, serialization.PublicFormat.Raw)).decode()


def make_certificate(root: Ed25519PrivateKey, signer: str, name: str, uses: list[str], begin: int, end: int) -> dict:
    """What a root key says of a signing key (Base64 of its public half): its uses, and the seconds since 1970 between
    which it is good."""
    payload = {"name": name, "key": signer, "uses": uses, "notBefore": begin, "notAfter": end}
    return _sign(root, "certificate", payload)


def sign_document(key: Ed25519PrivateKey, certificate: dict, use: str, payload: dict) -> dict:
    """A document of hal/update/signed.py."""
    return dict(_sign(key, use, payload), certificate=certificate)


def _sign(key: Ed25519PrivateKey, use: str, payload: dict) -> dict:
    text = json.dumps(payload)
    return {"payload": text, "signature": base64.b64encode(key.sign(signed_bytes(use, text))).decode()}
