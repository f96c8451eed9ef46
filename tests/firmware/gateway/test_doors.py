"""The ways into the gateway beside Modbus TCP on a free port: taken ports, RTU over TCP, UDP, IPv6."""

import asyncio
import socket
import struct

import pytest
from pymodbus import FramerType
from pymodbus.client import AsyncModbusTcpClient, AsyncModbusUdpClient

from firmware.services.gateway import door
from hal.rs485.checksums import crc16
from tests.firmware.gateway.test_gateway import NAMEPLATE, READ_4, Rig, answer, ask, request

has_ipv6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def adu(uid, pdu):
    frame = bytes([uid]) + pdu
    return frame + crc16(frame)


async def test_a_port_that_was_taken_is_served_when_it_is_free(tmp_path, monkeypatch):
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.02,))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with Rig(tmp_path, port=taken.getsockname()[1]) as rig:
            assert rig.tcp is None
            (problem,) = rig.problems.texts()
            assert "Modbus TCP cannot listen on 127.0.0.1" in problem
            assert "in use" in problem
            taken.close()
            rig.tcp = rig.port_wanted
            while rig.problems.texts():
                await asyncio.sleep(0.01)
            assert await ask(rig, 1, READ_4) == NAMEPLATE
            assert rig.gateway.is_alive()


async def test_the_pauses_between_tries_grow(tmp_path, monkeypatch):
    pauses = []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with Rig(tmp_path, port=taken.getsockname()[1]) as rig:
            real_sleep = asyncio.sleep

            async def sleep(seconds):
                pauses.append(seconds)
                await real_sleep(0)

            monkeypatch.setattr(door.asyncio, "sleep", sleep)
            while len(pauses) < 9:
                await real_sleep(0.01)
            monkeypatch.undo()
            assert len(rig.problems.texts()) == 1
    assert [pause for pause in pauses if pause >= 2][:6] == [2, 5, 10, 30, 60, 60]


async def test_pymodbus_reads_and_writes_by_rtu_over_tcp(tmp_path):
    port = free_port()
    async with Rig(tmp_path, {"rtuPort": port}) as rig:
        client = AsyncModbusTcpClient("127.0.0.1", port=port, framer=FramerType.RTU)
        assert await client.connect()
        assert (await client.read_holding_registers(0, count=4, device_id=1)).registers == [252, 104, 2300, 5000]
        assert not (await client.write_registers(10, [321, 322], device_id=100)).isError()
        assert (await client.read_holding_registers(10, count=2, device_id=100)).registers == [321, 322]
        assert not (await client.write_coils(0, [True] * 9, device_id=100)).isError()
        assert (await client.read_device_information(device_id=111)).information[1] == b"MC252"
        assert (await client.report_device_id(device_id=111)).identifier.startswith(b"Maker")
        client.close()
        assert await ask(rig, 1, READ_4) == NAMEPLATE


async def test_rtu_requests_come_in_any_pieces_and_one_after_another(tmp_path):
    port = free_port()
    async with Rig(tmp_path, {"rtuPort": port}) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        rig.writers.append(writer)
        for byte in adu(100, bytes([16, 0, 10, 0, 1, 2, 0, 77])):
            writer.write(bytes([byte]))
            await asyncio.sleep(0.001)
        assert await reader.readexactly(8) == adu(100, bytes([16, 0, 10, 0, 1]))
        writer.write(adu(100, bytes([3, 0, 10, 0, 1])) + adu(1, READ_4) + adu(77, READ_4))
        assert await reader.readexactly(7) == adu(100, bytes([3, 2, 0, 77]))
        assert await reader.readexactly(13) == adu(1, NAMEPLATE)
        assert await reader.readexactly(5) == adu(77, bytes([0x83, 11]))
        writer.write(adu(100, bytes([0x41, 1, 2, 3])))  # a function of whose length nothing is known
        assert await reader.readexactly(7) == adu(100, bytes([0x41, 3, 2, 1]))


@pytest.mark.parametrize(
    "rubbish", [adu(1, READ_4)[:-1] + b"\0", b"GET / HTTP/1.1\r\n\r\n", bytes(300), adu(1, b"\x83\2")]
)
async def test_what_is_no_rtu_request_ends_the_connection(tmp_path, rubbish):
    port = free_port()
    async with Rig(tmp_path, {"rtuPort": port}) as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        rig.writers.append(writer)
        writer.write(rubbish)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert rig.bus.state()["sent"] == 0


