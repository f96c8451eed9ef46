"""Decimal numbers by integers, held against the floats of CPython, on both runtimes."""

import json
import random
import struct
import subprocess
import sys

import pytest

from firmware.services.bus.registers import numbers
from hal.runtime import json_dumps
from hal.runtime.decimals import Decimal, as_number, ieee_text, product
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, ROOT, environment

VALUES = [  # (type, registers, scale, JSON text)
    ("uint32", [0x075B, 0xCD15], 0.01, "1234567.89"),
    ("int32", [0xF8A4, 0x32EB], 0.01, "-1234567.89"),
    ("uint64", [0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF], 0.001, "18446744073709551.615"),
    ("int64", [0x8000, 0, 0, 0], 1, "-9223372036854775808"),
    ("uint16", [230], 0.1, "23.0"),
    ("uint16", [7], 10, "70"),
    ("uint16", [1], 1e-07, "1e-07"),
    ("float32", [0x3DCC, 0xCCCD], 1, "0.1"),
    ("float32", [0x4B7F, 0xFFFF], 1, "16777215.0"),
    ("float32", [0x7F7F, 0xFFFF], 1, "3.4028235e+38"),
    ("float32", [0x41AC, 0], 0.1, "2.15"),
    ("float32", [0x7FC0, 0], 1, "null"),
    ("float64", [0x3FB9, 0x9999, 0x9999, 0x999A], 1, "0.1"),
    ("float64", [0x419D, 0x6F34, 0x547E, 0x69AD], 1, "123456789.12345"),
    ("float64", [0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF], 1, "1.7976931348623157e+308"),
]
SCRIPT = """
import json, sys
from firmware.services.bus.registers import numbers
from hal.runtime import json_dumps
given = json.loads(sys.stdin.read())
print(json.dumps([json_dumps(numbers(kind, "ABCD", words, scale)) for kind, words, scale, _ in given]))
"""


@pytest.mark.parametrize(("kind", "words", "scale", "text"), VALUES)
def test_a_value_has_the_digits_that_it_has(kind, words, scale, text):
    assert json_dumps({"values": numbers(kind, "ABCD", words, scale)}) == f'{{"values": [{text}]}}'


@NEEDS_MICROPYTHON
def test_micropython_writes_the_same_texts(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [MICROPYTHON, str(tmp_path / "script.py")]
    given = json.dumps(VALUES)
    done = subprocess.run(command, input=given, capture_output=True, text=True, env=environment())
    assert json.loads(done.stdout or "null") == [f"[{text}]" for _, _, _, text in VALUES], done.stderr


@pytest.mark.parametrize("layout", [">f", ">d"])
def test_floats_are_told_as_shortly_as_can_be(layout):
    source = random.Random(754)
    size = struct.calcsize(layout)
    raws = [source.randbytes(size) for _ in range(3000)]
    raws += [struct.pack(layout, sign * 2.0**power) for power in range(-149, 128) for sign in (1, -1)]
    raws += [bytes(size - 1) + bytes([last]) for last in range(20)]
    for raw in raws:
        value = struct.unpack(layout, raw)[0]
        text = ieee_text(raw)
        if value != value or abs(value) == float("inf"):
            assert text is None
        elif layout == ">d":
            assert text == repr(value)
        else:
            assert struct.pack(layout, float(text)) == raw
            digits = len(text.split("e")[0].replace(".", "").lstrip("-").strip("0"))
            assert digits < 2 or struct.pack(layout, float(f"{value:.{digits - 2}e}")) != raw  # one digit less


def test_products_are_exact():
    source = random.Random(14)
    for _ in range(2000):
        number, places = source.randrange(-(10**9), 10**9), source.randrange(9)
        told = product(str(number), f"1e-{places}", True)
        assert float(repr(told)) == number / 10**places
    assert product("123456789", "0.01", True) == 1234567.89
    assert as_number(Decimal("2.5")) == 2.5


def test_a_text_that_looks_like_a_decimal_stays_a_text():
    assert json.loads(json_dumps({"a": "12.5", "b": Decimal("12.5")})) == {"a": "12.5", "b": 12.5}
    with pytest.raises(TypeError):
        json_dumps({"a": object()})


DIGITS = "0.12345678901234567891"  # more than any float has
SCALED = """
from firmware.services.search.templates import parse
from firmware.services.search.values import decode
from hal.json_text import json_loads_exact
from hal.runtime import json_dumps
rule = '{"func": 3, "addr": 0, "count": 1, "min": 0.5, "max": 1e2}'
param = '{"name": "a", "func": 3, "addr": 1.0, "type": "uint16", "scale": SCALE}'
text = '{"meta": {"class": "a", "title": "1.5"}, "identify": [%s], "params": [%s]}' % (rule, param)
print(decode(parse(text.encode())["params"][0], [10]))
print(decode(parse(text.replace("DIGITS", "1.0").encode())["params"][0], [10]))
print(json_loads_exact('[1E-3, 5, -2.50, "0.5", true, null, {"b": [0.1e+2]}, false, -7]'))
""".replace("SCALE", DIGITS).replace("DIGITS", DIGITS)


@pytest.mark.parametrize("runtime", [sys.executable, pytest.param(MICROPYTHON, marks=NEEDS_MICROPYTHON)])
def test_a_scale_has_the_digits_that_its_template_gives_it(tmp_path, runtime):
    (tmp_path / "script.py").write_text(SCALED)
    done = subprocess.run(
        [runtime, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        env=dict(environment(), PYTHONPATH=str(ROOT)),
        check=True,
    )
    value, whole, plain = done.stdout.splitlines()
    assert value == "1.2345678901234567891"
    assert whole == "10"
    assert plain == "[1e-3, 5, -2.50, '0.5', True, None, {'b': [0.1e+2]}, False, -7]"
