"""Modbus TCP: real sockets, the real bus and port, the simulated world behind it."""

import asyncio
import ctypes
import ctypes.util
import shutil
import struct
import time

import pytest
from pymodbus.client import AsyncModbusTcpClient

from firmware.services.bus.arbiter import Bus
from firmware.services.gateway.forwarding import Forwarding
from firmware.services.gateway.listener import ModbusGateway
from firmware.services.gateway.own_registers import OwnRegisters
from firmware.services.gateway.router import ModbusRouter
from firmware.services.settings.table import SETTINGS
from hal.simulated.rs485 import SimulatedPort

DEFAULTS = {field.name: field.default for field in SETTINGS}
IDENTITY = {"mac": "02:00:00:00:02:52", "uniqueMac": True, "firmwareType": 1, "firmwareVer": 7}


class Rig:
    """A gateway with everything under it."""

    def __init__(self, state_dir, modbus_tcp=None, serial=None, forwarding=None):
        self.port = SimulatedPort({}, str(state_dir))
        self.settings = dict(DEFAULTS["modbusTcp"], **(modbus_tcp or {}))
        self.bus = Bus(self.port, dict(DEFAULTS["serial"], **(serial or {})))
        self.registers = OwnRegisters(
            IDENTITY, self.settings["maxClients"], lambda: 70000, lambda: self.gateway.client_count(), lambda: False
        )
        self.forwarding = Forwarding(forwarding or [])
        self.router = ModbusRouter(self.bus, self.registers, self.forwarding, self.settings)
        self.now = 0.0  # what is added to the gateway's time
        self.gateway = ModbusGateway(self.router, self.settings, lambda: time.monotonic() + self.now)
        self.tcp = 0
        self.writers: list = []

    async def __aenter__(self):
        await self.port.start()
        await self.bus.start()
        self.tcp = await self.gateway.start("127.0.0.1", 0)
        return self

    async def __aexit__(self, *exc):
        for writer in self.writers:
            writer.close()
        await self.gateway.stop()
        self.forwarding.stop()
        await self.bus.stop()

    async def connect(self, address="127.0.0.1"):
        """A raw connection from an address of this machine."""
        connection = await asyncio.open_connection("127.0.0.1", self.tcp, local_addr=(address, 0))
        self.writers.append(connection[1])
        return connection

    async def connected(self, count, address="127.0.0.1"):
        """So many more connections, all of them accepted."""
        want = self.gateway.client_count() + count
        connections = [await self.connect(address) for _ in range(count)]
        while self.gateway.client_count() < want:
            await asyncio.sleep(0.01)
        return connections

    async def fault(self, **fault):
        """Have the world do something wrong."""
        assert "error" not in await self.port.world.command(dict(fault, cmd="fault"))


def request(tid, uid, pdu):
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, uid) + pdu


async def answer(reader, seconds=5.0):
    header = await asyncio.wait_for(reader.readexactly(7), seconds)
    tid, protocol, length, uid = struct.unpack(">HHHB", header)
    assert protocol == 0
    return tid, uid, await asyncio.wait_for(reader.readexactly(length - 1), seconds)


async def ask(rig, uid, pdu):
    reader, writer = await rig.connect()
    writer.write(request(1, uid, pdu))
    try:
        return (await answer(reader))[2]
    finally:
        writer.close()


READ_4 = bytes([3, 0, 0, 0, 4])
NAMEPLATE = bytes([3, 8]) + struct.pack(">4H", 252, 104, 2300, 5000)


async def test_pymodbus_client_reads_and_writes(tmp_path):
    async with Rig(tmp_path) as rig:
        client = AsyncModbusTcpClient("127.0.0.1", port=rig.tcp)
        assert await client.connect()
        assert (await client.read_holding_registers(0, count=4, device_id=1)).registers == [252, 104, 2300, 5000]
        assert not (await client.write_register(10, 321, device_id=100)).isError()
        assert (await client.read_holding_registers(10, count=1, device_id=100)).registers == [321]
        assert (await client.read_holding_registers(9999, count=1, device_id=1)).exception_code == 2
        client.close()


@pytest.mark.skipif(shutil.which("mbpoll") is None, reason="mbpoll is not installed")
async def test_mbpoll_agrees(tmp_path):
    async with Rig(tmp_path) as rig:
        process = await asyncio.create_subprocess_exec(
            *f"mbpoll -m tcp -p {rig.tcp} -a 1 -0 -r 0 -c 4 -1 127.0.0.1".split(), stdout=asyncio.subprocess.PIPE
        )
        output = (await asyncio.wait_for(process.communicate(), 10))[0].decode()
        assert process.returncode == 0
        assert [line.split()[1] for line in output.splitlines() if line.startswith("[")] == [
            "252",
            "104",
            "2300",
            "5000",
        ]


