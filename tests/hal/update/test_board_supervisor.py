"""What a board starts: the firmware that it was flashed with, a slot, a slot on trial; what comes back when that fails.

Each start is the real main.py on a littlefs, in an interpreter of its own; the firmwares are a few lines that behave
well or badly. Choosing and checking is that of this checkout.
"""

import json
import subprocess

import pytest

from deploy.micropython.image import romfs
from tests.hal.update.keys import NOW, Maker
from tests.machine.starter import ROOT, environment, interpreter
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

SCRIPT = """
import os, sys, vfs
import machine
from medium import BLOCK, Medium

folder, root = sys.argv[1:]

class Flash(Medium):
    '''Which a host's file keeps.'''
    def writeblocks(self, block, buffer, offset=0):
        super().writeblocks(block, buffer, offset)
        self.file.seek(block * BLOCK + offset)
        self.file.write(buffer)
        self.file.flush()

path = folder + "/flash"
new = "flash" not in os.listdir(folder)
if new:
    with open(path, "wb") as file:
        file.write(bytearray(BLOCK * 128))
with open(path, "rb") as file:
    flash = Flash(bytearray(file.read()))
flash.file = open(path, "r+b")
if new:
    vfs.VfsLfs2.mkfs(flash)
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
vfs.mount(vfs.VfsPosix("/"), "/host")
vfs.mount(vfs.VfsPosix(folder + "/system"), "/system")
machine._FOLDER = "/host" + folder
os.chdir("/")
modules = set(sys.modules)
sys.path[:] = ["/host" + root, ".frozen"]
names = {"folder": "/host" + folder}
with open("/host" + folder + "/before.py") as file:
    exec(file.read(), names)
for name in list(sys.modules):
    if name not in modules:
        del sys.modules[name]
sys.path[:] = [".frozen"]
with open("/host" + root + "/deploy/micropython/main.py") as file:
    exec(file.read().replace("PAUSE_SEC = 10", "PAUSE_SEC = 0"))
"""
USES_SLOTS = """
from hal.runtime import make_folder
from hal.update.slots import Slots
make_folder("/state")
slots = Slots("/state/slots")
"""
FILLS = (
    USES_SLOTS
    + """
from hal.update.bundle import open_bundle
from hal.update.keys import read_keyring
from hal.update.signed import Moment
bundle = open_bundle(folder + "/bundle", read_keyring("/update-keys.json"), Moment({now}, {now}))
for percent in slots.filling({slot!r}, bundle):
    pass
"""
)
PUTS = """
for name in ("board.json", "update-keys.json"):
    with open(folder + "/" + name) as source, open("/" + name, "w") as target:
        target.write(source.read())
"""
WELL = "print('runs', VERSION)"
CRASHES = "print('crashes', VERSION); raise ValueError('on purpose')"
HANGS = "print('hangs', VERSION)\n    while True: pass"
RESET = 75  # exit code


class Board:
    """A board with a flash memory, and bundles for it."""

    def __init__(self, folder):
        self.folder = folder
        self.maker = Maker(folder / "keys")
        part = {"driver": "slots", "compatible": "simulated", "startWatchdogMs": 4000}
        (folder / "board.json").write_text(json.dumps({"board": "x", "updater": part}))
        (folder / "update-keys.json").write_text(json.dumps(self.maker.content))
        (folder / "system").mkdir()
        (folder / "system" / "hal").symlink_to(ROOT / "hal")
        self._lay_out(folder / "system", "0.2.0", WELL)
        self.start(PUTS)

    def _lay_out(self, tree, version, code):
        (tree / "firmware").mkdir(parents=True, exist_ok=True)
        (tree / "firmware" / "__init__.py").write_text(f'VERSION = "{version}"\n')
        start = f"from firmware import VERSION\ndef run(board, state):\n    {code}\n"
        (tree / "firmware" / "microcontroller.py").write_text(start)

    def fill(self, slot, version, code, **header):
        """Have a slot hold a signed firmware."""
        tree = self.folder / f"{slot} {version}"
        self._lay_out(tree, version, code)
        header = dict({"architecture": "micropython-mpy6", "version": version, "window_bits": 10}, **header)
        self.maker.bundle(self.folder / "bundle", {"firmware.romfs": romfs(tree)}, **header)
        self.start(FILLS.format(slot=slot, now=NOW))

    def change(self, **members):
        """Have the slots' state say something."""
        self.start(USES_SLOTS + f"slots.change(**{members!r})")

    def start(self, before=""):
        """What firmware says that it starts, `before` having been done by somebody."""
        process = self._plugged_in(before)
        said, told = process.communicate(timeout=20)
        assert process.returncode == RESET, said + told
        self.said = said + told
        return [line for line in said.splitlines() if line.startswith(("runs", "crashes", "hangs"))]

    def hang(self, before=""):
        """The same of one that never ends: as soon as it has said so, the plug is pulled."""
        with self._plugged_in(before) as process:
            said = next(line for line in process.stdout if line.startswith("hangs"))
            process.kill()
        return said.strip()

    def _plugged_in(self, before):
        (self.folder / "script.py").write_text(SCRIPT)
        (self.folder / "before.py").write_text(before)
        command = [interpreter(), str(self.folder / "script.py"), str(self.folder), str(ROOT)]
        pipe = subprocess.PIPE
        environ = environment(str(self.folder))
        return subprocess.Popen(command, cwd=ROOT, env=environ, stdout=pipe, stderr=pipe, text=True)

    def state(self):
        """The slots' state."""
        self.start(USES_SLOTS + "import json\nprint('state', json.dumps(slots.state()))")
        return json.loads(self.said.split("state ", 1)[1].splitlines()[0])


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path)


