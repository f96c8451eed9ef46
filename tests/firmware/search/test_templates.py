"""Templates: what they may say, what is wrong in them, how values come out of registers."""

import json
import pathlib
import struct

import pytest

from firmware.services.errors import Refused
from firmware.services.search.templates import SIZE_LIMIT, decode, holds, parse, plan

SHIPPED = sorted((pathlib.Path(__file__).parents[3] / "firmware" / "templates").glob("*.json"))
RULE = {"func": 3, "addr": 0, "count": 1, "equals": [252]}
PARAM = {"name": "voltage", "func": 3, "addr": 2, "type": "uint16"}


def template(**parts):
    base = {"meta": {"class": "a.b", "title": "A"}, "identify": [RULE], "params": [PARAM]}
    return json.dumps(dict(base, **parts), indent=1).encode()


def param(**more):
    return parse(template(params=[dict(PARAM, **more)]))["params"][0]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_templates_are_right_and_say_where_their_map_is_from(path):
    shipped = parse(path.read_bytes())
    assert shipped["meta"]["source"]
    assert shipped["params"]


def test_six_templates_are_shipped():
    assert len(SHIPPED) >= 6
    assert len({parse(path.read_bytes())["meta"]["class"] for path in SHIPPED}) == len(SHIPPED)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "line 1: not JSON"),
        (b"{\n\n}\n}", "line 4: not JSON"),
        (b'{"meta":\n{"class": "a" "title": "b"}}', "line 2: not JSON"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not JSON"),
        (b"x" * (SIZE_LIMIT + 1), "must not be longer than 65536"),
        (b"[" * 1000, "nested deeper"),
        (b"[]", "must be an object"),
        (template(identify=[]), "line .*: identify: must be a list of 1..16"),
        (template(extra=1), "extra: is unknown"),
        (template(meta={"title": "A"}), "line 2: meta.class: is missing"),
        (template(params=[PARAM] * 257), "params: must be a list of 0..256"),
        (template(params=[PARAM, PARAM]), "voltage is given twice"),
        (template(identify=[dict(RULE, equals=[1, 2])]), "equals: must have as many"),
        (template(identify=[{"func": 3, "addr": 0, "count": 1}]), "equals: is missing"),
        (template(identify=[{"func": 3, "addr": 0, "count": 1, "min": 5, "max": 4}]), "max: must not be less"),
        (template(identify=[dict(RULE, min=1)]), "min: has no place"),
        (template(identify=[dict(RULE, addr=65535, count=2, equals=[1, 2])]), "addr: must be 0..65534"),
        (template(params=[dict(PARAM, func=1)]), "type: must be bool for functions 1 and 2"),
        (template(params=[dict(PARAM, type="string")]), "count: is missing"),
        (template(params=[dict(PARAM, type="float32", count=63)]), "not need more than 125"),
        (template(params=[dict(PARAM, type="bool", scale=2)]), "scale: has no place"),
    ],
)
def test_what_is_wrong_is_said_with_line_and_field(data, message):
    with pytest.raises(Refused, match=message) as caught:
        parse(data)
    assert caught.value.code == "BAD_TEMPLATE"


def test_the_line_is_the_field_s_own():
    text = template(params=[PARAM, dict(PARAM, name="other", order="ABDC")]).decode()
    line = next(number for number, line in enumerate(text.split("\n"), 1) if "ABDC" in line)
    with pytest.raises(Refused, match=rf"line {line}: params\[1\]\.order: must be one of ABCD"):
        parse(text.encode())


def test_a_million_parameters_are_refused():
    data = b'{"meta":{"class":"a","title":"t"},"identify":[],"params":[' + b"{}," * 1000000 + b"{}]}"
    with pytest.raises(Refused, match="must not be longer"):
        parse(data)


@pytest.mark.parametrize("order", ["ABCD", "CDAB", "BADC", "DCBA"])
@pytest.mark.parametrize(
    ("kind", "code", "value"),
    [
        ("uint32", ">I", 0x12345678),
        ("int32", ">i", -123456789),
        ("float32", ">f", 230.5),
        ("uint16", ">H", 0xABCD),
        ("int16", ">h", -1234),
    ],
)
def test_every_type_in_every_order(order, kind, code, value):
    raw = struct.pack(code, value)
    pairs = [raw[index : index + 2] for index in range(0, len(raw), 2)]
    if order in ("CDAB", "DCBA"):
        pairs.reverse()
    if order in ("BADC", "DCBA"):
        pairs = [pair[::-1] for pair in pairs]
    words = [int.from_bytes(pair, "big") for pair in pairs]
    assert decode(param(type=kind, order=order), words) == value


def test_scaling_rounding_and_what_is_no_number():
    assert decode(param(scale=0.1), [2301]) == 230.1
    assert decode(param(type="int16", scale=0.01), [0xFFFF]) == -0.01
    assert decode(param(type="float32"), list(struct.unpack(">HH", struct.pack(">f", 0.1)))) == 0.1
    for odd in (float("nan"), float("inf"), float("-inf")):
        assert decode(param(type="float32"), list(struct.unpack(">HH", struct.pack(">f", odd)))) is None
    assert decode(param(count=3, scale=2), [1, 2, 3]) == [2, 4, 6]
    assert decode(param(type="bool"), [7]) is True


def test_texts_end_at_nul_and_lose_blanks():
    words = [0x6945, 0x4D33, 0x3135, 0x3520, 0x0000, 0x5858]
    assert decode(param(type="string", count=6), words) == "iEM3155"
    swapped = [(word & 0xFF) << 8 | word >> 8 for word in words]
    assert decode(param(type="string", count=6, order="BADC"), swapped) == "iEM3155"


def test_rules():
    assert holds(parse(template())["identify"][0], [252])
    assert not holds(parse(template())["identify"][0], [253])
    masked = parse(template(identify=[dict(RULE, equals=[0x5700], mask=0xFF00)]))["identify"][0]
    assert holds(masked, [0x57FF])
    assert not holds(masked, [0x5600])
    bounds = parse(template(identify=[{"func": 4, "addr": 0, "count": 2, "min": 10, "max": 20}]))["identify"][0]
    assert holds(bounds, [10, 20])
    assert not holds(bounds, [10, 21])


def test_reads_are_as_few_as_the_limits_allow():
    rows = [dict(PARAM, name=str(index), addr=index * 10, type="float32") for index in range(30)]
    params = parse(template(params=rows))["params"]
    reads = plan(params)
    assert [(read.addr, read.count, read.has_gaps) for read in reads] == [
        (0, 122, True),
        (130, 122, True),
        (260, 32, True),
    ]
    assert len(plan(params, with_gaps=False)) == 30
    bits = parse(template(params=[dict(PARAM, name=str(n), func=1, addr=n * 100, type="bool") for n in range(20)]))[
        "params"
    ]
    assert [(read.addr, read.count) for read in plan(bits)] == [(0, 1901)]
    overlapping = [dict(PARAM, name="a", addr=0, type="uint32"), dict(PARAM, name="b", addr=1)]
    assert [(read.addr, read.count) for read in plan(parse(template(params=overlapping))["params"])] == [(0, 2)]
