"""Modbus through every entrance, and the searches, of a device behind whose port the simulated world lives."""

import base64
import socket
import struct
import time

import pytest

METER = [252, 104, 2300, 5000]
READ_METER = bytes([3, 0, 0, 0, 4])


@pytest.fixture(autouse=True)
def line(device):
    """The device has a port, with the simulated world on it."""
    assert device.state("bus")["portOpen"]


def request(device, **fields):
    """The result of a Modbus request, waited for longer than a busy machine takes."""
    tid = device.call("POST", "/api/modbus/req/", dict({"timeoutMs": 2000}, **fields))["tid"]
    return device.call("GET", f"/api/modbus/resp/?tid={tid}&wait=5000")


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({"uid": 1, "func": 3, "addr": 0, "count": 4}, METER),
        ({"uid": 1, "func": 3, "addr": 0, "count": 1, "type": "uint32"}, [252 << 16 | 104]),
        ({"uid": 1, "func": 3, "addr": 2, "count": 1, "type": "int32", "order": "CDAB"}, [5000 << 16 | 2300]),
        ({"uid": 1, "func": 3, "addr": 0, "count": 1, "type": "uint64"}, [0x00FC006808FC1388]),
        ({"uid": 33, "func": 4, "addr": 1, "count": 1, "type": "int16"}, [-53]),
        ({"uid": 1, "func": 2, "addr": 0, "count": 3}, [True, True, True]),
    ],
)
def test_typed_reads_have_their_values(device, fields, values):
    result = request(device, **fields)
    assert (result["status"], result["errorCode"], result["values"]) == ("DONE", None, values)


def test_a_float_in_registers_is_a_number_with_its_own_digits(device):
    (volts,) = request(device, uid=1, func=4, addr=0, count=1, type="float32")["values"]
    assert 150 < volts < 300
    assert struct.unpack(">f", struct.pack(">f", volts))[0] == pytest.approx(volts, rel=1e-6)


def test_what_is_written_is_read_back(device):
    for value in (512, 500):
        assert request(device, uid=2, func=6, addr=3, value=value)["status"] == "DONE"
        assert request(device, uid=2, func=3, addr=3, count=1)["values"] == [value]
    assert request(device, uid=2, func=16, addr=0, values=[500, 501, 500])["status"] == "DONE"
    assert request(device, uid=2, func=15, addr=0, values=[True, False, True])["status"] == "DONE"
    assert request(device, uid=2, func=1, addr=0, count=3)["values"] == [True, False, True]
    assert request(device, uid=2, func=5, addr=0, value=False)["status"] == "DONE"
    assert request(device, uid=2, func=1, addr=0, count=3)["values"] == [False, False, True]
    assert request(device, uid=2, func=16, addr=0, values=[500, 500, 500])["status"] == "DONE"


def test_a_raw_request_has_the_bytes_of_its_answer(device):
    result = request(device, uid=100, func=65, data=base64.b64encode(b"abc").decode())
    assert base64.b64decode(result["data"]) == b"cba"


def test_an_exception_says_which(device):
    result = request(device, uid=33, func=3, addr=1001, count=1)
    assert (result["status"], result["errorCode"], result["exception"]) == ("ERROR", "EXCEPTION", 1)


def test_nobody_there_is_a_timeout(device):
    result = request(device, uid=201, func=3, addr=0, count=1, timeoutMs=60)
    assert (result["status"], result["errorCode"], result["exception"]) == ("ERROR", "TIMEOUT", None)


def test_a_write_to_all_units_has_no_answer_and_a_read_of_all_is_refused(device):
    assert request(device, uid=0, func=6, addr=15, value=7)["status"] == "DONE"
    refused = device.call("POST", "/api/modbus/req/", {"uid": 0, "func": 3, "addr": 0, "count": 1}, 400)
    assert refused["error"] == "BAD_FIELD"


def test_the_device_answers_for_itself(device):
    result = request(device, uid=111, func=3, addr=1000, count=2)
    assert result["status"] == "DONE"
    assert len(result["values"]) == 2


