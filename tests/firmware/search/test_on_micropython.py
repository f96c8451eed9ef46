"""The searches on MicroPython, on a line that the script plays: the same finds and values as on CPython."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[3]
MICROPYTHON = shutil.which("micropython", path=os.path.dirname(sys.executable))
SCRIPT = """
import asyncio, json
from firmware.services.bus.arbiter import Transaction
from firmware.services.search.classes import TemplateSearch
from firmware.services.search.devices import Discovery
from firmware.services.search.templates import parse
from firmware.services.search.verdicts import Search
from firmware.services.settings.table import default
from hal.runtime import json_dumps

REGISTERS = {0: 0x075B, 1: 0xCD15, 2: 0x4B7F, 3: 0xFFFF, 4: 0x57, 5: 0x42, 6: 0, 7: 0x7FC0, 8: 0, 20: 0x3F80, 21: 0}
RULES = [{"func": 3, "addr": 20, "count": 2, "type": "float32", "min": 1, "max": 247}]
PARAMS = [
    {"name": "scaled", "func": 3, "addr": 0, "type": "uint32", "scale": 0.01},
    {"name": "float", "func": 3, "addr": 2, "type": "float32"},
    {"name": "text", "func": 3, "addr": 4, "type": "string", "count": 3},
    {"name": "odd", "func": 3, "addr": 7, "type": "float32"},
    {"name": "lacking", "func": 3, "addr": 30, "type": "int16"},
]
TEMPLATE = {"meta": {"class": "a", "title": "A"}, "identify": RULES, "params": PARAMS}


class Bus:
    def refuse_where_it_only_listens(self):
        pass

    async def exchange(self, uid, pdu, lane, source, line, wait):
        transaction = Transaction(uid, pdu, lane, source, wait, 0, line)
        addr, count = (pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]) if len(pdu) == 5 else (0, 1)
        words = [REGISTERS.get(register) for register in range(addr, addr + count)]
        if uid != 9:
            transaction.finish("TIMEOUT", 0.0)
        elif pdu[0] != 3 or None in words or count > 4:
            transaction.answered(bytes([pdu[0] | 0x80, 2]), 0.0)
        else:
            data = [byte for word in words for byte in (word >> 8, word & 255)]
            transaction.answered(bytes([3, 2 * count] + data), 0.0)
        await asyncio.sleep(0)
        return transaction


async def read(path, limit):
    return json.dumps(TEMPLATE).encode()


async def main():
    setting = (9600, 5, 0)
    discovery = Discovery(Bus(), default("serial"))
    discovery.begin(Search([setting], range(1, 13), True, True))
    classes = TemplateSearch(Bus(), read, default("serial"))
    await classes.begin("/t.json", setting)
    while discovery.is_running() or classes.is_running():
        await asyncio.sleep(0)
    found = classes.found()[0]
    await classes.begin("/builtin/templates/eastron-sdm630.json", setting)
    while classes.is_running():
        await asyncio.sleep(0)
    by_address = [(device.uid, device.verdict) for device in discovery.found()]
    print(json_dumps([by_address, found.values, found.missing, classes.progress()[0], classes.found()]))


asyncio.run(main())
"""


@pytest.mark.parametrize("runtime", ["cpython", "micropython"])
def test_the_searches_find_the_same_on_both_runtimes(tmp_path, runtime):
    if runtime == "micropython" and MICROPYTHON is None:
        pytest.skip("there is no MicroPython for this machine")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable] if runtime == "cpython" else [MICROPYTHON, "-X", "heapsize=1M"]
    done = subprocess.run(
        [*command, str(tmp_path / "script.py")],
        capture_output=True,
        text=True,
        timeout=60,
        env={"MICROPYPATH": f"{ROOT}:.frozen", "PYTHONPATH": str(ROOT)},
        check=False,
    )
    values = {"scaled": 1234567.89, "float": 16777215.0, "text": "WB", "odd": None, "lacking": None}
    missing = {"odd": "NOT_A_NUMBER", "lacking": "EXCEPTION 2"}
    expected = [[[9, "answer"]], values, missing, "DONE", []]
    assert json.loads(done.stdout or "null") == expected, done.stderr