@pytest.mark.skipif(ctypes.util.find_library("modbus") is None, reason="libmodbus is not installed")
async def test_libmodbus_client_agrees(tmp_path):
    library = ctypes.CDLL(ctypes.util.find_library("modbus"))
    library.modbus_new_tcp.restype = ctypes.c_void_p

    def read(port):
        context = ctypes.c_void_p(library.modbus_new_tcp(b"127.0.0.1", port))
        assert library.modbus_set_slave(context, 1) == 0
        assert library.modbus_connect(context) == 0
        words = (ctypes.c_uint16 * 4)()
        count = library.modbus_read_registers(context, 0, 4, words)
        library.modbus_close(context)
        library.modbus_free(context)
        return count, list(words)

    async with Rig(tmp_path) as rig:
        assert await asyncio.to_thread(read, rig.tcp) == (4, [252, 104, 2300, 5000])


async def test_several_requests_in_flight_get_their_own_answers(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        for tid in range(10):
            writer.write(request(500 + tid, 1, bytes([3, 0, tid % 4, 0, 1])))
        seen = {}
        for _ in range(10):
            tid, uid, pdu = await answer(reader)
            assert uid == 1
            seen[tid] = struct.unpack(">H", pdu[2:])[0]
        assert seen == {500 + tid: (252, 104, 2300, 5000)[tid % 4] for tid in range(10)}
        writer.close()


async def test_any_function_code_goes_through(tmp_path):
    async with Rig(tmp_path) as rig:
        assert await ask(rig, 100, bytes([0x41, 1, 2, 3])) == bytes([0x41, 3, 2, 1])


async def test_a_silent_unit_is_exception_11_and_others_go_on(tmp_path):
    async with Rig(tmp_path) as rig:
        silent, other = await asyncio.gather(ask(rig, 77, READ_4), ask(rig, 1, READ_4))
        assert silent == bytes([0x83, 11])
        assert other == NAMEPLATE


async def test_exception_codes_follow_the_settings(tmp_path):
    codes = {"uidFrom": 1, "uidTo": 50, "excDenied": 4, "excNoAnswer": 6, "excNoPath": 9}
    async with Rig(tmp_path, codes) as rig:
        assert await ask(rig, 100, READ_4) == bytes([0x83, 4])
        assert await ask(rig, 49, READ_4) == bytes([0x83, 6])
        await rig.port.world.command({"cmd": "unplug"})
        while rig.port.is_open:
            await asyncio.sleep(0.01)
        assert await ask(rig, 1, READ_4) == bytes([0x83, 9])


async def test_code_0_sends_no_answer(tmp_path):
    async with Rig(tmp_path, {"uidTo": 50, "excDenied": 0}) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, 60, READ_4) + request(2, 1, READ_4))
        assert (await answer(reader))[0] == 2
        writer.close()


async def test_a_broadcast_has_no_answer_and_reaches_all(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, 0, bytes([6, 0, 10, 0, 99])) + request(2, 100, bytes([3, 0, 10, 0, 1])))
        assert await answer(reader) == (2, 100, bytes([3, 2, 0, 99]))
        writer.close()


async def test_a_down_unit_answers_at_once(tmp_path):
    clock = [0.0]
    async with Rig(tmp_path, serial={"responseTimeoutMs": 30, "lateHorizonMs": 0}) as rig:
        rig.bus.health._clock = lambda: clock[0]
        for _ in range(4):
            assert await ask(rig, 77, READ_4) == bytes([0x83, 11])
            clock[0] += 1
        sent = rig.bus.state()["sent"]
        clock[0] -= 0.99  # not yet time for the next probe
        for _ in range(5):
            assert await ask(rig, 77, READ_4) == bytes([0x83, 11])
        assert rig.bus.state()["sent"] == sent
        assert rig.bus.health.state(str)["77"]["down"] is True


