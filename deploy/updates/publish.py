"""Adds bundles to a folder of updates and signs its index anew: any web server can serve the folder then.

    python -m deploy.updates.publish FOLDER [BUNDLE ...] --keys FOLDER [--channel stable|beta] [--rollout PERCENT]
                                     [--not-before ISO-TIME] [--days N]

A bundle that is there already under the same name only gets the new rollout, channel and time. `--days` (default 30) is
how long devices believe the index: sign it anew before then, also where nothing has changed (leave bundles out).
"""

import argparse
import datetime
import hashlib
import json
import pathlib
import shutil
import subprocess
import time

from firmware.maker.signing import read_key, sign_document
from hal.update.bundle import MAGIC

INDEX = "index.json"
DAY = 86400


def read_entries(folder: pathlib.Path) -> "list[dict]":
    """The entries of the index that is there."""
    path = folder / INDEX
    return json.loads(json.loads(path.read_text())["payload"])["bundles"] if path.exists() else []


def entry_of(bundle: pathlib.Path) -> dict:
    """What an index says of a bundle, from what the bundle says of itself."""
    data = bundle.read_bytes()
    said = rauc_manifest(bundle) if bundle.suffix == ".raucb" else header_of(data)
    return dict(said, file=bundle.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def header_of(data: bytes) -> dict:
    """For what a bundle of hal/update/bundle.py is."""
    line, rest = data.split(b"\n", 1)
    header = json.loads(json.loads(rest[: int(line[len(MAGIC) :])])["payload"])
    return {name: header[name] for name in ("version", "compatible", "architecture")}


def rauc_manifest(bundle: pathlib.Path) -> dict:
    """For what a bundle of RAUC is: BOARD-PROCESSOR, and a version that may have +min.VERSION behind it."""
    command = ["rauc", "info", "--no-verify", "--output-format=json", str(bundle)]
    manifest = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    board, _, machine = manifest["compatible"].rpartition("-")
    version = manifest["version"].partition("+min.")[0]
    return {"version": version, "compatible": [board], "architecture": machine}


def write_index(folder: pathlib.Path, keys: pathlib.Path, entries: "list[dict]", days: int) -> None:
    """Sign the index; its serial number counts up, so that devices know an old one."""
    now = int(time.time())
    path = folder / INDEX
    serial = json.loads(json.loads(path.read_text())["payload"])["serial"] + 1 if path.exists() else 1
    payload = {"serial": serial, "issued": now, "expires": now + days * DAY, "bundles": entries}
    certificate = json.loads((keys / "signing.cert").read_text())
    document = sign_document(read_key(str(keys / "signing.key")), certificate, "index", payload)
    new = folder / (INDEX + ".new")
    new.write_text(json.dumps(document) + "\n")
    new.rename(path)


def main() -> None:
    """Publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("bundles", type=pathlib.Path, nargs="*")
    parser.add_argument("--keys", type=pathlib.Path, required=True)
    parser.add_argument("--channel", choices=("stable", "beta"), default="stable")
    parser.add_argument("--rollout", type=int, choices=range(101), default=100, metavar="PERCENT")
    parser.add_argument("--not-before", default="1970-01-01T00:00:00+00:00")
    parser.add_argument("--days", type=int, default=30)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    entries = read_entries(options.folder)
    not_before = int(datetime.datetime.fromisoformat(options.not_before).timestamp())
    for bundle in options.bundles:
        added = dict(entry_of(bundle), channel=options.channel, rollout=options.rollout, notBefore=not_before)
        target = options.folder / bundle.name
        if target.resolve() != bundle.resolve():
            shutil.copyfile(bundle, target)
        entries = [entry for entry in entries if entry["file"] != added["file"]] + [added]
    write_index(options.folder, options.keys, entries, options.days)
    print(options.folder / INDEX)


if __name__ == "__main__":
    main()
