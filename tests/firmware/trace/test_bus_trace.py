"""The trace: what is kept of an exchange, and what is shown of it."""

import json
import re
import socket

import pytest

from firmware.services.bus.transaction import GATEWAY, INTERACTIVE, Transaction
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.entry import CAUSES, REASONS, Entry, unpacked
from hal.rs485.exchange import Exchange
from hal.rs485.framing import Line
from tests.firmware.running import BOARD, Running

UTC = 1790000000000  # milliseconds
READ = bytes([3, 0, 0, 0, 1])
LINE = Line(9600, 5)


def new(size=65536):
    return BusTrace(size, lambda: UTC, lambda: 5000000)


async def shown(trace, since=0, uid=None, errors=False, limit=100):
    return json.loads("".join(trace.page_parts(await trace.page(since, uid, errors, limit))))


def asked(uid=1, origin="http 10.0.0.5"):
    transaction = Transaction(uid, READ, INTERACTIVE, "s")
    transaction.origin = origin
    transaction.queued, transaction.asked = 3000, 3012
    return transaction


def ended(error=None, pdu=b"", first=0, **more):
    exchange = Exchange(error, pdu)
    exchange.began, exchange.first, exchange.ended = 3012000, first, 3040000
    exchange.line = LINE
    for name, value in more.items():
        setattr(exchange, name, value)
    return exchange


@pytest.mark.parametrize("seed", range(len(CAUSES)))
def test_what_is_packed_comes_out_again(seed):
    entry = Entry(seed % 5, "tcp fe80::1", (1 << 45) + seed, 255 - seed, READ)
    entry.answer = bytes(range(seed * 20))
    entry.first_us = None if seed % 2 else seed * 1000
    entry.line_us, entry.queued_ms = seed * 70000, seed * 4000
    entry.cause = CAUSES[seed]
    entry.heard_uid = 0 if seed == 3 else None
    entry.shared = seed
    entry.line = None if seed == 9 else (230400, 5, seed % 2)
    entry.thrown = [(reason, bytes([seed]) * 40) for reason in REASONS[: seed % 6]]
    again = unpacked(7, entry.packed(4096))
    entry.number = 7
    assert again.shown(None) == entry.shown(None)


async def test_an_answer_is_shown_with_its_bytes_and_its_times():
    trace = new()
    exchange = ended(pdu=bytes([3, 2, 4, 210]), first=3012000 + LINE.wire_us(8) + 5000, thrown=(("noise", b"\x55"),))
    trace.exchange(asked(), READ, exchange)
    page = await shown(trace)
    assert (page["first"], page["last"], page["lost"], page["next"]) == (1, 1, 0, 1)
    assert page["entries"] == [
        {
            "n": 1,
            "time": "2026-09-21T14:13:18.012000Z",
            "atUs": 3012000,
            "lane": "interactive",
            "source": "http 10.0.0.5",
            "uid": 1,
            "func": 3,
            "question": "010300000001",
            "answer": "01030204d2",
            "thrown": [{"why": "noise", "bytes": "55"}],
            "cause": None,
            "exception": None,
            "heardUid": None,
            "queuedMs": 12,
            "firstByteUs": 5000,
            "lineUs": 28000,
            "shared": 0,
            "baudRate": 9600,
            "charFormat": 5,
            "frameMode": 0,
        }
    ]


async def test_a_cause_is_shown_for_whatever_is_no_good_answer():
    trace = new()
    hurried = ended("TIMEOUT", hurried=True)
    lost = Exchange("PORT_LOST")
    for exchange in [ended(error) for error in ("TIMEOUT", "BAD_FRAME", "ECHO")] + [hurried, lost]:
        trace.exchange(asked(), READ, exchange)
    trace.exchange(asked(), READ, ended(pdu=bytes([0x83, 2])))
    trace.exchange(asked(), READ, ended("FOREIGN", frames=[(9, b"\x03\x02\0\0")]))
    refused = asked(4)
    refused.error = "DEVICE_DOWN"
    trace.exchange(refused, READ, None)
    entries = (await shown(trace))["entries"]
    causes = ["TIMEOUT", "BAD_FRAME", "ECHO", "HURRIED", "PORT_LOST", "EXCEPTION", "FOREIGN", "DEVICE_DOWN"]
    assert [entry["cause"] for entry in entries] == causes
    assert (entries[5]["exception"], entries[6]["heardUid"], entries[7]["lineUs"]) == (2, 9, 0)


