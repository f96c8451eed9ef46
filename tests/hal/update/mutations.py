"""Bundles, indexes and licences with a few bytes changed: each is refused with a code, and nothing else happens.

python -m tests.hal.update.mutations [COUNT [SEED]]
"""

import base64
import json
import pathlib
import random
import sys
import tempfile
import time

from firmware.services.errors import Refused
from firmware.services.update import licence
from firmware.services.update.sources.index import check_index
from hal.contracts import UpdateRefused
from hal.json_text import json_loads
from hal.linux.update.folders import FoldersUpdater
from hal.update.bundle import check_stream, open_bundle, unpacking
from hal.update.signed import Moment, open_signed
from tests.hal.update.keys import NOW, Maker

MOMENT = Moment(NOW, NOW)
IDENTITY = {"mac": "02:00:00:00:02:52", "pubKey": "A" * 43 + "="}


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changes of the kinds that links, disks and attackers make."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) or 1)
        kind = rng.randrange(5)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del changed[at : at + rng.randint(1, 64)]
        elif kind == 2:
            changed[at:at] = rng.randbytes(rng.randint(1, 64))
        elif kind == 3:
            del changed[at:]
        else:
            changed[at:at] = changed[rng.randrange(len(changed) or 1) :][:200]
    return bytes(changed)


def refuse_all(take, whole: bytes, count: int, rng: random.Random, same) -> dict[str, int]:
    """How often which code came; AssertionError where a changed one was taken. `same(data)` says that nothing that
    counts was changed."""
    codes: dict[str, int] = {}
    for _ in range(count):
        changed = mutated(whole, rng)
        if changed == whole:
            continue
        try:
            take(changed)
        except (UpdateRefused, Refused) as exc:
            codes[exc.code] = codes.get(exc.code, 0) + 1
        else:
            assert same(changed), changed
    return codes


def bundles(maker: Maker, folder: pathlib.Path, count: int, seed: int) -> dict[str, int]:
    """Of an update bundle, from its file to the files in it."""
    whole = maker.bundle(folder / "bundle", {"a/b": b"some text\n" * 9, "c": b""}).read_bytes()
    (folder / "slot").mkdir()

    def take(data: bytes) -> None:
        (folder / "changed").write_bytes(data)
        bundle = open_bundle(str(folder / "changed"), maker.keyring, MOMENT)
        check_stream(bundle)
        list(unpacking(bundle, str(folder / "slot")))

    return refuse_all(take, whole, count, random.Random(seed), lambda data: False)


def indexes(maker: Maker, folder: pathlib.Path, count: int, seed: int) -> dict[str, int]:
    """Of an index of updates, from its text to its entries."""
    entry = {"file": "x.bundle", "version": "1.1.0", "compatible": ["mc252"], "architecture": "linux", "size": 9}
    entry = dict(entry, channel="stable", sha256="0" * 64)
    document = maker.document("index", {"serial": 5, "issued": NOW, "expires": NOW + 9, "bundles": [entry]})

    def take(data: bytes) -> None:
        try:
            content = json_loads(data.decode())
        except ValueError:
            raise Refused("UPDATE_BAD_INDEX", "") from None
        check_index(open_signed(content, "index", maker.keyring, MOMENT), 0, NOW)

    def same(data: bytes) -> bool:
        return bool(json.loads(data) == document)  # a space more, a member twice

    return refuse_all(take, json.dumps(document).encode(), count, random.Random(seed), same)


def licences(maker: Maker, folder: pathlib.Path, count: int, seed: int) -> dict[str, int]:
    """Of a licence, from its text to what it opens."""
    payload = {"serial": "17", "mac": IDENTITY["mac"], "features": ["search"]}
    document = maker.document("licence", payload)
    options = {"keys": str(maker.keyring_path), "compatible": "simulated"}
    updater = FoldersUpdater(FoldersUpdater.OPTIONS.check(options), str(folder))

    def take(data: bytes) -> None:
        licence.check(licence.read_text(data.decode("latin-1")), updater, MOMENT, IDENTITY, NOW)

    def same(data: bytes) -> bool:
        return licence.read_text(data.decode("latin-1")) == document

    return refuse_all(take, base64.b64encode(json.dumps(document).encode()), count, random.Random(seed), same)


KINDS = {"bundles": bundles, "indexes": indexes, "licences": licences}


def main() -> None:
    """Change each kind so often."""
    count, seed = [*map(int, sys.argv[1:]), *(10_000, int(time.time()))[len(sys.argv) - 1 :]]
    for name, refuse in KINDS.items():
        with tempfile.TemporaryDirectory(prefix="mc252-mutations-") as work:
            folder = pathlib.Path(work)
            codes = refuse(Maker(folder / "keys"), folder, count, seed)
        print(f"{count} {name}, seed {seed}: {codes}", flush=True)


if __name__ == "__main__":
    main()
