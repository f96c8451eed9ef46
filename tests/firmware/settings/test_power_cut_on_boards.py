"""Settings on the file systems of boards, on MicroPython: a power cut at each write leaves the old ones or the new."""

import json
import subprocess

import pytest

from tests.machine.starter import ROOT, environment, interpreter
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

SCRIPT = """
import json, sys, vfs
from firmware.services.settings.document_store import DocumentStore

kind, part = sys.argv[1], float(sys.argv[2])  # how much of the last block is written
FileSystem = {"littlefs": vfs.VfsLfs2, "FAT": vfs.VfsFat}[kind]
FIRST, SECOND = {"version": 1, "text": "x" * 900}, {"version": 2, "text": "y" * 1500}

class Medium:
    '''Blocks in memory; the power is cut in the write of a number.'''
    def __init__(self, data):
        self.data = data
        self.writes_left = -1
        self.writes = 0
    def readblocks(self, block, buffer, offset=0):
        if self.writes_left == 0:
            raise OSError(5)
        buffer[:] = self.data[block * 512 + offset : block * 512 + offset + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        self.writes += 1
        begin, size = block * 512 + offset, len(buffer)
        if self.writes_left > 0:
            self.writes_left -= 1
            if self.writes_left == 0:
                size = int(size * part)
        elif self.writes_left == 0:
            raise OSError(5)
        self.data[begin : begin + size] = buffer[:size]
        if self.writes_left == 0:
            raise OSError(5)
    def ioctl(self, request, argument):
        if request == 6 and not self.writes_left:
            raise OSError(5)
        return {4: len(self.data) // 512, 5: 512}.get(request, 0)

def used(medium, work):
    vfs.mount(FileSystem(medium), "/flash")
    try:
        return work()
    except OSError:
        return None
    finally:
        try:
            vfs.umount("/flash")
        except OSError:
            pass

def save(document):
    def work():
        store = DocumentStore("/flash", "settings.json")
        store.load()
        store.save(document)
        return True
    return work

def load():
    store = DocumentStore("/flash", "settings.json")
    return store.load()[0]

base = Medium(bytearray(512 * 256))
FileSystem.mkfs(base)
assert used(base, save({"version": 0}))
assert used(base, save(FIRST))
whole = Medium(bytearray(base.data))
assert used(whole, save(SECOND)) and used(whole, load) == SECOND
outcomes, broken, again = {"old": 0, "new": 0}, [], []
for cut in range(1, whole.writes + 1):
    medium = Medium(bytearray(base.data))
    medium.writes_left = cut
    told = used(medium, save(SECOND))
    after = Medium(medium.data)
    found = used(after, load)
    if found not in (FIRST, SECOND) or (told and found != SECOND):
        broken.append([cut, str(found)[:40]])
        continue
    outcomes["new" if found == SECOND else "old"] += 1
    third = Medium(after.data)
    if not used(third, save({"version": 3})) or used(third, load) != {"version": 3}:
        again.append(cut)
print(json.dumps({"cuts": whole.writes, "outcomes": outcomes, "broken": broken, "again": again}))
"""


@pytest.mark.parametrize("part", ["0", "0.5", "1"])
@pytest.mark.parametrize("kind", ["littlefs", "FAT"])
def test_a_power_cut_at_each_write_leaves_the_old_settings_or_the_new(tmp_path, kind, part):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [interpreter(), "-X", "heapsize=4M", str(tmp_path / "script.py"), kind, part]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(str(tmp_path)), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])  # the lines before it are the medium's own errors
    assert told["broken"] == []
    assert told["again"] == []  # what is saved after the cut is in force
    assert told["outcomes"]["old"] > 0 and (part != "1" or told["outcomes"]["new"] > 0)
    assert told["cuts"] >= 10
