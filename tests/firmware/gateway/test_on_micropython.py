"""The gateway on MicroPython: its own unit by Modbus TCP, RTU over TCP and UDP, and a forwarded one."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from tests.firmware.gateway.test_doors import adu, free_port
from tests.firmware.gateway.test_gateway import IDENTITY, request

ROOT = pathlib.Path(__file__).parents[3]
MICROPYTHON = shutil.which("micropython", path=os.path.dirname(sys.executable))
SCRIPT = """
import asyncio, json, socket, sys
from firmware.services.bus.absent import NoBus
from firmware.services.routing.forwarding import Forwarding
from firmware.services.gateway.listener import ModbusGateway
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import default

given = json.loads(sys.stdin.read())


async def ask(port, question):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(bytes(question))
    await writer.drain()
    return list(await reader.read(100))


async def main():
    tcp, rtu, udp = given["ports"]
    settings = dict(default("modbusTcp"), rtuPort=rtu, udpPort=udp)
    registers = OwnRegisters(given["identity"], 8, lambda: 1, lambda: 0, lambda: False)
    row = {"uidFrom": 5, "uidTo": 5, "host": "localhost", "port": 1, "uidOffset": 0}
    forwarding = Forwarding([dict(row, inFlight=1, answerMs=300, connectPauseMs=0)])
    gateway = ModbusGateway(ModbusRouter(NoBus(), registers, forwarding, settings), settings)
    await gateway.listen("127.0.0.1", tcp)
    answers = [await ask(tcp, given["tcp"]), await ask(tcp, given["forwarded"]), await ask(rtu, given["rtu"])]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.sendto(bytes(given["tcp"]), socket.getaddrinfo("127.0.0.1", udp)[0][-1])
    sock.setblocking(False)
    while len(answers) < 4:
        await asyncio.sleep(0.01)
        try:
            answers.append(list(sock.recv(100)))
        except OSError:
            pass
    print(json.dumps(answers))
    await gateway.stop()


asyncio.run(main())
"""


@pytest.mark.skipif(MICROPYTHON is None, reason="there is no MicroPython for this machine")
def test_micropython_answers_as_cpython_does(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    read = bytes([3, 0, 0, 0, 2])
    given = {
        "ports": [free_port() for _ in range(3)],
        "identity": IDENTITY,
        "tcp": list(request(1, 111, read)),
        "forwarded": list(request(2, 5, read)),
        "rtu": list(adu(111, bytes([6, 3, 0xF1, 0, 0]))),
    }
    done = subprocess.run(
        [MICROPYTHON, "-X", "heapsize=1M", str(tmp_path / "script.py")],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=60,
        env={"MICROPYPATH": f"{ROOT}:.frozen"},
        check=False,
    )
    own = request(1, 111, bytes([3, 4, 0, 1, 0, 7]))
    expected = [own, request(2, 5, bytes([0x83, 10])), adu(111, bytes([0x86, 1])), own]
    assert json.loads(done.stdout or "null") == [list(answer) for answer in expected], done.stderr
