"""Updates for the image's tests: the image's own system with another version, some with something broken."""

import contextlib
import pathlib
import re
import subprocess
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).resolve().parents[2]

CRASH = 'raise SystemExit("this firmware was broken for a test")\n'
PANIC = "init=/bin/false"  # the first process ends: "Kernel panic - not syncing: Attempted to kill init!"


def unpack(system: pathlib.Path, tree: pathlib.Path) -> None:
    """The files of a system, to be changed."""
    subprocess.run(["unsquashfs", "-quiet", "-no-progress", "-d", str(tree), str(system)], check=True)


def make_update(tree: pathlib.Path, version: str, out: pathlib.Path) -> pathlib.Path:
    """An update out.raucb with the files of a tree and another version."""
    init = tree / "usr/lib/mc252/firmware/__init__.py"
    _edit(init, r'VERSION = "[^"]*"', f'VERSION = "{version}"')
    system = out.with_suffix(".root")
    command = ["mksquashfs", str(tree), str(system), "-noappend", "-quiet", "-no-progress"]
    subprocess.run([*command, "-comp", "gzip", "-Xcompression-level", "1"], check=True)
    subprocess.run(
        [str(ROOT / "deploy/image/make-bundle"), str(system), str(out)], check=True, stdout=subprocess.DEVNULL
    )
    system.unlink()
    return out


def broken_firmware(tree: pathlib.Path) -> "contextlib.AbstractContextManager[None]":
    """A firmware that ends as soon as it is started."""
    return _edited(tree / "usr/lib/mc252/firmware/__main__.py", r"\A", CRASH)


def broken_start(tree: pathlib.Path) -> "contextlib.AbstractContextManager[None]":
    """A kernel that panics."""
    return _edited(tree / "boot/start.cfg", r" panic=", f" {PANIC} panic=")


@contextlib.contextmanager
def _edited(path: pathlib.Path, pattern: str, text: str) -> "Iterator[None]":
    kept = path.read_text()
    _edit(path, pattern, text)
    try:
        yield
    finally:
        path.write_text(kept)


def _edit(path: pathlib.Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after = re.sub(pattern, lambda found: text, before, count=1)
    assert after != before, f"{path} has no {pattern}"
    path.write_text(after)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
