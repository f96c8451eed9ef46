"""Templates: what they may say, what is wrong in them, how values come out of registers."""

import json
import pathlib
import struct

import pytest

from firmware.services.errors import Refused
from firmware.services.search.templates import SIZE_LIMIT, holds, parse, plan
from firmware.services.search.values import decode

TEMPLATES = pathlib.Path(__file__).parents[3] / "firmware" / "templates"
SHIPPED = sorted(TEMPLATES.glob("*.json"))
RULE = {"func": 3, "addr": 0, "count": 1, "equals": [252]}
FLOAT_RULE = {"func": 4, "addr": 70, "count": 2, "type": "float32", "min": 45, "max": 65}
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
        (template(identify=[dict(RULE, type="int16")]), "type: has no place beside equals"),
        (template(identify=[dict(FLOAT_RULE, count=1)]), "count: must be a multiple of 2 for float32"),
        (template(identify=[dict(FLOAT_RULE, func=1)]), "type: has no place for functions 1 and 2"),
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


def float_words(value):
    return list(struct.unpack(">HH", struct.pack(">f", value)))


@pytest.mark.parametrize("value", [16777215, 0.1, 230.5, -1.5e-7, 123.4567, 8388607.5, 0.333333343, 1234567.8])
def test_a_float_has_the_digits_that_it_has(value):
    shown = decode(param(type="float32"), float_words(value))
    assert struct.pack(">f", shown) == struct.pack(">f", value)
    assert len(repr(shown)) <= len(repr(value)) + 2


def test_scales_are_computed_in_decimals():
    assert decode(param(type="uint32", scale=0.01), [123456789 >> 16, 123456789 & 0xFFFF]) == 1234567.89
    assert decode(param(type="float32", scale=1000), float_words(0.1)) == 100
    assert decode(param(type="int16", scale=1e-05), [0xFFFE]) == -2e-05
    assert decode(param(type="uint16", scale=1e3), [65535]) == 65535000
    tenths = param(scale=0.1)
    assert [decode(tenths, [number]) for number in range(0, 65536, 7)] == [
        float(f"{number // 10}.{number % 10}") for number in range(0, 65536, 7)
    ]


@pytest.mark.parametrize("words", [[0x57, 0x42, 0x4D, 0], [0x5700, 0x4200, 0x4D00, 0], [0x5742, 0x4D00, 0, 0x41]])
def test_texts_may_have_one_or_two_characters_a_register(words):
    assert decode(param(type="string", count=4), words) == "WBM"


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
    floats = parse(template(identify=[FLOAT_RULE]))["identify"][0]
    assert holds(floats, float_words(50.0))
    assert not holds(floats, float_words(44.9))
    assert not holds(floats, float_words(float("nan")))
    signed = parse(template(identify=[dict(FLOAT_RULE, type="int32", order="CDAB", min=-2, max=-1)]))["identify"][0]
    assert holds(signed, [0xFFFE, 0xFFFF])


def eastron(number, **registers):
    """An Eastron meter's whole floats: holding registers h.., input registers i..; 0 where it has none."""
    values = {"h20": 1, "h28": 2, "i70": 50.0, **registers}
    rules = parse((TEMPLATES / f"eastron-sdm{number}.json").read_bytes())["identify"]
    return all(holds(rule, float_words(values.get(f"{'hi'[rule['func'] == 4]}{rule['addr']}", 0.0))) for rule in rules)


def test_eastron_meters_are_told_apart_whatever_they_measure():
    three_phases = {"h10": 3, "i0": 230.1, "i2": 229.5, "i4": 231.0, "i42": 230.2}
    dead_phases = {"h10": 3, "i0": 230.1, "i42": 76.7}
    transformer = {"h10": 2, "i0": 5773.5, "i2": 5770.1, "i4": 5780.9, "i42": 5774.8}
    one_phase = {"i0": 232.5}
    assert [eastron(630, **meter) for meter in (three_phases, dead_phases, transformer, one_phase)] == [True] * 3 + [
        False
    ]
    assert [eastron(230, **meter) for meter in (three_phases, dead_phases, transformer, one_phase)] == [False] * 3 + [
        True
    ]


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
