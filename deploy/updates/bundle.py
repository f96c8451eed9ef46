"""Makes an update bundle (hal/update/bundle.py) of this checkout and of the Python packages that it needs.

    python -m deploy.updates.bundle --keys FOLDER --compatible BOARD [--compatible BOARD] [--out FILE] [--min-version V]
                                    [--package DEB]

The packages are taken from the interpreter that runs this, so the bundle is for machines with the same system,
processor and Python; or all is taken from a Debian package, and is for the machines that the package is for. Modules
are compiled beforehand, for a slot is never written to. The bill of materials lies beside the bundle.
"""

import argparse
import compileall
import hashlib
import importlib.metadata
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import zlib

from deploy.sbom import write_sbom
from deploy.tree import MACHINES
from firmware import VERSION
from firmware.maker.signing import read_key, sign_document
from hal.linux.update.folders import architecture
from hal.update.bundle import MAGIC

ROOT = pathlib.Path(__file__).resolve().parents[2]
TREES = ("firmware", "hal")
LEFT_OUT = ("__pycache__", "micropython", "*.js", "*.css", "*.html")  # of the console its built site goes in
IN_PACKAGE = "usr/lib/mc252"
PROJECT = "mc252-firmware"


def packages(name: str = PROJECT, seen: "set[str] | None" = None) -> "set[str]":
    """Names of the installed distributions that the firmware needs at run time, on Linux."""
    seen = set() if seen is None else seen
    for requirement in importlib.metadata.requires(name) or []:
        if "extra ==" in requirement and not (name == PROJECT and re.search("extra == .linux.", requirement)):
            continue
        needed = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        try:
            importlib.metadata.distribution(needed)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another system or Python, by its marker
        if needed.lower() not in seen:
            seen.add(needed.lower())
            packages(needed, seen)
    return seen


def collect(folder: pathlib.Path, root: pathlib.Path = ROOT) -> None:
    """Put the firmware and its packages into an empty folder, compiled."""
    for tree in TREES:
        shutil.copytree(root / tree, folder / tree, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in sorted(packages()):
        for file in importlib.metadata.distribution(name).files or []:
            if ".." in file.parts or "__pycache__" in file.parts:
                continue
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file.locate(), target)
    compile_tree(folder)


def unpack_package(package: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The folder below `folder` with the firmware and its packages out of a Debian package, not compiled."""
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / IN_PACKAGE


def architecture_of(package: pathlib.Path) -> str:
    """What a Debian package is for, in the words of bundles. ValueError where that is not this Python."""
    fields = ["dpkg-deb", "-f", str(package), "Architecture", "Depends"]
    text = subprocess.run(fields, check=True, capture_output=True, text=True).stdout
    this = "{}.{}".format(*sys.version_info)
    if f"python3 (>= {this})" not in text:
        raise ValueError(f"{package}: is for another Python than {this}, which compiles here")
    machine = MACHINES[text.partition("Architecture: ")[2].split()[0]]
    return f"linux-{machine}-cp{this.replace('.', '')}"


def compile_tree(folder: pathlib.Path) -> None:
    """Compile the modules in a folder, whose place does not show in them."""
    compileall.compile_dir(
        str(folder), quiet=2, ddir="", invalidation_mode=compileall.py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def write_bundle(
    folder: pathlib.Path, out: pathlib.Path, keys: pathlib.Path, header: dict, level: int = 9, window_bits: int = 15
) -> None:
    """A signed bundle of all files in a folder; `header` is what HEADER declares besides size, digest and files.

    2**window_bits bytes is what unpacking it takes of memory.
    """
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    stream, packer = bytearray(), zlib.compressobj(level, wbits=window_bits)
    files = []
    for path in paths:
        data = path.read_bytes()
        stream += packer.compress(data)
        digest = hashlib.sha256(data).hexdigest()
        files.append({"path": path.relative_to(folder).as_posix(), "size": len(data), "sha256": digest})
    stream += packer.flush()
    payload = dict(header, size=len(stream), sha256=hashlib.sha256(stream).hexdigest(), files=files)
    certificate = json.loads((keys / "signing.cert").read_text())
    document = sign_document(read_key(str(keys / "signing.key")), certificate, "bundle", payload)
    text = json.dumps(document).encode()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(MAGIC + str(len(text)).encode() + b"\n" + text + stream)


def main() -> None:
    """Make the bundle and print its path."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=pathlib.Path, required=True)
    parser.add_argument("--compatible", action="append", required=True)
    parser.add_argument("--min-version", default="0.0.0")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--package", type=pathlib.Path)
    options = parser.parse_args()
    target = architecture() if options.package is None else architecture_of(options.package)
    out = options.out or ROOT / "dist" / f"mc252-{VERSION}-{target}.bundle"
    header = {
        "version": VERSION,
        "minVersion": options.min_version,
        "compatible": options.compatible,
        "architecture": target,
    }
    with tempfile.TemporaryDirectory(prefix="mc252-bundle-") as work:
        tree = pathlib.Path(work)
        if options.package is None:
            collect(tree)
        else:
            tree = unpack_package(options.package, tree)
            compile_tree(tree)
        write_bundle(tree, out, options.keys, header)
        write_sbom(tree, out.with_name(out.name + ".cdx.json"), [])
    print(out)


if __name__ == "__main__":
    main()
