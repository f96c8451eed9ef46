"""The server's limits and what it leaves behind, on real sockets with small limits."""

import asyncio
import json
import socket
import struct

import pytest

from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import JsonResponse
from firmware.http.messages.http1 import RequestReader
from tests.firmware.http.rig import HELLO, Rig, answer, get


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /hello HTTP",
        b"GET /hello HTTP/1.1\r\nHost:",
        b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab",
    ],
)
async def test_a_half_sent_request_gets_408(sent):
    async with Rig() as rig:
        reader, writer = await rig.connect()
        writer.write(sent)
        status, body, headers = await answer(reader)
        assert (status, body["error"], headers["connection"]) == (408, "TIMEOUT", "close")
        writer.close()
        await rig.until(lambda: rig.server.connection_count() == 0)


async def test_a_client_that_sends_nothing_is_closed_without_a_word():
    async with Rig() as rig:
        reader, writer = await rig.connect()
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_an_idle_connection_is_closed_without_a_word():
    async with Rig() as rig:
        reader, writer = await rig.connect()
        writer.write(HELLO)
        assert (await answer(reader))[0] == 200
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()


async def test_each_request_of_a_connection_is_taken_by_its_own_head():
    async with Rig(idle_sec=30) as rig:
        reader, writer = await rig.connect()
        bad = b"GET /hello HTTP/1.1\r\n\r\n"
        for sent, status in ((HELLO, 200), (HELLO, 200), (get("/none"), 404), (HELLO, 200), (bad, 400)):
            writer.write(sent)
            assert (await answer(reader))[0] == status
        writer.close()


async def test_a_body_is_not_kept_with_the_head_that_is_like_the_last_one():
    async with Rig(idle_sec=30) as rig:
        reader, writer = await rig.connect()
        for body in (b"abc", b"abcde", b"abc", b"x"):
            writer.write(get("/hello", method="POST", fields=f"Content-Length: {len(body)}\r\n") + body)
            assert (await answer(reader))[1] == {"hello": len(body)}
        writer.close()


async def test_a_refused_client_may_send_a_megabyte_more_and_still_reads_why():
    async with Rig(clock=lambda: 0, head_sec=0.4) as rig:
        reader, writer = await rig.sent(get("/hello", method="POST", fields="Content-Length: 99999999\r\n"))
        await rig.until(lambda: len(reader._buffer) > 0)
        writer.write(bytes((1 << 20) - 100000))
        await writer.drain()
        await asyncio.sleep(0.1)
        assert rig.server.connection_count() == 1
        assert (await answer(reader))[0] == 413
        writer.write(bytes(200000))
        await rig.until(lambda: rig.server.connection_count() == 0)


async def test_who_lingers_is_cut_at_once_when_its_task_is_cancelled(monkeypatch):
    pauses = []

    async def sleep(seconds, real=asyncio.sleep):
        pauses.append(seconds)
        await real(seconds)

    async with Rig(clock=lambda: 0, head_sec=0.4) as rig:
        reader, _ = await rig.sent(get("/hello", method="POST", fields="Content-Length: 99999999\r\n"))
        assert (await answer(reader))[0] == 413
        monkeypatch.setattr(asyncio, "sleep", sleep)
        next(iter(rig.server._connections))._task.cancel()
        await rig.until(lambda: rig.server.connection_count() == 0)
        monkeypatch.undo()
    assert max(pauses) < 0.1  # the pauses of the watch


@pytest.mark.parametrize(
    ("fields", "body", "kept"),
    [("Content-Length: 4096\r\n", b"x" * 4096, True), ("Content-Length: 4097\r\n", b"", False)]
    + [("Content-Length: 5\r\nExpect: 100-continue\r\n", b"", False), ("Transfer-Encoding: chunked\r\n", b"", False)],
)
async def test_what_is_refused_anyway_is_refused_without_a_long_body(fields, body, kept):
    async with Rig(head_sec=60, body_sec=60, idle_sec=60) as rig:
        reader, writer = await rig.connect()
        writer.write(get("/nothing", method="POST", fields=fields) + body)
        status, _, said = await answer(reader)
        assert (status, said["connection"]) == (404, "keep-alive" if kept else "close")
        if kept:
            writer.write(HELLO)
            assert (await answer(reader))[0] == 200


@pytest.mark.parametrize(
    ("version", "fields", "kept"),
    [("1.1", "", True), ("1.1", "Connection: close\r\n", False)]
    + [("1.0", "", False), ("1.0", "Connection: keep-alive\r\n", True)],
)
async def test_who_asks_for_it_has_the_connection_kept_and_who_does_not_has_it_closed(version, fields, kept):
    async with Rig(head_sec=60, body_sec=60, idle_sec=60) as rig:
        reader, writer = await rig.connect()
        writer.write(get("/hello", version=version, fields=fields) * 2)
        for _ in range(1 + kept):
            status, _, said = await answer(reader)
            assert (status, said["connection"]) == (200, "keep-alive" if kept else "close")
        if not kept:
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await rig.until(lambda: rig.server.connection_count() == 0)


