"""Answers whose bodies come in parts: whatever Microdot's Response takes, on real sockets."""

import asyncio
import gzip
import io

import pytest
from microdot import Response
from microdot.sse import sse_response

from tests.firmware.http.rig import HELLO, Rig, answer, chunks, get, head

PARTS = [b"one", b"", "zwö", b"x" * 70000]
WHOLE = b"onezw\xc3\xb6" + b"x" * 70000
LONG = {"head_sec": 60, "body_sec": 60, "idle_sec": 60, "connections": 32}


class Source:
    """An asynchronous iterator that gives what it is told to."""

    def __init__(self, parts=()):
        self.queue = asyncio.Queue()
        self.closed = 0
        for part in parts:
            self.queue.put_nowait(part)

    def __aiter__(self):
        return self

    async def __anext__(self):
        part = await self.queue.get()
        if part is None:
            raise StopAsyncIteration
        if isinstance(part, Exception):
            raise part
        return part

    async def aclose(self):
        self.closed += 1


class AsyncFile:
    """A file whose methods are coroutines, as some streams of Microdot have them."""

    def __init__(self, content):
        self._file = io.BytesIO(content)
        self.closed = False

    async def read(self, count):
        return self._file.read(count)

    async def close(self):
        self.closed = True


async def generator():
    for part in PARTS:
        yield part
        await asyncio.sleep(0)


def serve(rig, path, make):
    """Answer a path with what `make` gives, a new one each time; what it gave is collected."""
    made = []

    async def handler(request):
        made.append(make())
        return made[-1] if isinstance(made[-1], Response) else Response(made[-1])

    rig.server.add("GET", path, handler)
    return made


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(WHOLE)
    return str(path)


