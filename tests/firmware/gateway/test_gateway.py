"""Modbus TCP: real sockets, the real bus and port, the simulated world behind it."""

import asyncio
import ctypes
import ctypes.util
import shutil
import socket
import struct

import pytest
from pymodbus.client import AsyncModbusTcpClient

from firmware import VERSION
from firmware.api.endpoints import ENDPOINTS
from firmware.api.endpoints.bus.modbus import modbus_req, modbus_resp
from firmware.services.bus.absent import NoBus
from firmware.services.bus.arbiter import Bus
from firmware.services.errors import Refused
from firmware.services.gateway.listener import ModbusGateway
from firmware.services.problems import Problems
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.routing.requests import ModbusRequests
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import SETTINGS
from firmware.services.transfers import Transfers
from hal.fields import BadField
from hal.simulated.rs485 import SimulatedPort
from tests.firmware.calls import call

ROWS = next(field for field in SETTINGS if field.name == "forwarding")
BODY = next(endpoint.body for endpoint in ENDPOINTS if endpoint.path == "/api/modbus/req/")
DEFAULTS = {field.name: field.default for field in SETTINGS}
IDENTITY = {"mac": "02:00:00:00:02:52", "uniqueMac": True, "firmwareType": 1, "firmwareVer": 7} | {
    "manufacturer": "Maker",
    "device": "MC252",
}


class Rig:
    """A gateway with everything under it."""

    def __init__(self, state_dir, modbus_tcp=None, serial=None, forwarding=None, host="127.0.0.1", port=0, tunnel=()):
        self.host = host
        self.port_wanted = port
        self.port = SimulatedPort({}, str(state_dir))
        self.settings = dict(DEFAULTS["modbusTcp"], **(modbus_tcp or {}))
        self.bus = Bus(self.port, dict(DEFAULTS["serial"], **(serial or {})))
        self.registers = OwnRegisters(
            IDENTITY, self.settings["maxClients"], lambda: 70000, lambda: self.gateway.client_count(), lambda: False
        )
        self.forwarding = Forwarding(forwarding or [], asyncio.open_connection)  # to loopback too
        self.transfers = Transfers()
        self.router = ModbusRouter(self.bus, self.registers, self.forwarding, self.settings, self.transfers)
        self.requests = ModbusRequests(self.router)
        self.problems = Problems()
        self.now = 0.0  # the gateway's time in seconds, which goes on when it is told to
        self.gateway = ModbusGateway(self.router, self.settings, self.problems, self.milliseconds, tunnel)
        self.tcp = 0
        self.writers: list = []

    def milliseconds(self):
        return round(self.now * 1000)

    async def __aenter__(self):
        await self.port.start()
        await self.bus.start()
        self.tcp = await self.gateway.listen(self.host, self.port_wanted)
        return self

    async def __aexit__(self, *exc):
        for writer in self.writers:
            writer.close()
        await self.gateway.stop()
        await self.forwarding.stop()
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

    async def ask_http(self, **fields):
        """The result of a request as HTTP has it."""
        services = {"modbus_requests": self.requests}
        tid = (await modbus_req(call(services, BODY.check(fields))))["tid"]
        return await modbus_resp(call(services, query={"tid": tid, "wait": 10000}))


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


async def test_the_first_and_the_last_unit_that_clients_may_reach_answer(tmp_path):
    async with Rig(tmp_path, {"uidFrom": 1, "uidTo": 1, "excDenied": 4, "ownUid": 111}) as rig:
        assert await ask(rig, 1, READ_4) == NAMEPLATE
        assert await ask(rig, 2, READ_4) == bytes([0x83, 4])
        assert await ask(rig, 111, READ_4) == bytes([0x83, 2])  # by the device itself
    async with Rig(tmp_path, {"uidFrom": 100, "uidTo": 247, "excDenied": 4}) as rig:
        assert await ask(rig, 99, READ_4) == bytes([0x83, 4])
        assert (await ask(rig, 100, READ_4))[0] == 3


async def test_what_is_asked_over_tcp_says_who_asks(tmp_path):
    async with Rig(tmp_path) as rig:
        told = []
        rig.bus.on_exchange = lambda transaction, pdu, exchange: told.append((transaction.origin, transaction.uid))
        assert await ask(rig, 1, READ_4) == NAMEPLATE
        assert told == [("tcp 127.0.0.1", 1)]


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
        rig.bus.health._clock = lambda: round(clock[0] * 1000)
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


