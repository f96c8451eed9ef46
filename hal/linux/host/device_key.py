"""The device's own key pair: X25519 (RFC 7748), made at the first start."""

import base64
import os

from hal.small_file import read_whole, write_whole


def public_key(folder: str) -> str:
    """Base64 of the 32-byte public key kept in a folder; the pair is made where there is none yet.

    The private key lies beside it, readable by its owner alone.
    """
    public_path = os.path.join(folder, "device-key.pub")
    try:
        text = read_whole(public_path).strip()
        if len(base64.b64decode(text, validate=True)) == 32:
            return text
    except (OSError, ValueError):
        pass
    return _make(os.path.join(folder, "device-key"), public_path)


def _make(private_path: str, public_path: str) -> str:
    # Imported here: the library takes a tenth of a second to load, and a device makes its key once.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    try:
        key = X25519PrivateKey.from_private_bytes(base64.b64decode(read_whole(private_path)))
    except (OSError, ValueError):
        key = X25519PrivateKey.generate()
        raw = key.private_bytes(
            serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption()
        )
        write_whole(private_path, base64.b64encode(raw).decode() + "\n")
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    text = base64.b64encode(raw).decode()
    write_whole(public_path, text + "\n", 0o644)
    return text