KINDS = {
    "iterator": lambda: iter(PARTS),
    "generator": lambda: (part for part in PARTS),
    "async iterator": lambda: Source([*PARTS, None]),
    "async generator": generator,
    "stream without an end to seek": lambda: AsyncFile(WHOLE),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_body_of_unknown_length_goes_out_in_chunks(kind):
    async with Rig(**LONG) as rig:
        serve(rig, "/parts", KINDS[kind])
        reader, writer = await rig.connect()
        writer.write(get("/parts"))
        status, fields = await head(reader)
        assert (status, fields["transfer-encoding"]) == (200, "chunked")
        assert "content-length" not in fields
        assert b"".join(await chunks(reader)) == WHOLE


@pytest.mark.parametrize("kind", KINDS)
async def test_http_1_0_gets_it_until_the_connection_closes(kind):
    async with Rig(**LONG) as rig:
        serve(rig, "/parts", KINDS[kind])
        reader, writer = await rig.connect()
        writer.write(get("/parts", "1.0", fields="Connection: keep-alive\r\n"))
        status, fields = await head(reader)
        assert (status, fields["connection"]) == (200, "close")
        assert "transfer-encoding" not in fields and "content-length" not in fields
        assert await asyncio.wait_for(reader.read(), 5) == WHOLE


async def test_a_connection_is_kept_after_a_body_in_parts_and_after_a_file(file):
    async with Rig(**LONG) as rig:
        serve(rig, "/parts", lambda: iter(PARTS))
        serve(rig, "/file", lambda: Response.send_file(file))
        reader, writer = await rig.connect()
        writer.write((get("/parts") + get("/file") + HELLO) * 3)
        for _ in range(3):
            assert (await head(reader))[1]["connection"] == "keep-alive"
            assert b"".join(await chunks(reader)) == WHOLE
            assert (await head(reader))[1]["connection"] == "keep-alive"
            assert await reader.readexactly(len(WHOLE)) == WHOLE
            assert (await answer(reader))[1] == {"hello": 0}


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_file_tells_its_length_and_its_type(file, version):
    async with Rig(**LONG) as rig:
        made = serve(rig, "/file", lambda: Response.send_file(file, max_age=60))
        reader, writer = await rig.connect()
        writer.write(get("/file", version))
        status, fields = await head(reader)
        assert (status, int(fields["content-length"])) == (200, len(WHOLE))
        assert (fields["content-type"], fields["cache-control"]) == ("text/html", "max-age=60")
        assert await reader.readexactly(len(WHOLE)) == WHOLE
        await rig.until(lambda: made[0].body.closed)


async def test_a_compressed_file_goes_out_as_it_lies_there(tmp_path):
    (tmp_path / "page.html.gz").write_bytes(gzip.compress(WHOLE))
    async with Rig(**LONG) as rig:
        name = str(tmp_path / "page.html")
        serve(rig, "/file", lambda: Response.send_file(name, compressed=True, file_extension=".gz"))
        reader, writer = await rig.connect()
        writer.write(get("/file"))
        _, fields = await head(reader)
        assert (fields["content-encoding"], fields["content-type"]) == ("gzip", "text/html")
        assert gzip.decompress(await reader.readexactly(int(fields["content-length"]))) == WHOLE


@pytest.mark.parametrize(
    "make", [*KINDS.values(), lambda: io.BytesIO(WHOLE), lambda: Response({"a": 1}), lambda: Response("text")]
)
async def test_head_has_the_fields_of_get_and_no_body(make):
    async with Rig(**LONG) as rig:
        made = serve(rig, "/parts", make)
        reader, writer = await rig.connect()
        writer.write(get("/parts", method="HEAD") + HELLO)
        status, asked_by_head = await head(reader)
        assert (await answer(reader))[1] == {"hello": 0}
        writer.write(get("/parts"))
        by_get = await head(reader)
        del asked_by_head["connection"], by_get[1]["connection"]
        assert (status, asked_by_head) == by_get
        if isinstance(made[0], Source):
            assert made[0].closed == 1


async def test_bodies_that_are_there_as_a_whole_have_microdots_types():
    async with Rig(**LONG) as rig:
        serve(rig, "/text", lambda: Response("täxt", headers={"X-Name": "1"}))
        serve(rig, "/bytes", lambda: Response(bytearray(b"123"), headers={"Content-Type": "image/png"}))
        serve(rig, "/cookies", lambda: cookies())
        serve(rig, "/nothing", lambda: Response(None))
        serve(rig, "/moved", lambda: Response.redirect("/text"))
        reader, writer = await rig.connect()
        writer.write(get("/text") + get("/bytes") + get("/cookies") + get("/nothing") + get("/moved") + HELLO)
        status, fields = await head(reader)
        assert (status, fields["content-type"], fields["x-name"]) == (200, "text/plain; charset=utf-8", "1")
        assert (await reader.readexactly(int(fields["content-length"]))).decode() == "täxt"
        _, fields = await head(reader)
        assert (fields["content-type"], fields["content-length"]) == ("image/png", "3")
        assert await reader.readexactly(3) == b"123"
        text = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n" in text
        status, fields = await head(reader)
        assert status == 204 and "content-length" not in fields and "transfer-encoding" not in fields
        status, fields = await head(reader)
        assert (status, fields["location"], fields["content-length"]) == (302, "/text", "0")
        assert (await answer(reader))[0] == 200


def cookies():
    response = Response("")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response


async def test_a_field_with_a_line_break_is_an_unexpected_error_and_never_goes_out():
    async with Rig(**LONG) as rig:
        serve(rig, "/split", lambda: Response("x", headers={"X-Name": "1\r\nSet-Cookie: a=1"}))
        reader, writer = await rig.connect()
        writer.write(get("/split"))
        assert (await answer(reader))[1]["error"] == "INTERNAL"
        assert rig.server.errors == 1


def failing():
    yield b"half"
    raise ValueError("a secret detail")


async def test_an_error_in_the_middle_cuts_the_answer_so_that_nobody_takes_it_for_whole(capsys):
    async with Rig(**LONG) as rig:
        serve(rig, "/parts", failing)
        reader, writer = await rig.connect()
        writer.write(get("/parts"))
        await head(reader)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await chunks(reader)
        assert rig.server.errors == 1
    assert "a secret detail" in capsys.readouterr().err


class Changing(io.FileIO):
    """A file that becomes longer or shorter once its length has been looked at."""

    change = 0

    def seek(self, offset, whence=0):
        found = super().seek(offset, whence)
        if whence == 2:
            with open(self.name, "r+b") as file:
                file.truncate(1000 + self.change)
        return found


async def test_what_a_file_grows_by_while_it_is_sent_does_not_go_out(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000)
    async with Rig(**LONG) as rig:
        monkeypatch.setattr(Changing, "change", 10)
        serve(rig, "/file", lambda: Changing(path))
        reader, writer = await rig.connect()
        writer.write(get("/file") + HELLO)
        assert int((await head(reader))[1]["content-length"]) == 1000
        assert await reader.readexactly(1000) == b"x" * 1000
        assert (await answer(reader))[0] == 200


async def test_a_file_that_shrinks_while_it_is_sent_breaks_off(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 1000)
    monkeypatch.setattr(Changing, "change", -10)
    async with Rig(**LONG) as rig:
        serve(rig, "/file", lambda: Changing(path))
        reader, writer = await rig.connect()
        writer.write(get("/file"))
        assert int((await head(reader))[1]["content-length"]) == 1000
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1000), 5)
        assert rig.server.errors == 1


def endless():
    while True:
        yield b"x" * 10000