async def test_drops_of_a_request_do_not_prolong_its_time():
    async with Rig(head_sec=0.4) as rig:
        reader, writer = await rig.connect()

        async def drip():
            for byte in HELLO[:-1] * 20:
                writer.write(bytes([byte]))
                await asyncio.sleep(0.03)

        dripping = asyncio.create_task(drip())
        assert (await answer(reader))[0] == 408
        dripping.cancel()
        writer.close()


async def test_the_connection_idle_longest_makes_room():
    async with Rig(idle_sec=30) as rig:
        clients = []
        for _ in range(3):
            reader, writer = await rig.connect()
            writer.write(HELLO)
            await answer(reader)
            clients.append((reader, writer))
            await asyncio.sleep(0.01)
        clients[0][1].write(HELLO)  # the first is used again, so the second is now idle longest
        await answer(clients[0][0])
        reader, writer = await rig.connect()
        writer.write(HELLO)
        assert (await answer(reader))[0] == 200
        assert await asyncio.wait_for(clients[1][0].read(), 5) == b""
        clients[2][1].write(HELLO)
        assert (await answer(clients[2][0]))[0] == 200
        for _, old in [*clients, (reader, writer)]:
            old.close()


async def test_a_connection_in_the_middle_of_a_request_never_makes_room():
    async with Rig() as rig:
        busy = [await rig.connect() for _ in range(3)]
        for _, writer in busy:
            writer.write(HELLO.replace(b"hello", b"slow"))
        await rig.until(lambda: rig.server.connection_count() == 3)
        await asyncio.sleep(0.05)
        reader, writer = await rig.connect()
        status, body, headers = await answer(reader)
        assert (status, body["error"]) == (503, "BUSY")
        assert "retry-after" in headers
        writer.close()
        rig.release.set()
        for reader, writer in busy:
            assert (await answer(reader))[1] == {"slow": True}
            writer.close()


async def test_a_client_that_never_reads_is_cut_and_holds_nobody_up():
    async with Rig(body_sec=0.3) as rig:
        _, deaf = await rig.connect()
        deaf.transport.pause_reading()
        for _ in range(60):
            deaf.write(HELLO.replace(b"hello", b"big"))
        reader, writer = await rig.connect()
        writer.write(HELLO)
        assert (await answer(reader))[0] == 200
        writer.close()
        await rig.until(lambda: rig.server.connection_count() == 0)
        deaf.transport.abort()


async def test_a_client_that_asks_for_close_and_never_reads_is_cut_too():
    async with Rig(body_sec=0.3) as rig:
        _, deaf = await rig.connect()
        deaf.transport.pause_reading()
        for _ in range(40):
            deaf.write(HELLO.replace(b"hello", b"big"))
        deaf.write(b"GET /big HTTP/1.0\r\n\r\n")
        await rig.until(lambda: rig.server.connection_count() == 0)
        deaf.transport.abort()


