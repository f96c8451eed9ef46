"""A device whose name servers are silent: it waits for names, and nothing waits for it."""

import asyncio
import os
import shutil
import socket
import threading

import pytest

from hal.runtime.cpython import resolver
from hal.runtime.cpython.event_loop import new_event_loop
from tests.firmware.running import BOARD, Running

NAME_SERVER = "127.0.0.54"
RESOLV_CONF = f"nameserver {NAME_SERVER}\noptions timeout:30 attempts:5\n"
IN_A_ROOM_OF_ITS_OWN = ("unshare", "--mount", "sh", "-ec", 'mount --bind "$0" /etc/resolv.conf; exec "$@"')
NAMED = {"enabled": True, "host": "silent.example"}


def count(sock, names):
    """Count the names that are asked for, and answer none."""
    try:
        while True:
            question = sock.recv(512)
            names.add(question[13 : 13 + question[12]])
    except OSError:
        pass


@pytest.fixture
def asked():
    """The names for which the silent server was asked."""
    names: set = set()
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((NAME_SERVER, 53))
        thread = threading.Thread(target=count, args=(sock, names), daemon=True)
        thread.start()
        yield names


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_silent_name_servers_delay_neither_settings_nor_the_end(tmp_path, asked):
    (tmp_path / "resolv.conf").write_text(RESOLV_CONF)
    servers = {key: dict(NAMED, host=f"{key.lower()}.example") for key in ("cbCloud", "ownSrv", "rmSrv")}
    rows = [{"uidFrom": uid, "uidTo": uid, "host": f"row{uid}.example"} for uid in range(200, 220)]
    ntp = {"enabled": True, "server1": "time.example"}
    board = dict(BOARD, settings=dict(BOARD["settings"], forwarding=rows, ntp=ntp, **servers))
    with Running(tmp_path, board, prefix=(*IN_A_ROOM_OF_ITS_OWN, str(tmp_path / "resolv.conf"))) as device:
        device.login()
        port = int(device.line.split("Modbus TCP 127.0.0.1:")[1].split(",")[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            for row in rows[:10]:
                client.sendall(bytes([0, 1, 0, 0, 0, 6, row["uidFrom"], 3, 0, 0, 0, 1]))
            while len(asked) < resolver.THREADS:
                device.get("version/")
            for minutes in range(5):
                device.post("settings/saved/set/", {"timeGmt": minutes})
            assert device.get("settings/saved/get/?timeGmt") == {"timeGmt": 4}
            device.process.terminate()
            assert device.process.wait(10) == 0


def on_the_device_loop(coroutine):
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(coroutine)


def test_names_are_looked_up_as_before():
    async def look_up():
        found = await asyncio.get_running_loop().getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("no such name", 80)
        return {entry[4][0] for entry in found}

    assert on_the_device_loop(look_up()) & {"127.0.0.1", "::1"}


def test_more_names_than_may_wait_are_refused_at_once(monkeypatch):
    monkeypatch.setattr(resolver, "NAMES_LIMIT", 2)
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *question: released.wait(10) and [question[0]])

    async def look_up():
        loop = asyncio.get_running_loop()
        names = ["a", "b", "a"]
        waiting = [asyncio.create_task(loop.getaddrinfo(name, 80)) for name in names]
        await asyncio.sleep(0)
        with pytest.raises(socket.gaierror, match="2 names are being looked up"):
            await loop.getaddrinfo("c", 80)
        waiting[0].cancel()
        released.set()
        return await asyncio.gather(*waiting[1:])

    assert on_the_device_loop(look_up()) == [["b"], ["a"]]