async def test_pages_follow_one_another_and_select():
    trace = new()
    for number in range(1, 31):
        trace.exchange(asked(number % 3), READ, ended("TIMEOUT" if number % 5 == 0 else None, b"\x03\x02\0\0"))
    first = await shown(trace, since=0, uid=1, limit=4)
    assert [entry["n"] for entry in first["entries"]] == [1, 4, 7, 10]
    second = await shown(trace, since=first["next"], uid=1, limit=100)
    assert [entry["n"] for entry in second["entries"]] == list(range(13, 31, 3))
    assert (second["next"], (await shown(trace, since=30))["entries"]) == (30, [])
    newest = await shown(trace, since=None, errors=True, limit=2)
    assert [entry["n"] for entry in newest["entries"]] == [25, 30]


async def test_what_was_pushed_out_is_counted_as_lost():
    trace = new(2048)
    for _ in range(100):
        trace.exchange(asked(), READ, ended(pdu=b"\x03\x02\0\0"))
    page = await shown(trace)
    assert page["first"] > 1
    assert (page["lost"], page["entries"][0]["n"]) == (page["first"] - 1, page["first"])
    assert (await shown(trace, since=None))["lost"] == 0


async def test_what_was_thrown_away_never_takes_more_than_its_share():
    trace = new(1024)
    trace.exchange(asked(), READ, ended("BAD_FRAME", thrown=(("noise", bytes(255)),) * 8))
    entry = (await shown(trace))["entries"][0]
    assert (entry["cause"], len(entry["thrown"])) == ("BAD_FRAME", 0)
    assert trace.ring.last == 1


async def test_without_a_clock_there_is_no_time_but_an_order():
    trace = BusTrace(4096, lambda: None, lambda: 0)
    trace.exchange(asked(), READ, ended(pdu=b"\x03\x02\0\0"))
    entry = (await shown(trace))["entries"][0]
    assert (entry["time"], entry["atUs"]) == (None, 3012000)


async def test_a_forwarded_request_is_shown_with_what_came_of_it():
    trace = new()
    transaction = Transaction(20, READ, GATEWAY, "s")
    transaction.origin, transaction.queued, transaction.elapsed = "tcp 10.0.0.7", 2000, 0.25
    transaction.answered(bytes([0x83, 11]), 2250)
    trace.forwarded(transaction)
    entry = (await shown(trace))["entries"][0]
    assert (entry["lane"], entry["source"], entry["lineUs"]) == ("forward", "tcp 10.0.0.7", 250000)
    assert (entry["cause"], entry["exception"], entry["baudRate"]) == ("EXCEPTION", 11, None)


def test_a_device_shows_the_exchanges_of_every_entrance_and_names_nobodys_token(tmp_path):
    rows = [{"uidFrom": 200, "uidTo": 200, "host": "192.0.2.1", "port": 502, "answerMs": 50}]
    settings = dict(BOARD["settings"], forwarding=rows, serial={"responseTimeoutMs": 100})
    with Running(tmp_path, dict(BOARD, settings=settings)) as running:
        running.login()
        asked = {"uid": 1, "func": 3, "addr": 0, "count": 1}
        for request in (asked, dict(asked, uid=99), dict(asked, uid=200)):
            tid = running.post("modbus/req/", request)["tid"]
            running.get(f"modbus/resp/?tid={tid}&wait=5000")
        ask_over_tcp(running)
        running.post("modbus/find/start/", {"baudRate": 9600, "charFormat": 5, "uidFrom": 1, "uidTo": 1})
        while running.get("modbus/find/result/")["status"] == "RUNNING":
            pass
        text = running.client.get("api/modbus/trace/").text
        entries = json.loads(text)["entries"]
        seen = {(entry["lane"], entry["source"], entry["uid"], entry["cause"]) for entry in entries}
        assert {
            ("interactive", "http 127.0.0.1", 1, None),
            ("interactive", "http 127.0.0.1", 99, "TIMEOUT"),
            ("gateway", "tcp 127.0.0.1", 1, None),
            ("search", "search", 1, None),
        } <= seen
        assert next(cause for lane, _, uid, cause in seen if (lane, uid) == ("forward", 200)) in ("TIMEOUT", "NO_PATH")
        assert running.client.headers["Authorization"][7:] not in text
        assert [entry["uid"] for entry in running.get("modbus/trace/?errors&uid=99")["entries"]] == [99]


def ask_over_tcp(running):
    port = int(re.search(r"Modbus TCP [^,]*:(\d+)", running.line)[1])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(bytes([0, 1, 0, 0, 0, 6, 1]) + READ)
        assert sock.recv(260)[7] == 3
