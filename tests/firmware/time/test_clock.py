"""The clock service against a real UDP server on loopback that behaves and misbehaves."""

import asyncio
import socket
import struct
import time

import pytest

from firmware.api.endpoints.time import time_sync
from firmware.services.errors import Refused
from firmware.services.settings.table import SETTINGS
from firmware.services.time import clock as clock_module
from firmware.services.time import sntp
from firmware.services.time.absent import NoClock
from firmware.services.time.clock import ClockService
from hal.contracts import NotPermitted
from hal.runtime import now_ms
from hal.simulated.clock import SimulatedClock
from tests.firmware.calls import call

DEFAULTS = {field.name: field.default for field in SETTINGS}
AHEAD = 86400 * 400.0  # seconds that the server is ahead of the host


@pytest.fixture(autouse=True)
def short_timeout(monkeypatch):
    monkeypatch.setattr(sntp, "TIMEOUT_SEC", 0.3)


def stamp(seconds):
    whole, part = divmod(seconds + sntp.UNIX_EPOCH, 1)
    return struct.pack(">II", int(whole) % sntp.ERA, int(part * sntp.ERA))


def good_answer(request, ahead=AHEAD):
    now = stamp(time.time() + ahead)
    return struct.pack(">BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"GPS\0") + now + request[40:48] + now + now


class Server(asyncio.DatagramProtocol):
    """Answers with what `answer(request)` returns: a datagram, a list of them, or None."""

    def __init__(self, answer=good_answer):
        self.answer = answer
        self.requests = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self.transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self.transport.get_extra_info("sockname")[1]
        return self

    async def __aexit__(self, *exc):
        self.transport.close()

    def datagram_received(self, data, addr):
        self.requests.append(data)
        answers = self.answer(data) or []
        for answer in [answers] if isinstance(answers, bytes) else answers:
            self.transport.sendto(answer, addr)


def service(tmp_path, port, server1="127.0.0.1", server2="", clock_ms=now_ms, **settings):
    ntp = dict(DEFAULTS["ntp"], enabled=True, server1=server1, server2=server2)
    clock = SimulatedClock({}, str(tmp_path))
    return clock, ClockService(clock, dict(DEFAULTS, ntp=ntp, **settings), port, clock_ms)


async def sync(times):
    """As HTTP has it."""
    return await time_sync(call({"clock": times}))


async def test_sync_steps_the_clock_and_keeps_it_over_a_restart(tmp_path):
    async with Server() as server:
        clock, times = service(tmp_path, server.port)
        outcome = await sync(times)
        assert outcome["status"] == "DONE"
        assert outcome["errorCode"] is None
        assert abs(outcome["offsetMs"] - AHEAD * 1000) < 500
        assert abs(clock.now() / 1000 - time.time() - AHEAD) < 0.5
        assert times.state()["source"] == "SNTP"
        assert times.state()["lastSync"] == times.state()["utc"]
        assert abs(SimulatedClock({}, str(tmp_path)).now() - clock.now()) < 500
        request = server.requests[0]
        assert len(request) == 48
        assert request[0] == 0x23
        assert request[40:48] != bytes(8)


def changed(offset, data):
    return lambda request: good_answer(request)[:offset] + data + good_answer(request)[offset + len(data) :]


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (changed(0, b"\x23"), "BAD_ANSWER"),  # mode 3
        (changed(0, b"\x0c"), "BAD_ANSWER"),  # version 1
        (changed(0, b"\xe4"), "NOT_SYNCHRONISED"),  # leap indicator 3
        (changed(1, b"\x10"), "NOT_SYNCHRONISED"),  # stratum 16
        (lambda request: changed(1, b"\x00")(request)[:12] + b"RATE" + good_answer(request)[16:], "KISS_OF_DEATH"),
        (changed(40, bytes(8)), "BAD_ANSWER"),  # transmit timestamp zero
        (changed(24, bytes(8)), "TIMEOUT"),  # somebody else's originate timestamp
        (changed(8, b"\x00\x20\x00\x00"), "NOT_SYNCHRONISED"),  # root dispersion 32 s
        (changed(40, stamp(time.time() + AHEAD + 7200)), "BAD_ANSWER"),  # held for two hours, and here at once
        (changed(32, stamp(4102444801) + stamp(4102444801)), "BAD_ANSWER"),  # 2100
        (lambda request: good_answer(request)[:47], "TIMEOUT"),
        (lambda request: b"", "TIMEOUT"),
        (lambda request: None, "TIMEOUT"),
    ],
)
async def test_a_server_that_misbehaves_changes_nothing(tmp_path, answer, code):
    async with Server(answer) as server:
        clock, times = service(tmp_path, server.port)
        assert await sync(times) == {"status": "ERROR", "errorCode": code, "offsetMs": None}
        assert abs(clock.now() / 1000 - time.time()) < 0.1
        assert times.state()["source"] == "RTC"
        assert times.state()["lastSync"] is None


