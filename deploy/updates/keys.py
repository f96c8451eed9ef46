"""Makes the keys for signing updates and licences: docs/updates.md says how they are kept.

    python -m deploy.updates.keys FOLDER [--days N] [--name NAME]

FOLDER/root.key stays offline; FOLDER/signing.key with signing.cert signs for N days (default 400); FOLDER/keyring.json
is what devices trust. Files that are there are kept, so a second call with signing.key and signing.cert moved away
makes a new signing key under the same root.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable

from firmware.maker.signing import make_certificate, make_key, public_text, read_key
from hal.update.signed import USES

DAY = 86400


def make_keys(folder: pathlib.Path, days: int, name: str) -> None:
    """What is missing of the four files in a folder."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = _key(folder / "root.key")
    signer = _key(folder / "signing.key")
    certificate, keyring = folder / "signing.cert", folder / "keyring.json"
    if not certificate.exists():
        now = int(time.time())
        made = make_certificate(root, public_text(signer), name, list(USES), now - DAY, now + days * DAY)
        certificate.write_text(json.dumps(made) + "\n")
    if not keyring.exists():
        keyring.write_text(json.dumps({"roots": [public_text(root)], "revoked": []}) + "\n")


def _key(path: pathlib.Path):
    return read_key(str(path)) if path.exists() else make_key(str(path))


def command(about: str | None, make: Callable[[pathlib.Path, int, str], None], made: str) -> None:
    """A command that makes what is missing in a folder: FOLDER [--days N] [--name NAME]."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--name", default="signing key")
    options = parser.parse_args()
    make(options.folder, options.days, options.name)
    print(f"{made} in {options.folder}")


if __name__ == "__main__":
    command(__doc__, make_keys, "keys")