async def test_a_reader_that_stops_reading_is_cut():
    async with Rig(body_sec=0.3) as rig:
        serve(rig, "/endless", endless)
        made = serve(rig, "/events", lambda: Source([b"x" * 100000] * 100))
        for path in ("/endless", "/events"):
            _, deaf = await rig.connect()
            deaf.transport.pause_reading()
            deaf.write(get(path))
        await rig.until(lambda: rig.server.connection_count() == 2)
        await rig.until(lambda: rig.server.connection_count() == 0)
        assert made[0].closed == 1


async def test_an_endless_body_keeps_nobody_waiting():
    async with Rig(**LONG) as rig:
        serve(rig, "/endless", endless)
        for _ in range(4):
            reader, writer = await rig.connect()
            writer.write(get("/endless"))
            rig_task = asyncio.create_task(swallow(reader))
            rig.writers.append(writer)
            rig_task.add_done_callback(lambda task: task.cancelled() or task.exception())
        for _ in range(20):
            assert await rig.status() == 200


async def swallow(reader):
    while await reader.read(100000):
        pass


async def test_events_reach_a_client_one_by_one_and_the_stream_ends_with_the_server():
    rig = Rig(head_sec=0.2, body_sec=0.2, idle_sec=0.2)
    async with rig:
        made = serve(rig, "/events", lambda: Response(Source(), headers={"Content-Type": "text/event-stream"}))
        reader, writer = await rig.connect()
        writer.write(get("/events"))
        _, fields = await head(reader)
        assert (fields["content-type"], fields["connection"]) == ("text/event-stream", "close")
        for number in range(3):
            made[0].body.queue.put_nowait(f"data: {number}\n\n")
            assert await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), 5) == b"9\r\ndata: %d\n\n\r\n" % number
            await asyncio.sleep(0.3)  # longer than any deadline of a request
        await rig.server.stop()
        await rig.until(lambda: made[0].body.closed == 1)


async def test_microdots_own_server_sent_events_work():
    async def count(request, sse):
        for number in range(3):
            await sse.send({"number": number}, event="count")

    async with Rig(**LONG) as rig:

        async def handler(request):
            return Response(*sse_response(request, count))

        rig.server.add("GET", "/events", handler)
        reader, writer = await rig.connect()
        writer.write(get("/events"))
        await head(reader)
        assert b"".join(await chunks(reader)).count(b"event: count\ndata: ") == 3


async def test_streams_have_places_of_their_own_and_each_address_a_share_of_them():
    async with Rig(streams=4, **dict(LONG, connections=8)) as rig:
        serve(rig, "/events", lambda: Source([b"hello"]))
        for source in ("127.0.0.2", "127.0.0.3"):
            for _ in range(2):
                await rig.sent(get("/events"), source)
        await asyncio.sleep(0.05)
        assert await rig.status(get("/events"), "127.0.0.2") == 503
        for _ in range(6):  # connections are not used up by streams
            assert await rig.status() == 200
        reader, writer = await rig.connect("127.0.0.4")
        writer.write(get("/events"))
        assert (await head(reader))[0] == 200  # somebody of those with two has given way
        assert rig.server.errors == 0


@pytest.mark.parametrize(("streams", "each"), [(1, 1), (2, 2), (3, 2), (8, 4)])
async def test_an_address_may_have_two_streams_and_half_of_many(streams, each):
    async with Rig(**dict(LONG, streams=streams)) as rig:
        serve(rig, "/events", lambda: Source([b"hello"]))
        for _ in range(each):
            reader, writer = await rig.connect()
            writer.write(get("/events"))
            assert (await head(reader))[0] == 200
            assert await reader.readuntil(b"hello")
        assert await rig.status(get("/events")) == 503


async def test_parts_give_others_their_turn_and_wait_for_nothing(monkeypatch):
    pauses = set()

    async def sleep(seconds, real=asyncio.sleep):
        pauses.add(seconds)
        await real(seconds)

    async with Rig(idle_sec=0.4, head_sec=60, body_sec=60) as rig:
        serve(rig, "/parts", lambda: iter(PARTS))
        reader, writer = await rig.connect()
        monkeypatch.setattr(asyncio, "sleep", sleep)
        writer.write(get("/parts"))
        await head(reader)
        assert b"".join(await chunks(reader)) == WHOLE
        monkeypatch.undo()
    assert pauses <= {0, 0.1} and 0 in pauses  # that of the watch is 0.1


async def test_a_stream_whose_client_has_gone_is_free_at_once_and_ends():
    async with Rig(streams=2, **LONG) as rig:
        made = serve(rig, "/events", Source)
        for _ in range(6):
            reader, writer = await rig.connect()
            writer.write(get("/events"))
            assert (await head(reader))[0] == 200
            writer.close()
            await asyncio.sleep(0.01)
        await rig.until(lambda: sum(source.closed for source in made) == 6)
