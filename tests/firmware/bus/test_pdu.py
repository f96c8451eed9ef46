"""Requests of the API as PDUs, and values out of answers."""

import pytest

from firmware.api.endpoints import ENDPOINTS
from firmware.services.bus.pdu import build, read_values
from hal.fields import BadField

BODY = next(endpoint.body for endpoint in ENDPOINTS if endpoint.path == "/api/modbus/req/")


def pdu(**fields):
    return build(BODY.check(dict({"uid": 1}, **fields)))


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
        ({"func": 6, "addr": 0, "value": True}, "value: must be an integer 0..65535"),
        ({"func": 6, "addr": 0, "value": 65536}, "value: must be an integer 0..65535"),
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