async def test_own_registers(tmp_path):
    async with Rig(tmp_path) as rig:
        assert await ask(rig, 111, bytes([3, 0, 0, 0, 2])) == bytes([3, 4, 0, 1, 0, 7])
        uptime = await ask(rig, 111, bytes([3, 0, 123, 0, 4]))
        assert struct.unpack(">4H", uptime[2:]) == (1, 70000 - 65536, 1, 8)
        mac = struct.unpack(">6H", (await ask(rig, 111, bytes([3, 3, 234, 0, 6])))[2:])
        assert mac == (2, 0, 0, 0, 2, 0x52)
        assert await ask(rig, 111, bytes([3, 0, 2, 0, 1])) == bytes([0x83, 2])
        assert await ask(rig, 111, bytes([4, 0, 0, 0, 1])) == bytes([0x84, 1])
        assert await ask(rig, 111, bytes([6, 3, 0xF1, 0, 0])) == bytes([0x86, 1])  # only the cloud may write


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">HHHB", 1, 0, 1, 1),
        struct.pack(">HHHB", 1, 0, 256, 1) + bytes(255),
    ],
)
async def test_what_is_not_modbus_tcp_closes_the_connection(tmp_path, rubbish):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        writer.write(rubbish)
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        writer.close()
        assert await ask(rig, 1, READ_4) == NAMEPLATE


async def test_a_frame_of_another_protocol_is_skipped_and_the_connection_lives(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        writer.write(struct.pack(">HHHB", 1, 7, 6, 1) + READ_4 + request(2, 1, READ_4))
        assert await answer(reader) == (2, 1, NAMEPLATE)
        writer.close()


@pytest.mark.parametrize("pdu", [bytes([0x83, 2]), bytes([0xFF, 0, 0]), bytes([0, 0, 0, 0, 4])])
@pytest.mark.parametrize("uid", [0, 1, 111])
async def test_what_no_client_sends_is_not_answered_and_ends_the_connection(tmp_path, uid, pdu):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, uid, pdu))
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        writer.close()
        assert rig.bus.state()["sent"] == 0


async def test_requests_split_at_every_byte(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        for byte in request(9, 1, READ_4):
            writer.write(bytes([byte]))
            await writer.drain()
        assert await answer(reader) == (9, 1, NAMEPLATE)
        writer.close()


async def test_clients_over_the_limit_are_refused(tmp_path):
    async with Rig(tmp_path, {"maxClients": 2}) as rig:
        connections = [await rig.connect() for _ in range(2)]
        while rig.gateway.client_count() < 2:
            await asyncio.sleep(0.01)
        for _ in range(200):
            reader, writer = await rig.connect()
            try:
                assert await asyncio.wait_for(reader.read(), 5) == b""
            except ConnectionResetError:
                pass
            writer.close()
        assert rig.gateway.client_count() == 2
        connections[0][1].write(request(3, 1, READ_4))
        assert await answer(connections[0][0]) == (3, 1, NAMEPLATE)
        for _, writer in connections:
            writer.close()


async def lives(connection):
    """Whether a client still gets answers."""
    reader, writer = connection
    try:
        writer.write(request(7, 1, READ_4))
        return await answer(reader) == (7, 1, NAMEPLATE)
    except (asyncio.IncompleteReadError, ConnectionError):
        return False


async def test_silent_clients_of_one_address_do_not_shut_another_out(tmp_path):
    async with Rig(tmp_path) as rig:
        await rig.connected(8, "127.0.0.2")
        assert await lives(await rig.connect("127.0.0.3"))
        assert await lives(await rig.connect("127.0.0.4"))
        assert rig.gateway.client_count() == 8


async def test_an_address_does_not_take_the_places_of_the_others(tmp_path):
    async with Rig(tmp_path, {"maxClients": 4}) as rig:
        others = [(await rig.connected(1, f"127.0.0.{number}"))[0] for number in (2, 3)]
        for _ in range(20):
            await rig.connect("127.0.0.9")
        assert [await lives(other) for other in others] == [True, True]
        assert rig.gateway.client_count() == 4


async def test_the_client_idle_longest_gives_way_where_all_places_are_taken(tmp_path):
    async with Rig(tmp_path, {"maxClients": 2}) as rig:
        (first,) = await rig.connected(1, "127.0.0.2")
        (second,) = await rig.connected(1, "127.0.0.3")
        rig.now = 20
        assert await lives(second)
        assert await lives(await rig.connect("127.0.0.4"))
        assert not await lives(first)
        assert await lives(second)


async def test_a_client_that_waits_for_its_answer_is_not_idle(tmp_path):
    async with Rig(tmp_path, {"maxClients": 1, "idleSec": 10}, {"responseTimeoutMs": 1600}) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, 77, READ_4))
        while not rig.bus.state()["sent"]:
            await asyncio.sleep(0.01)
        rig.now = 1000
        await asyncio.sleep(1.2)  # the look for idle ones comes once a second
        assert await answer(reader) == (1, 77, bytes([0x83, 11]))
        rig.now = 2000
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_flood_of_requests_leaves_the_event_loop_to_the_others(tmp_path):
    async with Rig(tmp_path) as rig:
        answered = 0

        def uptime():
            nonlocal answered
            answered += 1
            return 0

        rig.registers._uptime_minutes = uptime
        flood = request(1, 111, bytes([3, 0, 0, 0, 1])) * 1000
        connections = [await rig.connect() for _ in range(8)]
        readers = [asyncio.create_task(reader.readexactly(11 * 1000)) for reader, _ in connections]
        for _, writer in connections:
            writer.write(flood)
        most = 0
        while not all(reader.done() for reader in readers):
            before = answered
            await asyncio.sleep(0)
            most = max(most, answered - before)
        assert answered == 8 * 1000
        assert most == 1  # in one turn of the loop