async def test_its_own_unit_says_who_it_is(tmp_path):
    async with Rig(tmp_path) as rig:
        client = AsyncModbusTcpClient("127.0.0.1", port=rig.tcp)
        assert await client.connect()
        identity = await client.read_device_information(device_id=111)
        assert list(identity.information.values()) == [b"Maker", b"MC252", VERSION.encode()]
        one = await client.read_device_information(read_code=4, object_id=1, device_id=111)
        assert one.information == {1: b"MC252"}
        server = await client.report_device_id(device_id=111)
        assert (server.status, server.identifier) == (True, b"Maker MC252 " + VERSION.encode())
        client.close()
        assert await ask(rig, 111, bytes([43, 14, 3, 77])) == await ask(rig, 111, bytes([43, 14, 3, 0]))
        assert await ask(rig, 111, bytes([43, 14, 4, 3])) == bytes([0xAB, 2])
        assert await ask(rig, 111, bytes([43, 14, 5, 0])) == bytes([0xAB, 3])
        assert await ask(rig, 111, bytes([43, 13, 1, 0])) == bytes([0xAB, 1])


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


async def test_who_comes_over_the_tunnel_finds_a_place_and_keeps_it(tmp_path):
    async with Rig(tmp_path, {"maxClients": 3}, tunnel=["127.0.8.0/24", "0.0.0.0/0"]) as rig:
        others = [(await rig.connected(1, f"127.0.0.{number}"))[0] for number in (2, 3, 4)]
        assert [await lives(other) for other in others] == [True] * 3
        assert not await lives(await rig.connect("127.0.0.5"))
        administrator = await rig.connect("127.0.8.1")
        assert await lives(administrator)
        assert rig.gateway.client_count() == 3
        rig.now = 100
        for number in range(20, 40):
            await rig.connect(f"127.0.0.{number}")
        assert await lives(administrator)


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
    """A Modbus TCP server that answers function 3 with its unit id and the address asked for.

    `as_unit` is the unit id of its answers where it is not the one asked; `once`: it closes after each answer;
    `careless`: of what it receives at once it answers the first request and forgets the rest; `late_start`: it forgets
    what comes within so many seconds of connecting.
    """

    def __init__(self, delay=0.0, deaf=False, as_unit=None, once=False, careless=False, late_start=0.0):
        self.delay = delay
        self.deaf = deaf
        self.as_unit = as_unit
        self.once = once
        self.careless = careless
        self.late_start = late_start
        self.connections = 0
        self.asked = 0
        self.most = 0  # requests that had no answer yet, at most
        self.open = 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        try:
            if self.late_start:
                await asyncio.sleep(self.late_start)
                reader._buffer.clear()
            while True:
                tid, uid, pdu = await answer(reader, 60)
                self.asked += 1
                self.open += 1
                self.most = max(self.most, self.open)
                if self.careless:
                    await asyncio.sleep(0.02)
                    reader._buffer.clear()
                unit = uid if self.as_unit is None else self.as_unit
                if self.once:
                    if not self.deaf:
                        self._answer(writer, tid, unit, uid, pdu)
                    return
                if not self.deaf:
                    asyncio.get_running_loop().call_later(self.delay, self._answer, writer, tid, unit, uid, pdu)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(self, writer, tid, unit, uid, pdu):
        self.open -= 1
        writer.write(request(tid, unit, bytes([3, 4, 0, uid]) + pdu[1:3]))


def row(first, last, port, offset=0, **more):
    fields = {"uidFrom": first, "uidTo": last, "host": "host.example", "port": port, "uidOffset": offset, **more}
    return dict(ROWS.kind.check([fields], "forwarding")[0], host="127.0.0.1")


async def test_forwarded_units_are_answered_by_their_server(tmp_path):
    async with Remote() as remote, Rig(tmp_path, forwarding=[row(200, 210, remote.port, -190)]) as rig:
        answers = await asyncio.gather(*[ask(rig, uid, bytes([3, 0, uid, 0, 2])) for uid in range(200, 206)])
        assert answers == [bytes([3, 4, 0, uid - 190, 0, uid]) for uid in range(200, 206)]
        assert remote.connections == 1
        assert await ask(rig, 1, READ_4) == NAMEPLATE


async def test_a_failing_server_does_not_delay_the_others(tmp_path):
    async with Remote() as good, Remote(deaf=True) as deaf:
        table = [row(200, 200, good.port), row(201, 201, deaf.port, answerMs=300), row(202, 202, 1)]
        async with Rig(tmp_path, forwarding=table) as rig:
            silent = asyncio.create_task(ask(rig, 201, READ_4))
            refused = asyncio.create_task(ask(rig, 202, READ_4))
            assert (await ask(rig, 200, READ_4))[0] == 3
            assert await refused == bytes([0x83, 10])
            assert not silent.done()
            assert await silent == bytes([0x83, 11])


def forwarded(uid, register):
    """The answer of a Remote."""
    return bytes([3, 4, 0, uid]) + struct.pack(">H", register)


