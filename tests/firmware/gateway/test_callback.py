"""Connections that the device dials: a real server on loopback at the other end."""

import asyncio
import datetime
import ipaddress
import socket
import ssl
import struct

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from firmware.services.bus.absent import NoBus
from firmware.services.gateway import callback as cloud
from firmware.services.gateway.callback import CloudConnection, CloudConnections
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.own_registers import CODE_NONE, OwnRegisters
from firmware.services.routing.router import ModbusRouter
from firmware.services.settings.table import SETTINGS

DEFAULTS = {field.name: field.default for field in SETTINGS}
IDENTITY = {"mac": "02:00:00:00:02:52", "uniqueMac": True, "firmwareType": 1, "firmwareVer": 7} | {
    "manufacturer": "Maker",
    "device": "MC252",
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(cloud, "SHORTEST_PAUSE", 0.05)


class Server:
    """A server that devices call."""

    def __init__(self, context=None):
        self.context = context
        self.calls: asyncio.Queue = asyncio.Queue()
        self.writers: list = []
        self.closed = False

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()
        self.closed = True
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.05)  # who is just calling is heard, and hung up on

    async def _accept(self, reader, writer):
        self.writers.append(writer)
        if self.closed:
            writer.transport.abort()
        await self.calls.put((reader, writer))

    async def call(self):
        return await asyncio.wait_for(self.calls.get(), 5)


class Rig:
    def __init__(self, port, **settings):
        self.registers = OwnRegisters(IDENTITY, 8, lambda: 1, lambda: 0, lambda: self.connection.is_connected())
        self.router = ModbusRouter(NoBus(), self.registers, Forwarding([]), DEFAULTS["modbusTcp"])
        self.settings = dict(DEFAULTS["cbCloud"], enabled=True, host="127.0.0.1", port=port, reconnectSec=0)
        self.settings.update(settings)
        self.connection = CloudConnection(self.router, self.registers, self.settings)

    async def __aenter__(self):
        await self.connection.start()
        return self

    async def __aexit__(self, *exc):
        await self.connection.stop()

    async def until(self, condition):
        for _ in range(500):
            if condition(self.connection.state()):
                return
            await asyncio.sleep(0.01)
        raise AssertionError(self.connection.state())


def request(tid, uid, pdu):
    return struct.pack(">HHHB", tid, 0, len(pdu) + 1, uid) + pdu


async def answer(reader):
    tid, _, length, uid = struct.unpack(">HHHB", await asyncio.wait_for(reader.readexactly(7), 5))
    return tid, uid, await asyncio.wait_for(reader.readexactly(length - 1), 5)


async def test_it_says_who_calls_and_serves_its_registers():
    async with Server() as server, Rig(server.port) as rig:
        reader, writer = await server.call()
        tid, uid, pdu = await answer(reader)
        assert (tid, uid) == (0, 111)
        words = struct.unpack(">11H", pdu[2:])
        assert words == (1, 7, 2, 0, 0, 0, 2, 0x52, 1 | 8, CODE_NONE >> 16, CODE_NONE & 0xFFFF)
        writer.write(request(77, 111, bytes([3, 0, 0, 0, 2])))
        assert await answer(reader) == (77, 111, bytes([3, 4, 0, 1, 0, 7]))
        state = rig.connection.state()
        assert state["connected"] is True
        assert state["server"] == f"127.0.0.1:{server.port}"
        assert state["lastError"] is None


async def test_without_send_id_it_waits_to_be_asked():
    async with Server() as server, Rig(server.port, sendId=False):
        reader, writer = await server.call()
        writer.write(request(1, 111, bytes([3, 0, 0, 0, 1])))
        assert await answer(reader) == (1, 111, bytes([3, 2, 0, 1]))


async def test_the_cloud_may_write_the_activation_code():
    async with Server() as server, Rig(server.port, sendId=False) as rig:
        reader, writer = await server.call()
        code = 12345678
        write = bytes([16, 3, 0xF1, 0, 2, 4]) + struct.pack(">I", code)
        writer.write(request(1, 111, write))
        assert await answer(reader) == (1, 111, write[:5])
        assert rig.registers.activation() == {"activated": False, "code": code, "features": [], "expires": None}
        writer.write(request(2, 111, bytes([6, 0, 0, 0, 1])))
        assert await answer(reader) == (2, 111, bytes([0x86, 2]))


@pytest.mark.parametrize("key", ["ownSrv", "rmSrv"])
async def test_no_other_server_may_write_the_activation_code(key):
    async with Server() as server:
        rig = Rig(server.port, sendId=False)
        connections = CloudConnections(rig.router, rig.registers, dict(DEFAULTS, **{key: rig.settings}))
        await connections.start()
        reader, writer = await server.call()
        writer.write(request(1, 111, bytes([16, 3, 0xF1, 0, 2, 4, 0, 0, 0, 0])))
        assert await answer(reader) == (1, 111, bytes([0x90, 1]))
        assert rig.registers.code == CODE_NONE
        await connections.stop()


class Answerer:
    """Any Modbus TCP server: it answers what it is asked, and what it does not understand with an exception."""

    def __init__(self, echo):
        self.echo = echo  # gives back what comes instead
        self.frames = 0

    async def serve(self, server):
        while True:
            reader, writer = await server.call()
            try:
                while True:
                    tid, uid, pdu = await answer(reader)
                    self.frames += 1
                    writer.write(request(tid, uid, pdu if self.echo else bytes([pdu[0] | 0x80, 1])))
            except (asyncio.IncompleteReadError, ConnectionError):
                pass