async def test_a_flood_of_frames_of_another_protocol_leaves_it_too(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        flood = (struct.pack(">HHHB", 1, 7, 6, 1) + READ_4) * 1000
        writer.write(flood + request(2, 111, bytes([3, 0, 0, 0, 1])))
        waiting = asyncio.create_task(answer(reader))
        turns = 0
        while not waiting.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 1000


async def test_only_allowed_addresses_are_served(tmp_path):
    async with Rig(tmp_path, {"allow": ["10.0.0.0/8"]}) as rig:
        reader, writer = await rig.connect()
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        writer.close()


async def test_a_client_that_never_reads_holds_nobody_up(tmp_path):
    async with Rig(tmp_path, {"ownUid": 111}) as rig:
        _, deaf = await rig.connect()
        flood = request(1, 111, bytes([3, 0, 0, 0, 2])) * 200
        for _ in range(200):
            deaf.write(flood)
        assert await ask(rig, 1, READ_4) == NAMEPLATE
        deaf.transport.abort()
        while rig.gateway.client_count():
            await asyncio.sleep(0.01)


async def test_identical_reads_share_one_exchange(tmp_path):
    async with Rig(tmp_path, {"maxClients": 8}) as rig:
        before = rig.bus.state()["sent"]
        blocker = asyncio.create_task(ask(rig, 33, READ_4))
        await asyncio.sleep(0.01)
        answers = await asyncio.gather(*[ask(rig, 1, READ_4) for _ in range(6)])
        await blocker
        assert answers == [NAMEPLATE] * 6
        assert rig.bus.state()["sent"] - before <= 3


class Remote:
    """A Modbus TCP server that answers function 3 with its unit id and the address asked for."""

    def __init__(self, delay=0.0, deaf=False):
        self.delay = delay
        self.deaf = deaf
        self.connections = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            while True:
                tid, uid, pdu = await answer(reader, 60)
                if not self.deaf:
                    asyncio.get_running_loop().call_later(
                        self.delay, writer.write, request(tid, uid, bytes([3, 4, 0, uid]) + pdu[1:3])
                    )
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def row(first, last, port, offset=0):
    return {"uidFrom": first, "uidTo": last, "host": "127.0.0.1", "port": port, "uidOffset": offset}


async def test_forwarded_units_are_answered_by_their_server(tmp_path):
    async with Remote() as remote, Rig(tmp_path, forwarding=[row(200, 210, remote.port, -190)]) as rig:
        answers = await asyncio.gather(*[ask(rig, uid, bytes([3, 0, uid, 0, 2])) for uid in range(200, 206)])
        assert answers == [bytes([3, 4, 0, uid - 190, 0, uid]) for uid in range(200, 206)]
        assert remote.connections == 1
        assert await ask(rig, 1, READ_4) == NAMEPLATE


async def test_a_failing_server_does_not_delay_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr("firmware.services.gateway.forwarding.ANSWER_SEC", 0.3)
    async with Remote() as good, Remote(deaf=True) as deaf:
        table = [row(200, 200, good.port), row(201, 201, deaf.port), row(202, 202, 1)]
        async with Rig(tmp_path, forwarding=table) as rig:
            silent = asyncio.create_task(ask(rig, 201, READ_4))
            refused = asyncio.create_task(ask(rig, 202, READ_4))
            assert (await ask(rig, 200, READ_4))[0] == 3
            assert await refused == bytes([0x83, 10])
            assert not silent.done()
            assert await silent == bytes([0x83, 11])