async def ask_together(rig, uid, count):
    reader, writer = await rig.connect()
    for number in range(count):
        writer.write(request(number, uid, struct.pack(">BHH", 3, number, 2)))
    answers = dict([(await answer(reader))[::2] for _ in range(count)])
    return [answers[number] for number in range(count)]


async def test_http_goes_where_the_gateway_goes(tmp_path):
    async with Remote() as remote, Rig(tmp_path, forwarding=[row(200, 200, remote.port)]) as rig:
        assert (await rig.ask_http(uid=200, func=3, addr=5, count=2))["values"] == [200, 5]
        assert (await rig.ask_http(uid=111, func=3, addr=0, count=2))["values"] == [1, 7]
        assert (await rig.ask_http(uid=1, func=3, addr=0, count=4))["values"] == [252, 104, 2300, 5000]
        assert rig.bus.state()["sent"] == 1
        odd = await rig.ask_http(uid=200, func=3, addr=5, count=9)  # it answers two registers whatever it is asked
        assert (odd["status"], odd["errorCode"], odd["values"]) == ("ERROR", "BAD_FRAME", None)


async def test_http_is_told_of_a_server_that_is_silent_or_not_there(tmp_path):
    table = [row(202, 202, 1)]
    async with Remote(deaf=True) as deaf, Rig(tmp_path, forwarding=[*table, row(201, 201, deaf.port)]) as rig:
        silent = await rig.ask_http(uid=201, func=3, addr=5, count=2, timeoutMs=200)
        assert (silent["status"], silent["errorCode"]) == ("ERROR", "TIMEOUT")
        assert (await rig.ask_http(uid=202, func=3, addr=5, count=2))["errorCode"] == "NO_PATH"


async def test_a_server_that_closes_after_each_answer_loses_no_read(tmp_path):
    async with Remote(once=True) as remote, Rig(tmp_path, forwarding=[row(200, 200, remote.port)]) as rig:
        assert await ask_together(rig, 200, 6) == [forwarded(200, number) for number in range(6)]


async def test_a_write_is_not_sent_twice(tmp_path):
    async with Remote(deaf=True, once=True) as remote, Rig(tmp_path, forwarding=[row(200, 200, remote.port)]) as rig:
        assert await ask(rig, 200, bytes([6, 0, 1, 0, 2])) == bytes([0x86, 10])
        assert remote.asked == 1
        assert await ask(rig, 200, READ_4) == bytes([0x83, 10])
        assert remote.asked == 3


@pytest.mark.parametrize("unit", [0, 255])
async def test_an_answer_is_known_by_its_transaction_id_whatever_unit_it_names(tmp_path, unit):
    async with Remote(as_unit=unit) as remote, Rig(tmp_path, forwarding=[row(200, 200, remote.port)]) as rig:
        assert await ask(rig, 200, bytes([3, 0, 9, 0, 2])) == forwarded(200, 9)


async def test_a_server_gets_one_request_after_another_unless_the_setting_says_more(tmp_path):
    async with Remote(careless=True) as remote, Remote(delay=0.05) as quick:
        table = [row(200, 200, remote.port), row(201, 201, quick.port, inFlight=4)]
        async with Rig(tmp_path, forwarding=table) as rig:
            assert await ask_together(rig, 200, 8) == [forwarded(200, number) for number in range(8)]
            assert await ask_together(rig, 201, 8) == [forwarded(201, number) for number in range(8)]
            assert (remote.most, quick.most) == (1, 4)


async def test_a_server_that_forgets_what_comes_too_soon_is_given_its_pause(tmp_path):
    pause = {"connectPauseMs": 300}
    async with Remote(late_start=0.1) as slow, Rig(tmp_path, forwarding=[row(200, 200, slow.port, **pause)]) as rig:
        assert await ask(rig, 200, bytes([3, 0, 9, 0, 2])) == forwarded(200, 9)


async def test_more_requests_than_may_wait_for_a_server_are_exception_6(tmp_path):
    async with Remote(deaf=True) as deaf, Rig(tmp_path, forwarding=[row(200, 200, deaf.port, answerMs=300)]) as rig:
        readers = [await rig.connect() for _ in range(4)]
        for _, writer in readers:
            for number in range(12):
                writer.write(request(number, 200, READ_4))
        codes = [(await answer(reader))[2][1] for reader, _ in readers for _ in range(12)]
        assert sorted(set(codes)) == [6, 11]


