"""What is laid out for a board: it compiles, it can be frozen, and it starts from a board's own file system."""

import ast
import json
import socket
import subprocess
import zlib

import pytest

from deploy.micropython.image import make_image, sources
from deploy.micropython.texts import without_texts
from firmware.api.openapi import document_parts
from tests.machine.starter import ROOT, environment, interpreter
from tests.micropython import NEEDS_MICROPYTHON

FROM_LITTLEFS = """
import io, os, sys, vfs
import machine

class Memory:
    def __init__(self, blocks):
        self._data = bytearray(blocks * 512)
    def readblocks(self, block, buffer, offset=0):
        buffer[:] = self._data[block * 512 + offset : block * 512 + offset + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        self._data[block * 512 + offset : block * 512 + offset + len(buffer)] = buffer
    def ioctl(self, request, argument):
        return {4: len(self._data) // 512, 5: 512, 6: 0}.get(request)

def copy(source, target):
    for name, kind in [entry[:2] for entry in os.ilistdir(source)]:
        if kind == 0x4000:
            os.mkdir(target + "/" + name)
            copy(source + "/" + name, target + "/" + name)
        else:
            with open(source + "/" + name, "rb") as file, open(target + "/" + name, "wb") as made:
                made.write(file.read())

folder = sys.argv[1]
flash = Memory(3072)
vfs.VfsLfs2.mkfs(flash)
vfs.mount(vfs.VfsLfs2(flash), "/flash")
copy(folder, "/flash")
vfs.umount("/flash")
vfs.umount("/")
vfs.mount(vfs.VfsLfs2(flash), "/")
vfs.mount(vfs.VfsPosix("/"), "/host")
machine._FOLDER = "/host" + machine._FOLDER
sys.path[:] = [".frozen"]
os.chdir("/")
exec(open("/main.py").read())
"""


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("image")
    board = folder / "a-board.json"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        settings = {"httpd": {"port": sock.getsockname()[1]}, "modbusTcp": {"enabled": False}}
    board.write_text(json.dumps({"board": "a", "system": {"driver": "micropython"}, "settings": settings}))
    keyring = folder / "keyring.json"
    keyring.write_text('{"roots": []}')
    make_image(board, folder / "made", keyring)
    return folder / "made"


def test_the_image_holds_the_firmware_and_nothing_that_needs_cpython(image):
    names = {str(path.relative_to(image / "files" / "system")) for path in (image / "files" / "system").rglob("*.*")}
    assert {"firmware/device.mpy", "hal/micropython/rs485.mpy", "microdot/microdot.mpy"} <= names
    assert "firmware/templates/eastron-sdm630.json" in names
    assert not [name for name in names if name.startswith(("hal/linux", "hal/simulated", "firmware/maker"))]
    assert (image / "firmware.romfs").read_bytes()[:3] == b"\xd2\xcd\x31"
    assert (image / "files" / "update-keys.json").read_text() == '{"roots": []}'


def test_the_apis_document_is_made_beforehand_and_what_only_it_says_takes_no_memory_of_a_board(image):
    system = image / "files" / "system"
    document = zlib.decompress((system / "firmware" / "api" / "openapi.z").read_bytes()).decode()
    assert json.loads(document) == json.loads("".join(document_parts()))
    for text, home in (
        ("allow updates to be downloaded", "services/settings/table"),
        ("raw request:", "api/endpoints/bus/modbus"),
    ):
        assert text in document
        assert text.encode() not in (system / "firmware" / f"{home}.mpy").read_bytes()
    assert not list(system.rglob("*.py"))


def test_lines_stay_where_they_are_when_texts_are_left_out():
    source = 'a = Field("n", K, None, "what it\\n" "is")\nb = f(help="x"\n "y", c="z")\nEndpoint("GET", p, 1, "é")\n'
    assert without_texts(source) == 'a = Field("n", K, None, "")\nb = f(help=""\n, c="z")\nEndpoint("GET", p, 1, "")\n'


def test_every_text_of_the_firmware_can_be_frozen():
    for path, name in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value.encode("utf-8", "replace").decode() == node.value, f"{name}:{node.lineno}"


@NEEDS_MICROPYTHON
def test_the_device_starts_from_a_littlefs_as_it_is_laid_out(image, tmp_path):
    (tmp_path / "script.py").write_text(FROM_LITTLEFS)
    command = [interpreter(), "-X", "heapsize=6M", str(tmp_path / "script.py"), str(image / "files")]
    environ = environment(str(tmp_path))
    with subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline()
            assert said.startswith("http://0.0.0.0:"), said + process.stdout.read()
        finally:
            process.terminate()