@pytest.mark.parametrize("echo", [False, True])
async def test_a_server_at_the_other_end_is_said_and_not_argued_with(echo):
    async with Server() as server:
        peer = Answerer(echo)
        serving = asyncio.create_task(peer.serve(server))
        async with Rig(server.port) as rig:
            await rig.until(lambda state: state["attempts"] >= 2 and state["lastError"] == "PEER_IS_SERVER")
            assert peer.frames <= rig.connection.state()["attempts"]
        serving.cancel()


async def test_a_far_end_that_waits_for_its_answer_is_not_hung_up_on():
    clock = [0.0]
    async with Server() as server:
        rig = Rig(server.port, sendId=False)
        answers = []
        rig.router.ask = lambda uid, pdu, source, answer, from_cloud, origin: answers.append(answer)
        rig.connection._clock = lambda: round(clock[0] * 1000)
        async with rig:
            reader, writer = await server.call()
            writer.write(request(1, 1, bytes([3, 0, 0, 0, 1])))
            while not answers:
                await asyncio.sleep(0.01)
            clock[0] = 10000.0
            await asyncio.sleep(0.5)  # idleness is looked for five times a second
            answers[0](bytes([3, 2, 0, 7]))
            assert await answer(reader) == (1, 1, bytes([3, 2, 0, 7]))
            clock[0] = 20000.0
            await server.call()
            assert rig.connection.state()["attempts"] == 2


async def test_a_dropped_connection_is_dialled_again():
    async with Server() as server, Rig(server.port) as rig:
        _, writer = await server.call()
        writer.transport.abort()
        reader, _ = await server.call()
        assert (await answer(reader))[0] == 0
        assert rig.connection.state()["attempts"] == 2


async def test_a_reset_in_the_middle_of_a_request_is_survived():
    async with Server() as server, Rig(server.port, sendId=False):
        _, writer = await server.call()
        writer.write(request(1, 111, bytes([3, 0, 0, 0, 1]))[:5])
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        reader, writer = await server.call()
        writer.write(request(2, 111, bytes([3, 0, 0, 0, 1])))
        assert (await answer(reader))[0] == 2


async def test_rubbish_ends_the_connection_and_it_is_dialled_again():
    async with Server() as server, Rig(server.port, sendId=False) as rig:
        reader, writer = await server.call()
        writer.write(b"220 mail.example ready\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await server.call()
        assert rig.connection.state()["attempts"] == 2


async def test_refused_is_said_and_tried_again():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Rig(unused.getsockname()[1]) as rig:
            await rig.until(lambda state: state["lastError"] == "REFUSED" and state["attempts"] >= 2)
            assert rig.connection.state()["connected"] is False


async def test_a_name_that_does_not_resolve_is_said():
    async with Rig(1, host="no-such-host.invalid") as rig:
        await rig.until(lambda state: state["lastError"] == "DNS")


async def test_a_black_hole_ends_with_a_timeout(monkeypatch):
    monkeypatch.setattr(cloud, "CONNECT_SEC", 0.1)
    with socket.socket() as full:  # a listener whose queue is full drops further calls
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
            fillers.append(filler)
        async with Rig(full.getsockname()[1]) as rig:
            await rig.until(lambda state: state["lastError"] == "TIMEOUT")
        for filler in fillers:
            filler.close()


async def test_silence_longer_than_idle_sec_dials_anew():
    async with Server() as server:
        rig = Rig(server.port)
        rig.settings["idleSec"] = 0.3  # below what the setting allows: a test does not wait a minute
        async with rig:
            await server.call()
            await server.call()
            assert rig.connection.state()["attempts"] == 2


async def test_reconnect_hangs_up_and_dials_at_once():
    async with Server() as server, Rig(server.port, reconnectSec=3000) as rig:
        reader, _ = await server.call()
        await answer(reader)
        outcome = asyncio.create_task(rig.connection.reconnect())
        assert await asyncio.wait_for(reader.read(), 5) == b""
        await server.call()
        assert await outcome is None


async def test_reconnect_with_every_connection_off_is_an_error():
    rig = Rig(1)
    connections = CloudConnections(rig.router, rig.registers, DEFAULTS)
    await connections.start()
    assert await connections.reconnect() == "DISABLED"
    state = connections.state()
    assert state["server"] is None
    assert state["ownSrv"] is None
    await connections.stop()


async def test_a_server_of_the_owner_is_dialled_and_reconnected_too():
    async with Server() as server:
        rig = Rig(server.port)
        connections = CloudConnections(rig.router, rig.registers, dict(DEFAULTS, ownSrv=rig.settings))
        await connections.start()
        await answer((await server.call())[0])
        assert connections.state()["ownSrv"]["connected"] is True
        assert await connections.reconnect() is None
        await server.call()
        await connections.stop()


def certificate(folder):
    """A self-signed certificate for 127.0.0.1, and the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - day, now + day, [])
    signed = builder.add_extension(address, False).sign(key, hashes.SHA256())
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(serialization.Encoding.PEM, *formats))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert_path, key_path)
    return cert_path, context


async def test_tls_with_a_trusted_certificate(tmp_path, monkeypatch):
    cert, context = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    async with Server(context) as server, Rig(server.port, tls=True) as rig:
        reader, writer = await server.call()
        assert (await answer(reader))[0] == 0
        writer.write(request(5, 111, bytes([3, 0, 0, 0, 1])))
        assert await answer(reader) == (5, 111, bytes([3, 2, 0, 1]))
        assert rig.connection.state()["connected"] is True


async def test_tls_with_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    _, context = certificate(tmp_path)
    async with Server(context) as server, Rig(server.port, tls=True) as rig:
        await rig.until(lambda state: state["lastError"] == "TLS")
        assert rig.connection.state()["connected"] is False