async def test_each_answer_is_one_write(monkeypatch):
    writes = []
    original = asyncio.StreamWriter.write

    def count(self, data):
        if data[:5] == b"HTTP/":
            writes.append(data)
        original(self, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", count)
    async with Rig(head_sec=5, idle_sec=5) as rig:
        reader, writer = await rig.connect()
        for _ in range(5):
            writer.write(HELLO)
            await answer(reader)
        writer.close()
    assert len(writes) == 5
    assert all(data.endswith(b'{"hello": 0}') for data in writes)


async def test_an_unexpected_error_is_counted_and_tells_nothing(capsys):
    async with Rig() as rig:
        reader, writer = await rig.connect()
        writer.write(HELLO.replace(b"hello", b"broken"))
        status, body, _ = await answer(reader)
        assert (status, body["error"]) == (500, "INTERNAL")
        assert "secret" not in json.dumps(body)
        assert rig.server.errors == 1
        writer.close()
    assert "a secret detail" in capsys.readouterr().err


async def test_stop_finishes_the_answer_in_progress():
    async with Rig() as rig:
        reader, writer = await rig.connect()
        writer.write(HELLO.replace(b"hello", b"slow"))
        await rig.until(lambda: rig.server.connection_count() == 1)
        await asyncio.sleep(0.05)
        stopping = asyncio.create_task(rig.server.stop())
        await asyncio.sleep(0.05)
        rig.release.set()
        status, _, headers = await answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        await stopping
        writer.close()


async def test_a_full_pipeline_does_not_keep_others_waiting():
    async with Rig(idle_sec=30) as rig:
        greedy_reader, greedy = await rig.connect()
        greedy.write(HELLO * 2000)
        reader, writer = await rig.connect()
        writer.write(HELLO)
        assert (await answer(reader))[0] == 200
        read = len(greedy_reader._buffer)
        assert read < 2000 * 150, "the greedy client was served to its end first"
        for _ in range(2000):
            assert (await answer(greedy_reader))[0] == 200
        writer.close()
        greedy.close()


async def test_bodies_arrive_whole_however_they_are_cut():
    async with Rig(idle_sec=30, body_sec=30) as rig:
        reader, writer = await rig.connect()
        for size in (0, 1, 4095, 4096, 4097, 65536):
            writer.write(f"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode() + b"z" * size)
            assert (await answer(reader))[1] == {"hello": size}
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in [b"y" * 1000] * (size // 1000))
            writer.write(
                b"POST /hello HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
            )
            assert (await answer(reader))[1] == {"hello": size // 1000 * 1000}
        writer.close()


async def test_answers_are_dated_once_the_time_is_known():
    times = {"passed": 0.0, "utc": None}
    async with Rig(idle_sec=30, utc=lambda: times["utc"], clock=lambda: round(times["passed"] * 1000)) as rig:
        reader, writer = await rig.connect()
        for passed, utc, date in [
            (0.0, None, None),
            (1.0, 784111777000, "sun, 06 nov 1994 08:49:37 gmt"),
            (1.5, 784111778000, "sun, 06 nov 1994 08:49:37 gmt"),
            (2.0, 784111778500, "sun, 06 nov 1994 08:49:38 gmt"),
            (3.0, 1709164800000, "thu, 29 feb 2024 00:00:00 gmt"),
            (4.0, None, None),
        ]:
            times.update(passed=passed, utc=utc)
            writer.write(HELLO)
            assert (await answer(reader))[2].get("date") == date


async def test_a_route_may_have_a_body_limit_of_its_own():
    async with Rig(idle_sec=30, body_sec=30, body_bytes=1000) as rig:
        for path, limit in (("/long", 5000), ("/short", 10), ("/usual", 0)):
            handler = rig.make_hello()
            handler.body_limit = lambda request, limit=limit: limit
            rig.server.add("POST", path, handler)
        for path, fits in (("/long", 5000), ("/short", 10), ("/usual", 1000), ("/hello", 1000)):
            for size in (fits, fits + 1):
                reader, writer = await rig.connect()
                writer.write(get(path, method="POST", fields=f"Content-Length: {size}\r\n") + b"x" * size)
                status, body, _ = await answer(reader)
                assert (status, body.get("hello")) == ((200, size) if size == fits else (413, None))


async def test_a_body_in_tiny_chunks_is_read_in_many_turns():
    reader = asyncio.StreamReader()
    reader.feed_data(b"1\r\nx\r\n" * 10000 + b"0\r\n\r\n")
    reading = asyncio.create_task(RequestReader(reader, HttpLimits()).body(None, 10000))
    turns = 0
    while not reading.done():
        turns += 1
        await asyncio.sleep(0)
    assert reading.result() == b"x" * 10000
    assert turns > 500


async def test_a_connection_that_sends_nothing_has_the_time_of_a_head():
    async with Rig(head_sec=0.3, body_sec=60, idle_sec=60) as rig:
        reader, _ = await rig.connect()
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_connection_that_sends_nothing_has_exactly_the_time_of_a_head():
    passed = [0]
    async with Rig(clock=lambda: passed[0], head_sec=10, idle_sec=0.2) as rig:
        reader, _ = await rig.sent(b"")
        passed[0] = 9999
        await asyncio.sleep(0.2)  # the watch looks every 50 ms
        assert rig.server.connection_count() == 1
        passed[0] = 10000
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_each_phase_of_a_connection_has_exactly_its_time():
    passed = [0]
    async with Rig(clock=lambda: passed[0], head_sec=10, body_sec=20, idle_sec=0.2, connections=9) as rig:
        phases = [(HELLO[:-4], 10000), (get("/hello", method="POST", fields="Content-Length: 9\r\n"), 20000)]
        for data, milliseconds in phases:
            reader, _ = await rig.sent(data)
            told = asyncio.create_task(answer(reader))
            await asyncio.sleep(0.1)
            passed[0] += milliseconds - 1
            await asyncio.sleep(0.2)
            assert not told.done()
            passed[0] += 1
            assert (await told)[0] == 408


@pytest.mark.parametrize(
    ("times", "pause"),
    [((60, 60, 60), 1), ((60, 60, 0.4), 0.1), ((60, 0.4, 60), 0.1), ((0.4, 60, 60), 0.1), ((4, 4.1, 4.2), 1)],
)
async def test_the_watch_looks_once_a_second_or_four_times_in_the_shortest_phase(times, pause, monkeypatch):
    pauses = []

    async def sleep(seconds, real=asyncio.sleep):
        pauses.append(seconds)
        await real(0.01)

    head_sec, body_sec, idle_sec = times
    async with Rig(head_sec=head_sec, body_sec=body_sec, idle_sec=idle_sec) as rig:
        monkeypatch.setattr(asyncio, "sleep", sleep)
        await rig.until(lambda: pauses)
        monkeypatch.undo()
    assert pause in pauses


async def test_stop_waits_for_a_second_for_answers_in_progress(monkeypatch):
    slept = []

    async def sleep(seconds, real=asyncio.sleep):
        slept.append(seconds)
        await real(0)

    async with Rig(idle_sec=60, head_sec=60, body_sec=60) as rig:
        reader, _ = await rig.sent(get("/slow"))
        await rig.until(lambda: rig.begun == 1)
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            await rig.server.stop()
        assert 0.99 < sum(slept) < 1.05
        slept.clear()
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", sleep)
            await rig.server.stop()
        assert slept == []  # nothing is in progress any more
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert rig.given_up == 1


async def test_deadlines_are_kept_to_the_second_with_the_limits_that_it_has_by_itself():
    passed = [0.0]
    usual = HttpLimits()
    times = {"head_sec": usual.head_sec, "body_sec": usual.body_sec, "idle_sec": usual.idle_sec}
    async with Rig(clock=lambda: round(passed[0] * 1000), connections=32, **times) as rig:
        half = await rig.sent(HELLO[:-4])
        await asyncio.sleep(0.05)
        passed[0] = usual.head_sec
        assert (await asyncio.wait_for(answer(half[0]), 1.5))[0] == 408
        passed[0] += 1  # that it lingers is over too
        await rig.until(lambda: rig.server.connection_count() == 0, 1.5)


async def test_a_slow_handler_and_clients_that_vanish_cost_the_watch_nothing():
    async with Rig() as rig:
        slow = await rig.sent(get("/slow"))
        for data in (b"", HELLO[:-4], HELLO, get("/big"), get("/hello", method="POST", fields="Content-Length: 9\r\n")):
            _, writer = await rig.connect()
            writer.write(data)
            await writer.drain()
            writer.transport.abort()
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)  # the watch looks every 50 ms
        assert rig.server.is_alive()
        reader, writer = await rig.connect()
        writer.write(HELLO[:-4])
        assert (await answer(reader))[0] == 408
        rig.release.set()
        assert (await answer(slow[0]))[1] == {"slow": True}
        assert rig.server.errors == 0


async def test_the_watch_goes_on_after_all_that_it_has_to_end():
    """Twice: what it does once, it does again, beside a handler that takes long."""
    passed = [0.0]

    async with Rig(clock=lambda: round(passed[0] * 1000), connections=16) as rig:

        async def in_time(condition):
            for _ in range(200):
                if condition():
                    return
                passed[0] += 0.05
                await asyncio.sleep(0.02)
            raise AssertionError("the watch has not ended it")

        async def handled(method):
            begun = rig.begun
            connection = await rig.sent(get("/slow", method=method))
            await rig.until(lambda: rig.begun > begun)
            return connection

        slow = await handled("POST")
        for turn in (1, 2):
            (await handled("GET"))[1].transport.abort()
            await in_time(lambda turn=turn: rig.given_up == turn)
            half, _ = await rig.sent(HELLO[:-4])
            told = asyncio.create_task(answer(half))
            await in_time(told.done)
            assert told.result()[0] == 408
            _, idle = await rig.sent(HELLO)
            await in_time(lambda: rig.server.connection_count() == 1)
            idle.close()
        rig.release.set()
        assert (await answer(slow[0]))[1] == {"slow": True}
        assert rig.server.is_alive()
        assert rig.server.errors == 0


async def test_a_client_that_resets_its_connection_is_no_error():
    """While its request is read, while it is handled, and while the answer is on its way."""

    async def huge(request):
        return JsonResponse({"huge": "x" * (8 << 20)})

    async with Rig(head_sec=5, body_sec=5, idle_sec=5) as rig:
        rig.server.add("GET", "/huge", huge)
        for data in (b"", HELLO[:-4], get("/hello", method="POST", fields="Content-Length: 9\r\n"), get("/huge")):
            reader, writer = await rig.sent(data)
            if data == get("/huge"):
                await asyncio.wait_for(reader.readexactly(20), 5)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await rig.until(lambda: rig.server.connection_count() == 0)
        assert rig.server.errors == 0
        assert rig.server.is_alive()
        assert await rig.status() == 200
