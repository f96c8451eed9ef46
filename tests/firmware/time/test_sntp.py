"""SNTP packets, and the same code of time on MicroPython."""

import asyncio
import json
import pathlib
import random
import shutil
import struct
import sys
import time

import pytest

from firmware.services.settings.table import SETTINGS
from firmware.services.time import sntp
from firmware.services.time.local_time import LocalTime, parse_moment

ROOT = pathlib.Path(__file__).parents[3]
RULE = next(field.default for field in SETTINGS if field.name == "tsManual")
SOUTH = dict(RULE, startMonth=10, startWeek=1, endMonth=4, endWeek=1)

ON_MICROPYTHON = """
import asyncio, json, sys
from firmware.services.time import sntp
from firmware.services.time.local_time import LocalTime, parse_moment
from hal.runtime import now_ms

given = json.loads(sys.stdin.read())
zones = [LocalTime(*zone) for zone in given["zones"]]
local = [[zone.local_iso(moment) for moment in given["moments"]] for zone in zones]
parsed = [parse_moment(text, zones[0]) for text in given["texts"]]
eras = [sntp.unix_time(bytes(stamp)) for stamp in given["stamps"]]

async def ask(host, port):
    try:
        return await sntp.ask(host, port) + now_ms()
    except sntp.SntpError as exc:
        return exc.code

async def main():
    sntp.TIMEOUT_SEC = 1
    good = await ask("localhost", given["good"])
    sntp.TIMEOUT_SEC = 0.1
    bad = [await ask("127.0.0.1", given["silent"]), await ask("127.0.0.1", given["closed"])]
    print(json.dumps({"local": local, "parsed": parsed, "eras": eras, "good": good, "bad": bad}))

asyncio.run(main())
"""


def stamp(seconds: float) -> bytes:
    whole, part = divmod(seconds + sntp.UNIX_EPOCH, 1)
    return struct.pack(">II", int(whole) % sntp.ERA, int(part * sntp.ERA))


def test_a_request_has_nothing_in_it_but_the_cookie() -> None:
    assert sntp.request(b"cookie!!") == b"\x23" + bytes(39) + b"cookie!!"


@pytest.mark.parametrize("moment", [946684800000, 2085978495000, 2085978496500, 4102444799250])
def test_times_before_and_after_the_roll_over_of_2036(moment) -> None:
    assert sntp.unix_time(stamp(moment / 1000)) == moment


def test_the_roll_over_is_at_the_second_of_the_specification() -> None:
    assert sntp.unix_time(b"\xff\xff\xff\xff\0\0\0\0") == 2085978495000  # 2036-02-07T06:28:15Z
    assert sntp.unix_time(bytes(7) + b"\x01") == 2085978496000


def test_offset_and_delay_by_section_5() -> None:
    # The server is 100 s ahead; the way there takes 0.25 s, the way back 0.75 s, so that the offset is 0.25 s short.
    offset, delay = sntp.offset_and_delay(10000, 110250, 110750, 11500)
    assert (offset, delay) == (99750, 1000)


def test_an_answer_held_for_longer_than_we_waited_is_none() -> None:
    assert sntp.offset_and_delay(10000, 110000, 110050, 10000)[1] == -50  # coarse clocks
    with pytest.raises(sntp.SntpError) as caught:
        sntp.offset_and_delay(10000, 110000, 111000, 10500)
    assert caught.value.code == "BAD_ANSWER"


class Server(asyncio.DatagramProtocol):
    """Answers with noise, then somebody else's answer, then its own; a silent one with the first two."""

    def __init__(self, silent: bool):
        self.silent = silent

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self.transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *exc):
        self.transport.close()

    def datagram_received(self, data, addr):
        now = stamp(time.time() + 1e9)
        head = struct.pack(">BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"GPS\0") + now
        self.transport.sendto(b"noise", addr)
        self.transport.sendto(head + b"forgery!" + now + now, addr)
        if not self.silent:
            self.transport.sendto(head + data[40:48] + now + now, addr)


def micropython() -> "str | None":
    beside = pathlib.Path(sys.executable).parent / "micropython"
    return str(beside) if beside.exists() else shutil.which("micropython")


async def run_micropython(script: pathlib.Path, given: dict) -> dict:
    script.write_text(ON_MICROPYTHON)
    process = await asyncio.create_subprocess_exec(
        str(micropython()),
        *("-X", "heapsize=1M", str(script)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"MICROPYPATH": f"{ROOT}:.frozen"},
    )
    out, err = await process.communicate(json.dumps(given).encode())
    assert err == b"", err.decode()
    return json.loads(out)


@pytest.mark.skipif(micropython() is None, reason="no micropython here")
async def test_micropython_tells_the_same_time(tmp_path) -> None:
    zones = [(120, 1, RULE), (600, 2, SOUTH), (-210, 2, RULE), (0, 0, RULE)]
    switches = [1774746000000, 1792890000000, 1791043200000, 1775318400000]  # Europe's and Tasmania's of 2026
    source = random.Random(2036)
    moments = [moment + second for moment in switches for second in (-1000, 0, 1000)]
    moments += [source.randrange(946684800000, 4102444800000) for _ in range(200)]
    texts = ["2026-11-23T12:34:56", "2026-10-25T03:30", "2036-02-07T06:28:16.5Z", "2026-07-01T00:00:00,25-0330"]
    stamps = [bytes(8), b"\xff" * 4 + bytes(4), stamp(1e9), stamp(4e9 + 0.5)]
    async with Server(silent=False) as good, Server(silent=True) as silent, Server(silent=True) as closed:
        closed.transport.close()
        await asyncio.sleep(0)
        given = {"zones": zones, "moments": moments, "texts": texts, "stamps": [list(each) for each in stamps]}
        given |= {"good": good.port, "silent": silent.port, "closed": closed.port}
        told = await run_micropython(tmp_path / "script.py", given)
    here = [LocalTime(*zone) for zone in zones]
    assert told["local"] == [[zone.local_iso(moment) for moment in moments] for zone in here]
    assert told["parsed"] == [parse_moment(text, here[0]) for text in texts]
    assert told["eras"] == [sntp.unix_time(each) for each in stamps]
    assert abs(told["good"] / 1000 - time.time() - 1e9) < 5
    assert told["bad"] == ["TIMEOUT", "TIMEOUT"]
