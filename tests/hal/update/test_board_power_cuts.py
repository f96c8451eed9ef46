"""Updates of a board whose power is cut at a write: it always starts a complete signed firmware, and goes on."""

import json
import random
import subprocess

import pytest

from deploy.micropython.image import romfs
from tests.hal.update.keys import NOW, Maker
from tests.machine.starter import ROOT, environment, interpreter
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

ARCHITECTURE = "micropython-mpy6"
SCRIPT = """
import asyncio, json, os, sys, vfs
import hal.update.signed
from firmware.services.update.sources.download import Download
from hal.micropython.update import supervisor
from hal.micropython.update.slots import BoardSlotsUpdater, architecture
from hal.update.choice import choose
from hal.update.keys import read_keyring
from hal.update.signed import Moment
from hal.update.slots import Slots
from hal.update.version import version_key
from medium import BLOCK, Medium

folder, what, part, now = sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])
moment = Moment(now, now)
verifies, known = hal.update.signed.ed25519_verifies, {}

def verifies_once(*question):
    if question not in known:
        known[question] = verifies(*question)
    return known[question]

hal.update.signed.ed25519_verifies = verifies_once  # the same few signatures are looked at a thousand times

with open(folder + "/old.bundle", "rb") as file:
    OLD = file.read()
with open(folder + "/new.bundle", "rb") as file:
    NEW = file.read()
with open(folder + "/entry.json") as file:
    ENTRY = json.loads(file.read())
with open(folder + "/keys/keyring.json") as file:
    KEYS = file.read()

def with_power(medium, work):
    '''What the work gives, or None where the power went.'''
    vfs.mount(vfs.VfsLfs2(medium), "/flash")
    try:
        return work()
    except Exception:
        if medium.writes_left != 0:
            raise
        return None
    finally:
        try:
            vfs.umount("/flash")
        except OSError:
            pass

def updater():
    options = {"keys": "/flash/keys", "compatible": "simulated"}
    part = BoardSlotsUpdater(BoardSlotsUpdater.OPTIONS.check(options), "/flash")
    asyncio.run(part.start())
    return part

def install():
    part = updater()
    asyncio.run(part.install(part.download_path(), moment, False, lambda percent: None))
    return True

def first_start():
    '''The version that starts, what is on it having been mounted as for a start.'''
    slots = Slots("/flash/slots")
    chosen = choose(slots, read_keyring("/flash/keys"), architecture(), "0.2.0")
    if not chosen.slot:
        return None
    supervisor.mount(slots.path(chosen.slot) + "/firmware.romfs", "/started", bytearray)
    with open("/started/firmware/__init__.py") as file:
        version = file.read().split('"')[1]
    vfs.umount("/started")
    return version

def healthy():
    first_start()
    asyncio.run(updater().confirm())
    return True

class Budget:
    async def spend(self, count):
        pass

class Stream:
    validator = '"1"'
    def __init__(self, offset):
        self.offset = self.at = offset
    async def read(self):
        data = NEW[self.at : self.at + 1000]
        self.at += len(data)
        return data
    def close(self):
        pass

class Source:
    begun = []
    async def open(self, name, offset, validator):
        Source.begun.append(offset)
        return Stream(offset)

def download():
    asyncio.run(Download(updater().download_path(), Budget()).fetch(Source(), ENTRY, 1 << 20, lambda percent: None))
    return True

def put(name, data):
    with open("/flash/" + name, "wb") as file:
        file.write(data)

def prepare():
    put("keys", KEYS.encode())
    updater()
    put("slots/download", OLD)
    install()
    first_start()
    asyncio.run(updater().confirm())
    if what == "download":
        os.remove("/flash/slots/download")
    else:
        put("slots/download", NEW)
    if what == "first start":
        install()
    return first_start() if what == "first start" else True

work = {"download": download, "install": install, "first start": healthy}[what]
base = Medium(bytearray(BLOCK * 256))
vfs.VfsLfs2.mkfs(base)
assert with_power(base, prepare)
whole = Medium(bytearray(base.data))
Source.begun.clear()
assert with_power(whole, work)
started, broken, resumed = {}, [], 0
for cut in range(1, whole.writes + 1):
    medium = Medium(bytearray(base.data), part)
    medium.writes_left = cut
    with_power(medium, work)
    after = Medium(medium.data)
    version = with_power(after, first_start)
    started[version] = started.get(version, 0) + 1
    Source.begun.clear()
    try:
        if what == "download":
            assert with_power(after, download)
            resumed += Source.begun != [0]
        if version != "9.9.9":
            assert with_power(after, install)
            assert with_power(after, first_start) == "9.9.9"
    except Exception as exc:
        broken.append([cut, repr(exc)])
print(json.dumps({"cuts": whole.writes, "started": started, "broken": broken, "resumed": resumed}))
"""


@pytest.fixture(scope="module")
def flash(tmp_path_factory):
    """A folder with two bundles of small firmwares, and what an index says of the second one."""
    folder = tmp_path_factory.mktemp("flash")
    maker = Maker(folder / "keys")
    for name, version in (("old", "1.0.0"), ("new", "9.9.9")):
        tree = folder / name / "firmware"
        tree.mkdir(parents=True)
        (tree / "__init__.py").write_text(f'VERSION = "{version}"\n')
        (tree / "more.py").write_text(f"MORE = {random.Random(version).randbytes(9000).hex()!r}\n")
        files = {"firmware.romfs": romfs(folder / name)}
        maker.bundle(folder / f"{name}.bundle", files, version=version, architecture=ARCHITECTURE, window_bits=10)
    data = (folder / "new.bundle").read_bytes()
    entry = {"file": "new.bundle", "version": "9.9.9", "size": len(data), "sha256": maker.digest(data)}
    (folder / "entry.json").write_text(json.dumps(entry))
    return folder


def cut(flash, what, part):
    (flash / "script.py").write_text(SCRIPT)
    command = [interpreter(), "-X", "heapsize=8M", str(flash / "script.py"), str(flash), what, part, str(NOW)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(str(flash)), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", ["0", "0.5", "1"])
@pytest.mark.parametrize(
    ("what", "versions"),
    [
        ("download", {"1.0.0"}),
        ("install", {"1.0.0", "9.9.9"}),
        ("first start", {"9.9.9"}),
    ],
)
def test_a_board_whose_power_is_cut_starts_a_whole_firmware_and_the_update_goes_on(flash, what, versions, part):
    told = cut(flash, what, part)
    assert told["broken"] == []
    assert set(told["started"]) <= versions
    assert "1.0.0" in told["started"] or what == "first start"
    if what == "download":
        assert told["resumed"] > 0  # not begun anew