def test_what_the_board_was_flashed_with_starts_where_there_is_nothing_else(board):
    assert board.start() == ["runs 0.2.0"]
    (board.folder / "board.json").write_text('{"board": "x"}')
    assert board.start(PUTS) == ["runs 0.2.0"]


def test_a_slot_that_was_confirmed_starts(board):
    board.fill("a", "1.0.0", WELL)
    board.change(current="a")
    assert board.start() == ["runs 1.0.0"]
    assert board.state()["systemVersion"] == "0.2.0"


def test_a_firmware_on_trial_that_crashes_is_given_up_after_three_starts(board):
    board.fill("a", "1.0.0", WELL)
    board.fill("b", "1.1.0", CRASHES)
    said = board.start(USES_SLOTS + "slots.change(current='a'); slots.begin_trial('b')")
    assert said + board.start() + board.start() == ["crashes 1.1.0"] * 3
    assert board.start() == ["runs 1.0.0"]
    state = board.state()
    assert (state["result"], state["rolledBackFrom"]) == ("ROLLED_BACK", "1.1.0")
    assert "3 starts" in state["error"]


def test_a_firmware_on_trial_that_hangs_has_a_watchdog_that_watches(board):
    board.fill("a", "1.0.0", HANGS)
    for before in (USES_SLOTS + "slots.change(trial='a', starts=1)", ""):
        assert board.hang(before) == "hangs 1.0.0"
        assert float((board.folder / "watchdog").read_text()) > 0  # by when it had to be fed
    assert board.start() == ["runs 0.2.0"]


def test_a_firmware_that_was_confirmed_is_not_counted(board):
    board.fill("a", "1.0.0", CRASHES)
    board.change(current="a")
    for _ in range(4):
        assert board.start() == ["crashes 1.0.0"]


@pytest.mark.parametrize("how", ["its file changes", "another file comes", "its header goes"])
def test_a_slot_that_is_not_what_was_signed_does_not_start(board, how):
    board.fill("a", "1.0.0", WELL)
    board.change(current="a")
    harm = {
        "its file changes": "f = open('/state/slots/a/firmware.romfs', 'r+b'); f.seek(40); f.write(b'!'); f.close()",
        "another file comes": "open('/state/slots/a/more', 'w').close()",
        "its header goes": "import os; os.remove('/state/slots/a/bundle.json')",
    }
    assert board.start(harm[how]) == ["runs 0.2.0"]
    assert board.state()["current"] == ""


@pytest.mark.parametrize(
    ("header", "reason"),
    [({"version": "0.1.9"}, "older"), ({"architecture": "micropython-mpy5"}, "it is for micropython-mpy5")],
)
def test_a_firmware_that_is_older_than_the_boards_own_or_for_another_interpreter_does_not_start(board, header, reason):
    board.fill("a", header.pop("version", "1.0.0"), WELL, **header)
    assert board.start(USES_SLOTS + "slots.begin_trial('a')") == ["runs 0.2.0"]
    assert reason in board.state()["error"]


def test_a_signed_file_that_is_no_firmware_is_given_up(board):
    files = {"firmware.romfs": b"this is none"}
    board.maker.bundle(board.folder / "bundle", files, architecture="micropython-mpy6", window_bits=10)
    board.start(FILLS.format(slot="a", now=NOW))
    assert board.start(USES_SLOTS + "slots.begin_trial('a')") == ["runs 0.2.0"]
    assert "mounted" in board.state()["error"]


def test_another_makers_firmware_and_lost_keys_start_nothing(board):
    board.fill("a", "1.0.0", WELL)
    board.change(current="a")
    other = Maker(board.folder / "other")
    (board.folder / "update-keys.json").write_text(json.dumps(other.content))
    assert board.start(PUTS) == ["runs 0.2.0"]
    assert board.start("import os; os.remove('/update-keys.json')") == ["runs 0.2.0"]
