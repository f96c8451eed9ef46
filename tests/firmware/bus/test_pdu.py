"""Requests of the API as PDUs, and values out of answers."""

import pytest

from firmware.api.endpoints import ENDPOINTS
from firmware.services.bus.pdu import Fields, build, read_values
from hal.fields import BadField

BODY = next(endpoint.body for endpoint in ENDPOINTS if endpoint.path == "/api/modbus/req/")


def pdu(**fields):
    body = BODY.check(dict({"uid": 1}, **fields))
    return build(Fields(**{name: body[name] for name in body if name not in ("uid", "timeoutMs", "retries")}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"func": 1, "addr": 19, "count": 19}, "0100130013"),
        ({"func": 2, "addr": 0, "count": 2000}, "02000007d0"),
        ({"func": 3, "addr": 107, "count": 3}, "03006b0003"),
        ({"func": 4, "addr": 65411, "count": 125}, "04ff83007d"),
        ({"func": 5, "addr": 172, "value": True}, "0500acff00"),
        ({"func": 5, "addr": 172, "value": 0}, "0500ac0000"),
        ({"func": 6, "addr": 1, "value": 3}, "0600010003"),
        ({"func": 15, "addr": 19, "values": [1, 0, 1, 1, 0, 0, 1, 1, True, False]}, "0f0013000a02cd01"),
        ({"func": 16, "addr": 1, "values": [10, 258]}, "1000010002" + "04000a0102"),
        ({"func": 3, "data": "AAEAAg=="}, "0300010002"),
        ({"func": 127, "data": ""}, "7f"),
        ({"func": 6, "addr": 1, "value": -5}, "060001fffb"),
        ({"func": 6, "addr": 1, "value": -5, "type": "int16", "order": "BADC"}, "060001fbff"),
        ({"func": 16, "addr": 1, "values": [-32768, 65535]}, "1000010002" + "048000ffff"),
        ({"func": 16, "addr": 1, "values": [-2], "type": "int32"}, "1000010002" + "04fffffffe"),
        ({"func": 16, "addr": 1, "values": [0x01020304], "type": "uint32"}, "1000010002" + "0401020304"),
        (
            {"func": 16, "addr": 1, "values": [0x01020304], "type": "uint32", "order": "CDAB"},
            "1000010002" + "0403040102",
        ),
        (
            {"func": 16, "addr": 1, "values": [0x01020304], "type": "uint32", "order": "BADC"},
            "1000010002" + "0402010403",
        ),
        (
            {"func": 16, "addr": 1, "values": [0x01020304], "type": "uint32", "order": "DCBA"},
            "1000010002" + "0404030201",
        ),
        ({"func": 16, "addr": 1, "values": [1.5, -2], "type": "float32"}, "1000010004" + "083fc00000c0000000"),
        ({"func": 16, "addr": 1, "values": [0.1], "type": "float64"}, "1000010004" + "083fb999999999999a"),
        ({"func": 16, "addr": 1, "values": [2**64 - 1], "type": "uint64"}, "1000010004" + "08" + "ff" * 8),
        ({"func": 3, "addr": 0, "count": 62, "type": "float32"}, "030000007c"),
        ({"func": 4, "addr": 65532, "count": 1, "type": "int64"}, "04fffc0004"),
        ({"func": 65, "data": "AQID"}, "41010203"),
    ],
)
def test_requests(fields, expected):
    assert pdu(**fields).hex() == expected


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"func": 0, "data": ""}, "func: must be an integer 1..127"),
        ({"func": 128, "data": ""}, "func: must be an integer 1..127"),
        ({"func": 3}, "count: is missing"),
        ({"func": 3, "count": 1}, "addr: is missing"),
        ({"func": 3, "addr": 0, "count": 126}, "count: must be an integer 1..125"),
        ({"func": 1, "addr": 0, "count": 2001}, "count: must be an integer 1..2000"),
        ({"func": 3, "addr": 65535, "count": 2}, "addr: must be 0..65534 for 2"),
        ({"func": 3, "addr": 65536, "count": 1}, "addr: must be an integer 0..65535"),
        ({"func": 3, "addr": 0, "count": 1, "value": 1}, "value: has no place"),
        ({"func": 3, "data": "AA==", "addr": 1}, "addr: has no place in a request with data"),
        ({"func": 5, "addr": 0}, "value: is missing"),
        ({"func": 5, "addr": 0, "value": 2}, "value: must be true, false, 1 or 0"),
        ({"func": 6, "addr": 0, "value": True}, "value: must be an integer -32768..65535"),
        ({"func": 6, "addr": 0, "value": 65536}, "value: must be an integer -32768..65535"),
        ({"func": 15, "addr": 0, "values": [1, 2]}, r"values\[1\]: must be true"),
        ({"func": 16, "addr": 0, "values": [1, False]}, r"values\[1\]: must be an integer"),
        ({"func": 16, "addr": 0, "values": [0] * 124}, "values: must be a list of 1..123"),
        ({"func": 15, "addr": 0, "values": []}, "values: must be a list of 1..1968"),
        ({"func": 7}, "data: is missing"),
        ({"func": 3, "data": "AA="}, "data: must be Base64"),
        ({"func": 3, "data": "A" * 340}, "data: must be Base64 text of 0..252 bytes"),
        ({"func": 3, "data": 5}, "data: must be Base64"),
        ({"func": 3, "addr": 0, "count": 1, "timeoutMs": 9}, "timeoutMs: must be an integer 10..60000"),
        ({"func": 3, "addr": 0, "count": 1, "retries": 6}, "retries: must be an integer 0..5"),
        ({"func": 3, "addr": 0, "count": 1, "uid": 256}, "uid: must be an integer 0..255"),
        ({"func": 3, "addr": 0, "count": 1, "baud": 1}, "baud: is unknown"),
        ({"func": 6, "addr": 0, "value": -32769}, "value: must be an integer -32768..65535"),
        ({"func": 6, "addr": 0, "value": 1.5}, "value: must be an integer -32768..65535"),
        ({"func": 6, "addr": 0, "value": 40000, "type": "int16"}, "value: must be a whole number -32768..32767"),
        ({"func": 6, "addr": 0, "value": -1, "type": "uint16"}, "value: must be a whole number 0..65535"),
        ({"func": 6, "addr": 0, "value": 1, "type": "float32"}, "type: float32 has 2 registers; function 16"),
        ({"func": 16, "addr": 0, "values": [1, 2**32], "type": "uint32"}, r"values\[1\]: must be a whole number"),
        ({"func": 16, "addr": 0, "values": [1.5], "type": "int32"}, r"values\[0\]: must be a whole number"),
        ({"func": 16, "addr": 0, "values": [1e39], "type": "float32"}, r"values\[0\]: must be a number"),
        ({"func": 16, "addr": 0, "values": [True], "type": "float32"}, r"values\[0\]: must be a number"),
        ({"func": 16, "addr": 0, "values": [0] * 62, "type": "float32"}, "values: must be a list of 1..61 items"),
        ({"func": 3, "addr": 0, "count": 63, "type": "float32"}, "count: must be an integer 1..62"),
        ({"func": 3, "addr": 65535, "count": 1, "type": "uint32"}, "addr: must be 0..65534 for 2"),
        ({"func": 1, "addr": 0, "count": 1, "type": "uint16"}, "type: has no place in function 1"),
        ({"func": 15, "addr": 0, "values": [1], "type": "uint16"}, "type: has no place in function 15"),
        ({"func": 3, "addr": 0, "count": 1, "order": "CDAB"}, "order: .*type is missing"),
        ({"func": 3, "data": "AAEAAg==", "type": "uint16"}, "type: has no place in a request with data"),
        ({"func": 3, "addr": 0, "count": 1, "type": "uint24"}, "type: must be one of"),
    ],
)
def test_what_does_not_fit_is_named(fields, named):
    with pytest.raises(BadField, match=named):
        pdu(**fields)


def test_values_of_reads():
    assert read_values(1, 10, bytes([1, 2, 0xCD, 0x01])) == [
        True,
        False,
        True,
        True,
        False,
        False,
        True,
        True,
        True,
        False,
    ]
    assert read_values(3, 2, bytes([3, 4, 0, 10, 1, 2])) == [10, 258]


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("int16", -5),
        ("uint32", 4000000000),
        ("int32", -123456789),
        ("float32", 0.1),
        ("float32", 16777215.0),
        ("uint64", 2**63 + 1),
        ("int64", -(2**53) - 1),
        ("float64", 0.1),
    ],
)
def test_numbers_come_back_as_they_were_written_whatever_their_bytes_order(kind, number, order):
    written = pdu(func=16, addr=0, values=[number, number], type=kind, order=order)
    answer = bytes([3, written[5]]) + written[6:]
    assert read_values(3, 2, answer, kind, order) == [number, number]


def test_a_float_that_is_no_number_is_null():
    assert read_values(3, 1, bytes.fromhex("03047fc00000"), "float32") == [None]