@pytest.mark.parametrize(
    "body",
    [
        {"uid": 1, "func": 3, "addr": 0, "count": 126},
        {"uid": 256, "func": 3, "addr": 0, "count": 1},
        {"uid": 1, "func": 3, "addr": 65535, "count": 2},
        {"uid": 1, "func": 6, "addr": 0, "value": 65536},
        {"uid": 1, "func": 3, "addr": 0, "count": 1, "type": "uint17"},
    ],
)
def test_a_request_that_cannot_be_is_refused_by_its_field(device, body):
    assert device.call("POST", "/api/modbus/req/", body, 400)["error"] == "BAD_FIELD"


def test_a_result_that_is_not_kept_is_not_there(device):
    assert device.call("GET", "/api/modbus/resp/?tid=999999999", status=404)["error"] == "UNKNOWN_TID"


def ask(sock, tid, uid, pdu):
    sock.sendall(struct.pack(">HHHB", tid, 0, len(pdu) + 1, uid) + pdu)


def answer(sock):
    """(transaction id, PDU) of the next answer."""
    head = sock.recv(7, socket.MSG_WAITALL)
    tid, _, length, _ = struct.unpack(">HHHB", head)
    return tid, sock.recv(length - 1, socket.MSG_WAITALL)


@pytest.fixture
def client(device):
    """A connection to the gateway."""
    if device.modbus is None:
        pytest.skip("nobody knows its port of Modbus TCP")
    with socket.create_connection((device.host, device.modbus), timeout=10) as sock:
        yield sock


def test_the_gateway_answers_with_the_transaction_ids_of_the_questions(client):
    questions = {7: (1, READ_METER), 8: (201, READ_METER), 9: (111, bytes([3, 3, 0xE8, 0, 1])), 10: (33, bytes([9, 1]))}
    for tid, (uid, pdu) in questions.items():
        ask(client, tid, uid, pdu)
    answers = dict(answer(client) for _ in questions)
    assert answers[7] == bytes([3, 8]) + struct.pack(">4H", *METER)
    assert answers[8] == bytes([0x83, 0x0B])
    assert answers[9][:2] == bytes([3, 2])
    assert answers[10] == bytes([0x89, 1])


def test_what_is_no_modbus_ends_the_connection(client):
    client.sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert client.recv(10) == b""


def finished(device, path, seconds=30):
    end = time.monotonic() + seconds
    while True:
        result = device.call("GET", path)
        if result["status"] != "RUNNING":
            return result
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_search_finds_who_is_there(device):
    search = {"baudRate": 9600, "charFormat": 5, "fastSearch": True, "uidFrom": 1, "uidTo": 5, "identify": True}
    assert device.call("POST", "/api/modbus/find/start/", search) == {"status": "DONE"}
    assert device.call("POST", "/api/modbus/find/start/", search) == {"status": "BUSY"}
    result = finished(device, "/api/modbus/find/result/?list")
    assert (result["status"], result["progress"]) == ("DONE", 100)
    assert [(found["uid"], found["verdict"]) for found in result["foundDevices"]] == [(1, "answer"), (2, "answer")]
    assert result["foundDevices"][0]["identity"]


def test_a_search_is_stopped_and_others_are_served_meanwhile(device):
    search = {"baudRate": 9600, "charFormat": 5, "uidFrom": 120, "uidTo": 240}
    device.call("POST", "/api/modbus/find/start/", search)
    assert request(device, uid=1, func=3, addr=0, count=4)["values"] == METER
    device.call("POST", "/api/modbus/find/stop/", {})
    assert device.call("GET", "/api/modbus/find/result/")["status"] == "STOPPED"


def test_a_search_by_a_template_that_is_shipped_says_what_it_is_and_is_stopped(device):
    start = {"filePath": "/builtin/templates/eastron-sdm630.json", "baudRate": 9600, "charFormat": 5}
    started = device.call("POST", "/api/modbus/class-find/start/?search-meta-info", start)
    assert (started["status"], started["errorCode"]) == ("DONE", None)
    assert started["metaInfo"]["manufacturer"] == "Eastron"
    device.call("POST", "/api/modbus/class-find/stop/", {})
    assert device.call("GET", "/api/modbus/class-find/result/")["status"] == "STOPPED"