async def test_a_forged_answer_before_the_true_one_is_passed_over(tmp_path):
    async with Server(lambda request: [changed(24, b"forgery!")(request), good_answer(request)]) as server:
        _, times = service(tmp_path, server.port)
        assert (await sync(times))["status"] == "DONE"


async def test_the_second_server_is_asked_when_the_first_does_not_resolve(tmp_path):
    async with Server() as server:
        _, times = service(tmp_path, server.port, "no-such-host.invalid", "127.0.0.1")
        assert (await sync(times))["status"] == "DONE"


def kiss(code):
    return lambda request: changed(1, b"\x00")(request)[:12] + code + good_answer(request)[16:]


async def test_a_server_that_says_deny_is_not_asked_again(tmp_path):
    async with Server(kiss(b"DENY")) as server:
        now = [0.0]
        _, times = service(tmp_path, server.port, clock_ms=lambda: round(now[0] * 1000))
        assert (await sync(times))["errorCode"] == "KISS_OF_DEATH"
        now[0] += 1e6
        assert (await sync(times))["errorCode"] == "KISS_OF_DEATH"
        assert len(server.requests) == 1


async def test_a_server_that_was_asked_too_often_has_its_peace_for_a_period(tmp_path):
    async with Server(kiss(b"RATE")) as server:
        now = [0.0]
        _, times = service(tmp_path, server.port, clock_ms=lambda: round(now[0] * 1000))
        assert (await sync(times))["errorCode"] == "KISS_OF_DEATH"
        now[0] += DEFAULTS["ntp"]["periodMin"] * 60 - 1
        assert (await sync(times))["errorCode"] == "KISS_OF_DEATH"
        assert len(server.requests) == 1
        server.answer = good_answer
        now[0] += 2
        assert (await sync(times))["status"] == "DONE"


async def test_the_second_server_serves_while_the_first_wants_peace(tmp_path):
    def first_deny(request):
        return good_answer(request) if len(server.requests) > 1 else kiss(b"DENY")(request)

    async with Server(first_deny) as server:
        _, times = service(tmp_path, server.port, "127.0.0.1", "localhost")
        assert (await sync(times))["status"] == "DONE"
        assert len(server.requests) == 2


async def test_a_slow_name_server_does_not_shift_the_time(tmp_path, monkeypatch):
    loop = asyncio.get_running_loop()
    resolve = loop.getaddrinfo

    async def slowly(*args, **options):
        await asyncio.sleep(0.2)
        return await resolve(*args, **options)

    monkeypatch.setattr(loop, "getaddrinfo", slowly)
    async with Server(lambda request: good_answer(request, 0)) as server:
        clock, times = service(tmp_path, server.port)
        assert abs((await sync(times))["offsetMs"]) < 80
        assert abs(clock.now() / 1000 - time.time()) < 0.08


@pytest.mark.parametrize("outcome", ["never", "unknown"])
async def test_a_name_without_an_address_is_said(tmp_path, monkeypatch, outcome):
    async def resolve(*args, **options):
        if outcome == "unknown":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    _, times = service(tmp_path, 1, "ntp.example.org")
    assert (await sync(times))["errorCode"] == "DNS"


