"""What both runtimes share, on CPython and, where it differs, on MicroPython."""

import ast
import json
import pathlib
import random
import subprocess

import pytest

from hal import json_text, runtime
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, environment

GOOD = [
    *["{}", "[]", "1", "-0.5e-3", '"a"', "true", "null", ' { "a" : [ 1 , {"b":[]} ] } ', '"\\u00e9\\n\\"\\\\"', "[0]"],
    *['{"a":"]","b":"}"}', '[["[",{}],"{"]', "1e5", '""'],
]
BAD = [
    *[
        "",
        " ",
        "{",
        "}",
        "[1,]",
        '{"a":1,}',
        '{"a" 1}',
        '{"a":1]',
        "[1 2]",
        "{1:2}",
        '{"a"}',
        "nonsense",
        "True",
        "NaN",
    ],
    *[
        "[,]",
        "[}",
        '"a',
        '"\n"',
        '"\\x"',
        "01",
        "-",
        "1.2.3",
        "1 1",
        '{"a":}',
        '{"a"::1}',
        ":",
        "[1}",
        '{,"a":1}',
        "--1",
    ],
]


@pytest.mark.parametrize("text", GOOD)
def test_the_check_takes_json(text):
    json_text.check_json(text)
    assert json_text.json_loads(text) == json.loads(text)


@pytest.mark.parametrize("text", BAD)
def test_the_check_refuses_what_is_no_json(text):
    with pytest.raises(ValueError):
        json_text.check_json(text)


def test_the_check_agrees_with_the_parser_on_damaged_texts():
    source = random.Random(1)
    whole = json.dumps({"a": [1, 2.5, -3e4, None, True, {"b": 'x\\"y', "c": {}}], "d": "é", "e": [[], [[]]]})
    for _ in range(20000):
        characters = list(whole)
        for _ in range(source.randrange(1, 4)):
            place = source.randrange(len(characters))
            characters[place : place + source.randrange(2)] = source.choice(
                ["", ",", "]", "}", '"', "1", ":", "{", " "]
            )
        text = "".join(characters)
        try:
            json.loads(text)
            good = True
        except ValueError:
            good = False
        try:
            json_text.check_json(text)
            taken = True
        except ValueError:
            taken = False
        assert taken == good, text


def test_nesting_is_bounded():
    assert json_text.json_loads("[" * 32 + "]" * 32)
    with pytest.raises(ValueError, match="nested deeper"):
        json_text.json_loads("[" * 33 + "]" * 33)
    with pytest.raises(ValueError):
        json_text.json_loads("[" * 60000)


def test_random_text_is_letters_and_digits_and_does_not_repeat():
    texts = {runtime.random_text(48) for _ in range(500)}
    assert len(texts) == 500
    counts = {character: "".join(texts).count(character) for character in set("".join(texts))}
    assert len(counts) == 62
    assert max(counts.values()) < 2 * min(counts.values())


def signatures(name):
    """{name of a public function or constant: its parameters, with their defaults and kinds} of a runtime's file."""
    tree = ast.parse((pathlib.Path(runtime.__file__).parent / f"{name}.py").read_text())
    found = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found[node.name] = ast.unparse(node.args)
            assert ast.get_docstring(node) or node.name.startswith("_"), f"{name}.{node.name} says nothing"
        elif isinstance(node, ast.Assign):
            found.update((ast.unparse(target), "") for target in node.targets)
    return {name: parameters for name, parameters in found.items() if not name.startswith("_")}


@pytest.mark.parametrize("part", ["__init__", "files"])
def test_both_runtimes_have_the_same_names_with_the_same_parameters(part):
    here, there = signatures("cpython/" + part), signatures("micropython/" + part)
    assert len(here) > 5
    assert here == there


WRAPPING = """
import time

PERIOD = 1 << 30  # of a board's ticks


class Ticks:
    us = PERIOD * 1000 - 2000000

    def ticks_ms(self):
        return self.us // 1000 % PERIOD

    def ticks_us(self):
        return self.us % PERIOD

    def ticks_diff(self, end, start):
        return (end - start + PERIOD // 2) % PERIOD - PERIOD // 2

    def __getattr__(self, name):
        return getattr(time, name)


import sys

clock = sys.modules["time"] = Ticks()
from hal.runtime import now_ms, now_us

start = clock.us
told = [now_ms() * 1000 - start, now_us() - start]
for pause in [1500, 999000, 3000000, 350000000, 500000000, 86400000000] * 9:
    clock.us += pause
    told += [now_ms() * 1000 - clock.us - told[0], now_us() - clock.us - told[1]]
print(max(abs(late) for late in told[2:]))
"""


@NEEDS_MICROPYTHON
def test_clocks_go_on_where_a_boards_ticks_wrap(tmp_path):
    (tmp_path / "script.py").write_text(WRAPPING)
    command = [MICROPYTHON, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert int(done.stdout or "-1") in range(20000), done.stderr  # microseconds, of 80 days by milliseconds


SHORT_OF_MEMORY = """
import asyncio
from hal.runtime import call_after
from hal.runtime.memory import MEMORY

tried = []

def deadline():
    tried.append(1)
    if len(tried) < 3:
        raise MemoryError
    later.cancel()  # as whoever has got what he waited for

async def main():
    global later
    later = call_after(0, deadline)
    cancelled = call_after(0.001, tried.clear)
    cancelled.cancel()
    await asyncio.sleep(0.2)
    print(len(tried), MEMORY.shortages)

asyncio.run(main())
"""


@NEEDS_MICROPYTHON
def test_a_deadline_comes_even_where_there_was_no_memory_for_it_at_first(tmp_path):
    (tmp_path / "script.py").write_text(SHORT_OF_MEMORY)
    command = [MICROPYTHON, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.stdout.split() == ["3", "2"], done.stderr


NO_EARLIER = """
import asyncio
from hal.runtime import call_after, now_us

async def main():
    early = 0
    for seconds in (0, 0.0004, 0.00175, 0.0041, 0.0209, 0.1002):
        for _ in range(5):
            called, begun = asyncio.Event(), now_us()
            call_after(seconds, called.set)
            await called.wait()
            early += now_us() - begun < int(seconds * 1000000)
    print(early)

asyncio.run(main())
"""


@NEEDS_MICROPYTHON
def test_a_timer_comes_no_earlier_than_it_was_set_though_the_loop_counts_milliseconds(tmp_path):
    (tmp_path / "script.py").write_text(NO_EARLIER)
    command = [MICROPYTHON, str(tmp_path / "script.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.stdout.strip() == "0", done.stderr