async def test_pymodbus_reads_by_udp(tmp_path):
    port = free_port(socket.SOCK_DGRAM)
    async with Rig(tmp_path, {"udpPort": port}):
        client = AsyncModbusUdpClient("127.0.0.1", port=port)
        assert await client.connect()
        assert (await client.read_holding_registers(0, count=4, device_id=1)).registers == [252, 104, 2300, 5000]
        assert not (await client.write_register(10, 321, device_id=100)).isError()
        client.close()


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self):
        self.received = asyncio.Queue()

    def datagram_received(self, data, address):
        self.received.put_nowait(data)


async def udp(port, address="127.0.0.1", to="127.0.0.1"):
    """(what sends, what is received) of a socket."""
    loop = asyncio.get_running_loop()
    return await loop.create_datagram_endpoint(Datagrams, local_addr=(address, 0), remote_addr=(to, port))


async def test_one_address_does_not_take_all_that_udp_has_room_for(tmp_path):
    port = free_port(socket.SOCK_DGRAM)
    async with Rig(tmp_path, {"udpPort": port}, {"responseTimeoutMs": 100}):
        greedy, _ = await udp(port)
        modest, inbox = await udp(port, "127.0.0.2")
        for number in range(40):
            greedy.sendto(request(number, 150 + number, READ_4))
        modest.sendto(request(7, 111, bytes([3, 0, 0, 0, 1])))
        assert await asyncio.wait_for(inbox.received.get(), 5) == request(7, 111, bytes([3, 2, 0, 1]))
        greedy.close()
        modest.close()


@pytest.mark.parametrize(
    "rubbish", [b"", b"\0", request(1, 1, READ_4)[:-1], request(1, 1, READ_4) + b"\0", bytes(2000)]
)
async def test_datagrams_that_are_no_requests_get_no_answer(tmp_path, rubbish):
    port = free_port(socket.SOCK_DGRAM)
    async with Rig(tmp_path, {"udpPort": port}) as rig:
        sender, inbox = await udp(port)
        sender.sendto(rubbish)
        sender.sendto(request(1, 1, bytes([0x83, 2])))
        sender.sendto(request(2, 1, READ_4))
        assert await asyncio.wait_for(inbox.received.get(), 5) == request(2, 1, NAMEPLATE)
        assert rig.bus.state()["sent"] == 1
        sender.close()


async def test_udp_is_for_allowed_addresses_only(tmp_path):
    port = free_port(socket.SOCK_DGRAM)
    async with Rig(tmp_path, {"udpPort": port, "allow": ["127.0.0.2/32"]}) as rig:
        stranger, _ = await udp(port)
        stranger.sendto(request(1, 1, READ_4))
        friend, inbox = await udp(port, "127.0.0.2")
        friend.sendto(request(2, 1, READ_4))
        assert await asyncio.wait_for(inbox.received.get(), 5) == request(2, 1, NAMEPLATE)
        assert rig.bus.state()["sent"] == 1
        stranger.close()
        friend.close()


@has_ipv6
async def test_ipv6_clients_are_served_where_all_addresses_are(tmp_path):
    tcp, datagrams = free_port(), free_port(socket.SOCK_DGRAM)
    settings = {"udpPort": datagrams, "allow": ["::1/128", "127.0.0.1/32"]}
    async with Rig(tmp_path, settings, host="0.0.0.0", port=tcp) as rig:
        for host in ("::1", "127.0.0.1"):
            reader, writer = await asyncio.open_connection(host, tcp)
            rig.writers.append(writer)
            writer.write(request(1, 1, READ_4))
            assert await answer(reader) == (1, 1, NAMEPLATE)
            sender, inbox = await udp(datagrams, host, host)
            sender.sendto(request(2, 1, READ_4))
            assert await asyncio.wait_for(inbox.received.get(), 5) == request(2, 1, NAMEPLATE)
            sender.close()


@has_ipv6
async def test_ipv6_clients_outside_the_allowed_networks_are_not(tmp_path):
    async with Rig(tmp_path, {"allow": ["fd00::/8", "127.0.0.1/32"]}, host="0.0.0.0", port=free_port()) as rig:
        reader, writer = await asyncio.open_connection("::1", rig.tcp)
        rig.writers.append(writer)
        try:
            assert await asyncio.wait_for(reader.read(), 5) == b""
        except ConnectionResetError:
            pass
        assert await ask(rig, 1, READ_4) == NAMEPLATE


def test_the_crc_is_that_of_the_specification():
    assert crc16(bytes([2, 7])) == bytes([0x41, 0x12])  # section 6.2.2's example
    assert struct.unpack("<H", crc16(b"123456789"))[0] == 0x4B37
