"""What was stopped stays stopped, also where something wakes it in the same turn of the event loop."""

import asyncio
import json
import pathlib
import shutil
import socket
import subprocess
import sys

import pytest

from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import JsonResponse
from firmware.http.server import HttpServer
from firmware.http.vpn_listener import VpnListener
from firmware.services.bus.absent import NoBus
from firmware.services.bus.arbiter import Bus
from firmware.services.bus.transaction import GATEWAY, Transaction
from firmware.services.gateway.callback import CloudConnection
from firmware.services.routing.forwarding import Forwarding, RemoteServer
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import SETTINGS
from hal.contracts import Network
from hal.gsm import at
from hal.gsm import modem as gsm
from hal.linux.modem import AtModem
from hal.linux.storage.card import LinuxCard
from hal.simulated.modem.fake import FakeModem
from hal.simulated.rs485 import SimulatedPort

ROOT = pathlib.Path(__file__).parents[1]
DEFAULTS = {field.name: field.default for field in SETTINGS}
IDENTITY = {"mac": "02:00:00:00:02:52", "uniqueMac": True, "firmwareType": 1, "firmwareVer": 7}


class Loopback(Network):
    """A network whose VPN interface is the loopback."""

    def __init__(self):
        super().__init__()
        self.opened = 0

    def interface_index(self, interface):
        return 1

    def listen_on(self, interface, port, beside):
        self.opened += 1
        return socket.create_server(("127.0.0.1", 0))


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


def router():
    registers = OwnRegisters(IDENTITY, 8, lambda: 1, lambda: 0, lambda: False)
    return ModbusRouter(NoBus(), registers, Forwarding([]), DEFAULTS["modbusTcp"]), registers


async def vpn_listener(folder):
    server = HttpServer(HttpLimits(), JsonResponse)
    await server.listen("127.0.0.1", 0, 0)
    network = Loopback()
    listener = VpnListener(server, network, ["wg0"], 2, 0)
    await listener.start()

    async def stop():
        await listener.stop()
        await server.stop()

    return lambda: network.on_change(), stop


async def card(folder):
    part = LinuxCard(LinuxCard.OPTIONS.check({"mountPoint": str(folder)}), "")
    await part.start()
    return part._changed.set, part.stop


async def cloud_connection(folder):
    settings = dict(DEFAULTS["cbCloud"], enabled=True, host="127.0.0.1", port=1, reconnectSec=60)
    connection = CloudConnection(*router(), settings)
    await connection.start()
    await until(lambda: connection.state()["lastError"] is not None)
    return connection._redial.set, connection.stop


async def remote_server(folder):
    async def accept(reader, writer):
        await reader.read()
        writer.close()
        ended.append(1)

    ended: list = []

    remote = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = remote.sockets[0].getsockname()[1]
    row = {"host": "127.0.0.1", "port": port, "inFlight": 1, "connectPauseMs": 0}
    part = RemoteServer(row, asyncio.open_connection)

    def ask():
        part.ask(Transaction(1, b"\x03\x00\x00\x00\x01", GATEWAY, "client"), 1, 5)

    ask()
    await asyncio.sleep(0.05)

    async def stop():
        await part.stop()
        remote.close()
        await until(lambda: ended)  # the far end

    return ask, stop


async def bus(folder):
    port = SimulatedPort({}, str(folder))
    await port.start()
    part = Bus(port, DEFAULTS["serial"])
    await part.start()

    async def stop():
        await part.stop()
        await port.stop()

    return part._waiting.set, stop


async def modem(folder):
    fake = FakeModem(str(folder / "tty"))
    await fake.start()
    part = AtModem(AtModem.OPTIONS.check({"port": str(folder / "tty")}), str(folder))
    part.configure("", "", None, None)
    await part.start()
    await until(lambda: part._status is not None)
    await asyncio.sleep(0.05)

    async def stop():
        await part.stop()
        await fake.stop()

    return part._wake.set, stop


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("make", [vpn_listener, card, cloud_connection, remote_server, bus, modem])
async def test_what_is_stopped_while_it_wakes_up_ends(make, turns, tmp_path, monkeypatch):
    monkeypatch.setattr(gsm, "LEAST_SEC", 0.0)
    monkeypatch.setattr(at, "ANSWER_SEC", 1.0)
    wake, stop = await make(tmp_path)
    wake()
    for _ in range(turns):
        await asyncio.sleep(0)
    await stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_vpn_listener_opens_no_socket_after_it_was_stopped():
    server = HttpServer(HttpLimits(), JsonResponse)
    await server.listen("127.0.0.1", 0, 0)
    network = Loopback()
    listener = VpnListener(server, network, ["wg0"], 2, 0)
    await listener.start()
    network.on_change()
    await asyncio.sleep(0)
    await listener.stop()
    await asyncio.sleep(0.05)
    await server.stop()
    assert network.opened == 1


ON_MICROPYTHON = """
import asyncio, json
from hal.runtime import in_time, wait_until

async def one(wait, turns):
    event = asyncio.Event()
    ended = []
    async def waiter():
        await wait(event)
        await asyncio.sleep(0)
        ended.append(1)
    task = asyncio.create_task(waiter())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0.02)
    return not ended

async def main():
    waits = (lambda event: wait_until(event, 5), lambda event: in_time(event.wait(), 5))
    held = []
    for wait in waits:
        for turns in range(2):
            held.append(await one(wait, turns))
    print(json.dumps(held))

asyncio.run(main())
"""


def pythons():
    beside = pathlib.Path(sys.executable).with_name("micropython")
    return [sys.executable, str(beside) if beside.exists() else shutil.which("micropython")]


@pytest.mark.parametrize("python", pythons())
def test_a_cancellation_in_the_turn_in_which_the_wait_ends_is_not_swallowed(python):
    if python is None:
        pytest.skip("no MicroPython here")
    environment = {"PYTHONPATH": str(ROOT), "MICROPYPATH": f"{ROOT}:.frozen"}
    done = subprocess.run([python, "-c", ON_MICROPYTHON], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stderr == ""
    assert json.loads(done.stdout) == [True] * 4
