"""Who gets one of the server's places when there are fewer than are wanted, on real sockets from several addresses."""

import asyncio
import socket

import pytest

from tests.firmware.http.rig import GUEST, HELLO, Rig, answer, get

HALF = HELLO[:-4]
LONG = {"head_sec": 60, "body_sec": 60, "idle_sec": 60, "connections": 32}
USER = get("/user")
SLOW = get("/slow")
ATTACKER, OTHER = "127.0.0.2", "127.0.0.3"


async def gather_statuses(rig, count, source="127.0.0.1"):
    return await asyncio.gather(*[rig.status(source=source) for _ in range(count)])


async def test_many_at_once_are_served_or_told_to_try_again_and_never_cut_without_a_word():
    async with Rig(**LONG) as rig:
        statuses = await gather_statuses(rig, 100)
        assert set(statuses) <= {200, 503}
        assert statuses.count(200) >= 24


async def test_who_is_told_to_try_again_is_told_when_and_it_is_logged(capsys):
    async with Rig(**LONG) as rig:
        for _ in range(24):
            await rig.sent(SLOW)
        reader, writer = await rig.connect()
        writer.write(HELLO)
        status, body, headers = await answer(reader)
        assert (status, body["error"], headers["retry-after"]) == (503, "BUSY", "1")
        rig.release.set()
    assert "HTTP: no place for a connection from 127.0.0.1" in capsys.readouterr().err


@pytest.mark.parametrize("half", [b"", HALF, get("/hello", method="POST", fields="Content-Length: 9\r\n") + b"{"])
async def test_half_requests_of_one_address_keep_nobody_else_out(half):
    async with Rig(**LONG) as rig:
        for _ in range(40):
            _, writer = await rig.connect(ATTACKER)
            writer.write(half)
        await rig.until(lambda: rig.server.connection_count() >= 24)
        for _ in range(12):  # each stays open
            assert await rig.status(source=OTHER) == 200


async def test_long_polls_of_one_address_leave_places_for_others():
    async with Rig(**LONG) as rig:
        for _ in range(24):
            await rig.sent(SLOW, ATTACKER)
        assert await rig.status(source=ATTACKER) == 503
        assert await rig.status(source=OTHER) == 200
        rig.release.set()


async def test_where_all_addresses_have_one_place_each_the_one_that_stalls_longest_gives_way():
    now = 0.0
    async with Rig(clock=lambda: round(now * 1000), **LONG) as rig:
        halves = []
        for number in range(28):
            halves.append(await rig.sent(HALF, f"127.0.1.{number}"))
            await asyncio.sleep(0.005)
            now += 0.001
        assert await rig.status(source=OTHER) == 503  # all of them may yet be honest
        now += 2
        assert await rig.status(source=OTHER) == 200
        assert (await answer(halves[0][0]))[0] == 503
        halves[1][1].write(HELLO[-4:])
        assert (await answer(halves[1][0]))[0] == 200


async def test_places_are_kept_for_users_whoever_else_crowds_in():
    async with Rig(**LONG) as rig:
        assert await rig.status(USER, OTHER) == 200
        for number in range(40):
            _, writer = await rig.connect(f"127.0.1.{number}")
            writer.write(HALF)
        await rig.until(lambda: rig.server.connection_count() >= 28)
        assert await rig.status(source="127.0.2.1") == 503
        for _ in range(4):
            assert await rig.status(source=OTHER) == 200


async def test_places_are_kept_for_who_comes_over_a_listener_that_gives_a_level():
    async with Rig(**LONG) as rig:
        for number in range(40):
            _, writer = await rig.connect(f"127.0.1.{number}")
            writer.write(HALF)
        await rig.until(lambda: rig.server.connection_count() >= 28)
        sock = socket.create_server(("127.0.0.1", 0))
        await rig.server.listen_on(sock, lambda address: GUEST + 2)
        assert await rig.status(source="127.0.2.1") == 503
        rig.port = sock.getsockname()[1]
        assert await rig.status(source="127.0.2.1") == 200


@pytest.mark.parametrize("leave", [lambda writer: writer.transport.abort(), lambda writer: writer.close()])
async def test_clients_that_have_gone_hold_no_place(leave):
    async with Rig(**LONG) as rig:
        for number in range(32):
            _, writer = await rig.sent(SLOW, (ATTACKER, OTHER)[number % 2])
            leave(writer)
        await asyncio.sleep(0.01)
        for _ in range(24):
            assert await rig.status() == 200
        rig.release.set()


async def test_clients_that_have_closed_with_more_in_the_pipeline_hold_no_place():
    async with Rig(**LONG) as rig:
        for _ in range(24):
            _, writer = await rig.sent(SLOW * 3)
            writer.close()
        await asyncio.sleep(0.01)
        for _ in range(24):
            assert await rig.status() == 200
        await rig.until(lambda: rig.given_up == 24)
        assert rig.finished == 0


async def test_what_a_client_that_has_gone_has_asked_for_is_given_up_and_what_it_has_ordered_is_done():
    async with Rig(**LONG) as rig:
        for method in ("GET", "POST"):
            _, writer = await rig.sent(get("/slow", method=method))
            writer.transport.abort()
        await rig.until(lambda: rig.given_up == 1)
        rig.release.set()
        await rig.until(lambda: rig.server.connection_count() == 0)
        assert (rig.given_up, rig.finished) == (1, 1)
        assert rig.server.errors == 0


async def test_a_client_that_closes_only_its_own_half_gets_its_answer():
    async with Rig(**LONG) as rig:
        reader, writer = await rig.sent(SLOW)
        writer.write_eof()
        await asyncio.sleep(0.05)
        rig.release.set()
        assert (await answer(reader))[1] == {"slow": True}
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_who_is_turned_away_or_gone_is_bounded_too():
    async with Rig(connections=4, streams=1, head_sec=60, idle_sec=60) as rig:
        for _ in range(4):
            _, writer = await rig.sent(get("/slow", method="POST"))
            writer.transport.abort()
        await asyncio.sleep(0.01)
        for _ in range(3):
            await rig.sent(get("/slow", method="POST"))
        for _ in range(20):
            _, writer = await rig.connect()
            writer.write(HALF)
        await asyncio.sleep(0.1)
        assert rig.server.connection_count() <= 9
        rig.release.set()


async def test_of_those_turned_away_who_lingers_longest_is_cut_for_the_next():
    passed = [0]
    async with Rig(clock=lambda: passed[0], **{**LONG, "connections": 4, "streams": 1}) as rig:
        for _ in range(3):
            await rig.sent(SLOW)
        turned_away = []
        for _ in range(12):
            passed[0] += 10  # milliseconds: none has lingered for its second
            turned_away.append(await rig.connect())
            assert (await answer(turned_away[-1][0]))[0] == 503
        await rig.until(
            lambda: len(asyncio.all_tasks() - rig.tasks) == 1 + 2 * 4 + 1
        )  # the watch; connections, streams
        await asyncio.sleep(0.05)
        assert rig.server.connection_count() == 9
        assert rig.server.state()["refused"] == 12
        for _ in range(2):  # the first one finds out, the second one is told
            for _, writer in turned_away:
                writer.write(b"x")
            await asyncio.sleep(0.05)
        cut = [writer.transport.is_closing() for _, writer in turned_away]
        assert cut == [True] * 6 + [False] * 6
        rig.release.set()
