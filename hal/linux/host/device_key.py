"""The device's own key pair: X25519 (RFC 7748), made at the first start."""

import base64
import os
import subprocess
import sys

from hal.small_file import read_whole, write_whole

MAKE_SEC = 60  # on a slow board the library takes seconds to load


def public_key(folder: str) -> str:
    """Base64 of the 32-byte public key kept in a folder; the pair is made where there is none yet.

    The private key lies beside it, readable by its owner alone.
    """
    public_path = os.path.join(folder, "device-key.pub")
    text = _read(public_path)
    if text is None and _make_apart(folder):
        text = _read(public_path)
    return text or _make(os.path.join(folder, "device-key"), public_path)


def _read(public_path: str) -> str | None:
    try:
        text = read_whole(public_path).strip()
        return text if len(base64.b64decode(text, validate=True)) == 32 else None
    except (OSError, ValueError):
        return None


def _make_apart(folder: str) -> bool:
    """Make the pair in a process of its own: the library's megabytes are not for one that runs for years."""
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    try:
        command = [sys.executable, "-B", "-m", __name__, folder]
        return subprocess.run(command, env=environment, capture_output=True, timeout=MAKE_SEC).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _make(private_path: str, public_path: str) -> str:
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


if __name__ == "__main__":
    _make(os.path.join(sys.argv[1], "device-key"), os.path.join(sys.argv[1], "device-key.pub"))