async def test_who_waits_too_long_for_a_slow_server_is_told_before_its_own_time_out(tmp_path):
    async with Remote(delay=0.4) as slow:
        table = [row(200, 200, slow.port, answerMs=60000)]
        async with Rig(tmp_path, {"clientTimeoutMs": 1000}, forwarding=table) as rig:
            reader, writer = await rig.connect()
            for number in range(8):
                writer.write(request(number, 200, bytes([3, 0, number, 0, 2])))
            answers = dict([(await answer(reader))[::2] for _ in range(8)])
            busy = [number for number in range(8) if answers[number] == bytes([0x83, 6])]
            served = [number for number in range(8) if answers[number] == forwarded(200, number)]
            assert served + busy == list(range(8))
            assert served
            assert busy


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "0.0.0.0", "169.254.1.1", "::1", "::ffff:127.0.0.1", "fe80::1"]
)
async def test_nothing_is_forwarded_to_the_device_itself_or_its_link(tmp_path, host):
    async with Remote() as remote, Rig(tmp_path) as rig:
        table = [dict(row(200, 200, remote.port), host=host)]
        rig.router._forwarding = rig.forwarding = Forwarding(table)
        assert await ask(rig, 200, READ_4) == bytes([0x83, 10])
        assert remote.connections == 0


async def test_a_client_that_has_closed_its_half_gets_its_answers(tmp_path):
    async with Rig(tmp_path) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, 1, READ_4) + request(2, 77, READ_4))
        writer.write_eof()
        assert await answer(reader) == (1, 1, NAMEPLATE)
        assert await answer(reader) == (2, 77, bytes([0x83, 11]))
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_what_a_client_that_has_gone_still_waits_for_is_not_asked(tmp_path):
    async with Rig(tmp_path, serial={"responseTimeoutMs": 300}) as rig:
        _, writer = await rig.connect()
        for uid in (77, 78, 79, 80):
            writer.write(request(uid, uid, READ_4))
        while not rig.bus.state()["sent"]:
            await asyncio.sleep(0.01)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        while rig.gateway.client_count():
            await asyncio.sleep(0.01)
        assert await ask(rig, 1, READ_4) == NAMEPLATE
        assert rig.bus.state()["sent"] == 2


@pytest.mark.parametrize("func", [1, 3, 4, 17, 43])
async def test_a_read_of_all_units_is_refused(tmp_path, func):
    async with Rig(tmp_path) as rig:
        assert await ask(rig, 0, bytes([func, 0, 0, 0, 1])) == bytes([func | 0x80, 1])
        with pytest.raises(BadField, match=r"uid: must be 1\.\.255 for a read"):
            await rig.ask_http(uid=0, func=func, data="AAAAAQ==")
        assert rig.bus.state()["sent"] == 0


async def test_with_own_uid_0_a_broadcast_still_reaches_all(tmp_path):
    async with Rig(tmp_path, {"ownUid": 0}) as rig:
        reader, writer = await rig.connect()
        writer.write(request(1, 0, bytes([6, 0, 10, 0, 99])) + request(2, 100, bytes([3, 0, 10, 0, 1])))
        assert await answer(reader) == (2, 100, bytes([3, 2, 0, 99]))


async def test_a_full_queue_is_exception_6(tmp_path):
    async with Rig(tmp_path, serial={"responseTimeoutMs": 300}) as rig:
        connections = [await rig.connect() for _ in range(6)]
        for number, (_, writer) in enumerate(connections):
            for uid in range(15):
                writer.write(request(uid, 120 + number * 15 + uid, READ_4))
        first = (await answer(connections[5][0]))[2]
        assert first == bytes([0x83, 6])


async def test_a_board_without_a_line_answers_for_itself_and_says_10_for_the_others(tmp_path):
    async with Rig(tmp_path) as rig:
        rig.router._bus = NoBus()
        assert await ask(rig, 111, bytes([3, 0, 0, 0, 2])) == bytes([3, 4, 0, 1, 0, 7])
        assert await ask(rig, 1, READ_4) == bytes([0x83, 10])
        assert (await rig.ask_http(uid=111, func=3, addr=0, count=2))["values"] == [1, 7]
        with pytest.raises(Refused, match="no RS-485 port"):
            await rig.ask_http(uid=1, func=3, addr=0, count=2)


@pytest.mark.parametrize("uid", [1, 111, 200])
async def test_whoever_answers_it_is_a_transfer(tmp_path, uid):
    async with Remote() as remote, Rig(tmp_path, forwarding=[row(200, 200, remote.port)]) as rig:
        assert (await ask(rig, uid, bytes([3, 0, 0, 0, 2])))[0] == 3
        assert rig.transfers.last is not None
        rig.transfers.last = None
        assert (await rig.ask_http(uid=uid, func=3, addr=0, count=2))["status"] == "DONE"
        assert rig.transfers.last is not None


async def test_a_request_that_nobody_answers_is_no_transfer(tmp_path):
    async with Rig(tmp_path) as rig:
        await ask(rig, 77, READ_4)
        await rig.ask_http(uid=77, func=3, addr=0, count=2)
        assert rig.transfers.last is None
