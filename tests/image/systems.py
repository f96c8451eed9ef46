"""Updates for the image's tests: the image's own system with another version, some with something broken."""

import pathlib
import re
import shutil
import subprocess

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


def break_firmware(tree: pathlib.Path) -> None:
    """A firmware that ends as soon as it is started."""
    entry = tree / "usr/lib/mc252/firmware/__main__.py"
    shutil.copy(entry, tree.with_name("kept"))
    _edit(entry, r"\A", CRASH)


def mend_firmware(tree: pathlib.Path) -> None:
    """Undo that."""
    shutil.move(tree.with_name("kept"), tree / "usr/lib/mc252/firmware/__main__.py")


def break_start(tree: pathlib.Path) -> None:
    """A kernel that panics."""
    _edit(tree / "boot/start.cfg", r" panic=", f" {PANIC} panic=")


def _edit(path: pathlib.Path, pattern: str, text: str) -> None:
    before = path.read_text()
    after = re.sub(pattern, lambda found: text, before, count=1)
    assert after != before, f"{path} has no {pattern}"
    path.write_text(after)
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()
