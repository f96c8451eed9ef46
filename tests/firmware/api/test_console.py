"""What stands at `/`: the console, or why there is none; and what its login page is told."""

import asyncio
import json

from firmware.api.errors import error_answer
from firmware.api.routes import add_console
from tests.firmware.http.rig import Rig, get
from tests.firmware.running import BOARD, Running


async def said_at_the_root(folder):
    async with Rig() as rig:
        add_console(rig.server, str(folder))
        reader, writer = await rig.connect()
        writer.write(get("/"))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        return head.split()[1], json.loads(await reader.readexactly(length))


async def test_without_a_built_console_the_root_says_why(tmp_path):
    status, body = await said_at_the_root(tmp_path / "nothing")
    assert (status, body["error"]) == (b"501", "NOT_BUILT")
    assert "make console" in body["message"] and "/api" in body["message"]
    (tmp_path / "why-not.txt").write_text("preact cannot be fetched; is there a network?")
    _, body = await said_at_the_root(tmp_path)
    assert "is there a network?" in body["message"]
    (tmp_path / "files.txt").write_text("")  # broken off
    assert (await said_at_the_root(tmp_path))[0] == b"501"
    assert error_answer("NOT_BUILT", "").status_code == 501


def test_a_guest_is_told_whether_a_login_is_needed_and_there_is_one(tmp_path):
    board = json.loads(json.dumps(BOARD))
    (tmp_path / "with").mkdir()
    with Running(tmp_path / "with") as device:
        assert list(device.get("login/salt/")) == ["salt"]
        device.control("button press")
        assert device.get("login/salt/")["open"] is True
    del board["system"]["factoryLogin"]
    (tmp_path / "without").mkdir()
    with Running(tmp_path / "without", board) as device:
        answer = device.get("login/salt/")
        assert answer["firstStart"] is True and "open" not in answer
