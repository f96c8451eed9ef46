"""How a board finds a host and speaks TLS, on MicroPython: no name holds the loop up, the one connection is checked."""

import datetime
import json
import socket
import ssl
import struct
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.machine.starter import ROOT, environment, interpreter
from tests.micropython import NEEDS_MICROPYTHON

pytestmark = NEEDS_MICROPYTHON

LOOK_UP = """
import asyncio, json, sys
from hal.runtime import addresses_of
from hal.runtime.micropython import dns

async def count(turns):
    while True:
        turns[0] += 1
        await asyncio.sleep_ms(5)

async def main():
    dns.TRY_SEC = 0.3
    dns.SERVERS[:] = [("127.0.0.1", int(port)) for port in sys.argv[1].split(",")]
    turns = [0]
    counting = asyncio.create_task(count(turns))
    await asyncio.sleep(0)
    try:
        print(json.dumps([(await addresses_of(sys.argv[2], 80))[0], turns[0]]))
    except OSError as exc:
        print(json.dumps([str(exc), turns[0]]))

asyncio.run(main())
"""

TLS = """
import asyncio, json, sys
from hal.runtime import abort_stream, open_tls
from hal.runtime.micropython import tls

async def ask(name, port):
    try:
        reader, writer = await open_tls(name, port)
        writer.write(b"hello\\n")
        await writer.drain()
        answer = (await reader.readline()).decode()
        try:
            await open_tls(name, port)
        except OSError as exc:
            answer += str(exc)
        abort_stream(writer)
        return answer
    except (OSError, ValueError) as exc:
        return type(exc).__name__ + " " + str(exc)

async def main():
    tls.AUTHORITY = sys.argv[1]
    answers = []
    for port in sys.argv[2:]:
        answers.append(await ask("localhost", int(port)))
    print(json.dumps(answers))

asyncio.run(main())
"""


def run(tmp_path, script, *arguments):
    (tmp_path / "script.py").write_text(script)
    command = [interpreter(), "-X", "heapsize=2M", str(tmp_path / "script.py"), *arguments]
    environ = environment(str(tmp_path))
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class NameServer:
    """Answers the next question with the bytes that `make(header, question)` gives."""

    def __init__(self, make):
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.settimeout(20)
        self.port = self._sock.getsockname()[1]
        self.questions = []
        self._make = make
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._sock.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._sock.close()

    def _serve(self):
        while True:
            data, address = self._sock.recvfrom(512)
            if not data:
                return
            self.questions.append(data[12:])
            for answer in self._make(data[:2], data[12:]):
                self._sock.sendto(answer, address)


def answer(number, question, records, code=0):
    return number + struct.pack(">BBHHHH", 0x81, 0x80 | code, 1, len(records), 0, 0) + question + b"".join(records)


ADDRESS = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
ALIAS = b"\xc0\x0c" + struct.pack(">HHIH", 5, 1, 60, 8) + b"\x05alias\xc0\x11"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda number, question: [answer(number, question, [ADDRESS])], "192.0.2.7"),
        (lambda number, question: [answer(number, question, [ALIAS, ADDRESS])], "192.0.2.7"),
        (
            lambda number, question: [
                answer(b"\0\0", question, [ADDRESS.replace(b"\x07", b"\x08")]),  # somebody else's
                b"rubbish",
                answer(number, question, [ADDRESS]),
            ],
            "192.0.2.7",
        ),
        (lambda number, question: [answer(number, question, [], 3)], "cloud.example: has no address"),
        (lambda number, question: [answer(number, question, [ALIAS])[:-9]], "cloud.example: has no address"),
    ],
)
def test_a_name_is_looked_up_by_the_boards_own_name_server(tmp_path, make, expected):
    with NameServer(make) as server:
        assert run(tmp_path, LOOK_UP, str(server.port), "cloud.example")[0] == expected
    assert server.questions[0] == b"\x05cloud\x07example\x00\x00\x01\x00\x01"


def test_a_name_server_that_is_silent_holds_nothing_up_and_the_next_one_is_asked(tmp_path):
    with (
        NameServer(lambda number, question: []) as silent,
        NameServer(lambda number, question: [answer(number, question, [ADDRESS])]) as other,
    ):
        found, turns = run(tmp_path, LOOK_UP, f"{silent.port},{other.port}", "cloud.example")
        assert found == "192.0.2.7"
        assert turns >= 10
        assert run(tmp_path, LOOK_UP, str(silent.port), "cloud.example")[0].startswith("no name server answers")


def certificate(tmp_path, name):
    """A context with a certificate for localhost, and the path of it in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / f"{name}.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    der = tmp_path / f"{name}.der"
    der.write_bytes(made.public_bytes(serialization.Encoding.DER))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, der


def serve(context):
    """The port of a server that says back what it hears, to one client."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def answer_one():
        sock, _ = listener.accept()
        listener.close()
        sock.settimeout(10)
        try:
            with context.wrap_socket(sock, server_side=True) as wrapped:
                wrapped.sendall(wrapped.recv(100))
                wrapped.recv(100)
        except (ssl.SSLError, OSError):
            sock.close()

    thread = threading.Thread(target=answer_one)
    thread.start()
    return listener.getsockname()[1], thread


def test_one_tls_connection_is_made_where_the_boards_authority_has_signed(tmp_path):
    context, authority = certificate(tmp_path, "right")
    other, _ = certificate(tmp_path, "other")
    (right, first), (wrong, second) = serve(context), serve(other)
    answers = run(tmp_path, TLS, str(authority), str(right), str(wrong))
    first.join()
    second.join()
    assert answers[0] == "hello\nthis board has memory for one TLS connection, and that is open"
    assert answers[1].startswith(("OSError", "ValueError"))


def test_a_board_without_an_authority_says_so(tmp_path):
    missing = str(tmp_path / "authority.der")
    assert "no authority to check certificates by" in run(tmp_path, TLS, missing, "1")[0]