async def test_a_clock_set_by_hand_while_the_answer_is_on_its_way_gets_the_servers_time(tmp_path):
    def answer_to_a_clock_set_meanwhile(request):
        times.set("2040-01-01T00:00:00Z")
        return good_answer(request)

    async with Server(answer_to_a_clock_set_meanwhile) as server:
        clock, times = service(tmp_path, server.port)
        assert (await sync(times))["status"] == "DONE"
        assert abs(clock.now() / 1000 - time.time() - AHEAD) < 0.5
        assert times.state()["source"] == "SNTP"


async def test_a_flood_of_forgeries_neither_wins_nor_stops_the_device(tmp_path):
    async with Server(lambda request: [changed(24, b"forgery!")(request)] * 100) as server:
        _, times = service(tmp_path, server.port)
        turns = 0
        attempt = asyncio.create_task(sync(times))
        while not attempt.done():
            turns += 1
            await asyncio.sleep(0.001)
        assert (await attempt)["errorCode"] == "TIMEOUT"
        assert turns > 20


async def test_a_clock_that_cannot_store_its_time_keeps_the_one_it_has(tmp_path):
    async with Server() as server:
        clock, times = service(tmp_path, server.port)
        (tmp_path / "clock-offset.new").symlink_to("elsewhere")
        assert (await sync(times))["errorCode"] == "PART_FAILED"
        assert abs(clock.now() / 1000 - time.time()) < 0.5
        assert times.state()["source"] == "RTC"


@pytest.mark.parametrize("content", ["", "nan", "-inf", "1e300", "x" * 1000])
def test_a_damaged_clock_starts_with_the_hosts_time_and_says_so(tmp_path, capsys, content):
    (tmp_path / "clock-offset").write_text(content)
    assert abs(SimulatedClock({}, str(tmp_path)).now() / 1000 - time.time()) < 1
    assert "clock-offset" in capsys.readouterr().err


async def test_nobody_listening_is_a_timeout(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    _, times = service(tmp_path, port)
    assert (await sync(times))["errorCode"] == "TIMEOUT"


async def test_a_clock_that_may_not_be_set_is_said(tmp_path):
    async with Server() as server:
        clock, times = service(tmp_path, server.port)

        def refuse(seconds):
            raise NotPermitted("CAP_SYS_TIME is missing")

        clock.set = refuse
        assert (await sync(times))["errorCode"] == "NOT_PERMITTED"


async def test_it_asks_by_itself_after_start_and_again_after_a_failure(tmp_path, monkeypatch):
    monkeypatch.setattr(clock_module, "FIRST_SYNC_SEC", 0)
    monkeypatch.setattr(clock_module, "RETRY_SEC", 0.01)
    asked = []

    def second_time_good(request):
        asked.append(request)
        return good_answer(request) if len(asked) > 1 else changed(1, b"\x10")(request)

    async with Server(second_time_good) as server:
        clock, times = service(tmp_path, server.port)
        await times.start()
        while times.state()["lastSync"] is None:
            await asyncio.sleep(0.01)
        await times.stop()
        assert clock.now() / 1000 - time.time() > AHEAD - 1


def test_setting_by_hand_takes_local_time_and_zones(tmp_path):
    _, times = service(tmp_path, 1, timeGmt=120, tsMode=1)
    times.set("2030-07-01T12:00:00")
    assert times.state()["utc"] == "2030-07-01T09:00:00Z"
    assert times.state()["local"] == "2030-07-01T12:00:00"
    assert times.state()["source"] == "MANUAL"
    times.set("2030-01-01T12:00:00Z")
    assert times.state()["local"] == "2030-01-01T14:00:00"
    assert times.utc_iso_ago(3600) == "2030-01-01T11:00:00Z"


async def test_a_board_without_a_clock_says_so():
    times = NoClock(DEFAULTS)
    assert times.state() is None
    assert times.utc_iso_ago(1) is None
    with pytest.raises(Refused, match="no clock"):
        times.set("2030-01-01T12:00:00Z")
    with pytest.raises(Refused, match="no clock"):
        await sync(times)
