"""Makes an update bundle (hal/update/bundle.py) for boards that run MicroPython, of this checkout.

    python -m deploy.micropython.bundle --keys FOLDER --compatible BOARD [--compatible BOARD] [--out FILE]
                                        [--min-version V]

Its one file is a ROMFS with the firmware as bytecode, which runs on any processor. It is packed for a window of
4 KB, which is what unpacking it takes of a board's memory.
"""

import argparse
import pathlib
import sys
import tempfile

from deploy.micropython.image import ROOT, WINDOW_BITS, compile_into, romfs
from deploy.updates.bundle import write_bundle
from firmware import VERSION
from hal.micropython.update.slots import IMAGE


def architecture(tree: pathlib.Path) -> str:
    """What the modules in a folder were compiled for, in the words of bundles: the second byte of each says it."""
    versions = {path.read_bytes()[1] for path in tree.rglob("*.mpy")}
    if len(versions) != 1:
        sys.exit(f"{tree}: holds modules of different versions: {sorted(versions)}")
    return f"micropython-mpy{versions.pop()}"


def make_bundle(tree: pathlib.Path, out: pathlib.Path, keys: pathlib.Path, header: dict) -> None:
    """A signed bundle of the firmware that is compiled in a folder; `header` is its version and for what it is."""
    with tempfile.TemporaryDirectory(prefix="mc252-bundle-") as work:
        (pathlib.Path(work) / IMAGE).write_bytes(romfs(tree))
        whole = dict(header, architecture=architecture(tree))
        write_bundle(pathlib.Path(work), out, keys, whole, window_bits=WINDOW_BITS)


def main() -> None:
    """Make the bundle and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=pathlib.Path, required=True)
    parser.add_argument("--compatible", action="append", required=True)
    parser.add_argument("--min-version", default="0.0.0")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "dist" / f"mc252-{VERSION}-micropython.bundle")
    options = parser.parse_args()
    header = {"version": VERSION, "minVersion": options.min_version, "compatible": options.compatible}
    with tempfile.TemporaryDirectory(prefix="mc252-bundle-") as work:
        compile_into(pathlib.Path(work))
        make_bundle(pathlib.Path(work), options.out, options.keys, header)
    print(options.out)


if __name__ == "__main__":
    main()
