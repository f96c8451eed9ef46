"""Live events of a running device, read as tools read them."""

import asyncio
import json
import re
import socket

import pytest

from firmware.api.errors import error_answer
from firmware.http.limits import HttpLimits
from firmware.http.messages.answers import Stream
from firmware.http.server import HttpServer
from firmware.services.access.tickets import TICKET_SEC, Admission, Tickets
from firmware.services.events.changes import changes, search_changes
from firmware.services.events.feed import EventFeed
from firmware.services.system.state import State
from firmware.services.trace.bus_trace import BusTrace
from firmware.services.trace.entry import Entry
from tests.firmware.events.streams import Events
from tests.firmware.running import BOARD, Running

ASKED = {"uid": 1, "func": 3, "addr": 0, "count": 1}


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    settings = dict(BOARD["settings"], serial={"responseTimeoutMs": 500}, protect={"buttonMinutes": 1})
    with Running(tmp_path_factory.mktemp("events"), dict(BOARD, settings=settings)) as running:
        running.login()
        yield running


def ask(running, **more):
    tid = running.post("modbus/req/", dict(ASKED, **more))["tid"]
    return running.get(f"modbus/resp/?tid={tid}&wait=5000")


def test_the_first_event_is_the_whole_state_and_then_only_what_changes_is_told(device):
    with Events(device, "bus&time") as events:
        assert (events.status, events.fields["content-type"]) == (200, "text/event-stream")
        first = events.until("state")
        assert (set(first), first["bus"]["baudRate"]) == ({"bus", "time"}, 9600)
        ask(device)
        news = events.until("state", lambda data: "bus" in data)["bus"]
        assert news["sent"] > first["bus"]["sent"]
        assert "baudRate" not in news


def test_an_exchange_is_told_soon_after_it_has_ended(device):
    with Events(device, "trace") as events:
        ask(device)
        entries = events.until("trace")
        assert (entries[0]["uid"], entries[0]["question"], entries[0]["cause"]) == (1, "010300000001", None)
        ask(device, uid=99)
        assert events.until("trace")[0]["cause"] == "TIMEOUT"


def test_a_client_that_comes_back_goes_on_where_it_was(device):
    with Events(device, "trace") as events:
        ask(device)
        seen = events.until("trace")[-1]["n"]
        last_id = events.last_id
    for _ in range(3):
        ask(device)
    headers = {"Authorization": device.client.headers["Authorization"], "Last-Event-ID": last_id}
    with Events(device, "trace", headers) as events:
        numbers: list = []
        while len(numbers) < 3:
            numbers += [entry["n"] for entry in events.until("trace")]
        assert numbers[:3] == [seen + 1, seen + 2, seen + 3]
    headers["Last-Event-ID"] = "another-1"
    with Events(device, "trace", headers) as events:
        assert events.until("trace")[0]["n"] == 1


def test_a_search_tells_its_progress_and_each_find_once(device):
    with Events(device, "search") as events:
        assert events.until("search")["status"] == "IDLE"
        search = {"baudRate": 9600, "charFormat": 5, "uidFrom": 1, "uidTo": 2, "fastSearch": True}
        device.post("modbus/find/start/", search)
        found = []
        status = "IDLE"
        while status != "DONE":
            told = events.until("search")
            status = told["status"]
            found += [device["uid"] for device in told["foundDevices"]]
        assert sorted(found) == [1, 2]


def test_what_is_no_key_is_refused_and_so_is_who_has_no_login(device):
    with Events(device, "nothing") as events:
        assert events.status == 400
    with Events(device, "bus", headers={}) as events:
        assert events.status == 401
    assert "trace" in device.client.get("api/events/?nothing").json()["message"]


def test_a_ticket_admits_one_connection(device):
    ticket = device.post("events/ticket/")["ticket"]
    with Events(device, f"bus&ticket={ticket}", headers={}) as events:
        assert set(events.until("state")) == {"bus"}
    with Events(device, f"bus&ticket={ticket}", headers={}) as events:
        assert events.status == 401
    assert device.client.get(f"api/state/get/?ticket={ticket}").status_code == 400


def test_the_end_of_the_session_is_told_and_ends_the_stream(tmp_path):
    with Running(tmp_path) as running:
        running.login()
        with Events(running, "bus") as events:
            ticket = running.post("events/ticket/")["ticket"]
            events.until("state")
            running.post("cmd/logout/")
            assert events.until("session") == {"reason": "ENDED"}
            assert events.next() is None
        with Events(running, f"bus&ticket={ticket}", headers={}) as events:
            assert events.status == 401
        running.client.headers.pop("Authorization")
        running.control("button press")
        with Events(running, "access", headers={}) as events:
            assert events.until("state")["access"]["level"] == 1


async def test_who_reads_slowly_is_told_how_much_he_has_missed_and_nothing_is_kept_for_him():
    rig = Rig()
    server = HttpServer(HttpLimits(streams=4), error_answer)

    async def follow(request):
        return Stream(rig.follow("trace"), "text/event-stream")

    server.add("GET", "/events", follow)
    port = await server.listen("127.0.0.1", 0, 0)
    await rig.feed.start()
    (slow, slow_writer), (quick, quick_writer) = [await connected(port) for _ in range(2)]
    told = 0
    for _ in range(300):
        rig.add(60)
        rig.feed.until = rig.trace.ring.last
        for follower in rig.feed._followers:
            follower.wake.set()
        while told < rig.trace.ring.last:
            told = last_number(await quick.readuntil(b"\n\n")) or told
    buffered = max(connection._writer.transport.get_write_buffer_size() for connection in server._connections)
    assert buffered < 128 * 1024
    lost, read = 0, 0
    while not lost:
        text = (await slow.readuntil(b"\n\n")).decode()
        if text.startswith("event: lost"):
            lost = json.loads(text.split("data: ")[1])["lost"]
        else:
            read = last_number(text.encode()) or read
    first = json.loads((await slow.readuntil(b"\n\n")).decode().split("data: ")[1])[0]["n"]
    assert first == read + lost + 1
    for writer in (slow_writer, quick_writer):
        writer.transport.abort()
    await rig.feed.stop()
    await server.stop()
    await asyncio.sleep(0)


async def connected(port):
    """A client of the stream that reads only when it is asked to, and whose system takes little for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=65536)
    writer.write(b"GET /events HTTP/1.0\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


def last_number(event):
    found = re.search(rb"id: \w+-(\d+)\n", event)
    return int(found[1]) if found else 0


def test_of_an_object_only_what_has_changed_is_told():
    before = {"a": 1, "b": {"c": 2, "d": 3}, "gone": 4}
    assert changes(before, {"a": 1, "b": {"c": 2, "d": 5}, "new": []}) == {"b": {"d": 5}, "new": [], "gone": None}
    assert changes(before, None) is None
    assert changes(None, before) == before
    assert changes({"a": [1]}, {"a": [1, 2]}) == {"a": [1, 2]}


def test_of_another_search_all_finds_are_new():
    one, two = {"uid": 1}, {"uid": 2}
    first = {"status": "RUNNING", "foundDevices": [two]}
    both = {"status": "DONE", "foundDevices": [one, two]}
    assert search_changes(first, both) == {"status": "DONE", "foundDevices": [one]}
    assert search_changes(both, {"status": "RUNNING", "foundDevices": [two]})["foundDevices"] == [two]


def test_a_ticket_is_good_once_for_half_a_minute_and_as_long_as_the_session():
    now, alive = [0], [True]
    tickets = Tickets(lambda: now[0])
    admission = Admission(1, lambda: alive[0])
    ticket = tickets.issue(admission)
    assert tickets.redeem(ticket) is admission
    assert tickets.redeem(ticket) is None
    late, kept = tickets.issue(admission), None
    now[0] = TICKET_SEC * 1000
    assert tickets.redeem(late) is None
    kept = tickets.issue(admission)
    alive[0] = False
    assert tickets.redeem(kept) is None
    alive[0] = True
    crowd = [tickets.issue(admission) for _ in range(40)]
    assert (tickets.redeem(crowd[0]), tickets.redeem(crowd[-1])) == (None, admission)


class Rig:
    """A feed whose state and trace the test makes."""

    def __init__(self):
        self.state = {"bus": {"sent": 1}, "card": None}
        self.looks = 0
        self.trace = BusTrace(8192, lambda: None, lambda: 0)
        self.feed = EventFeed(State({"bus": self.look, "card": lambda: self.state["card"]}), self.trace, {})
        self.lasts = True

    def look(self):
        self.looks += 1
        return dict(self.state["bus"])

    def follow(self, *keys):
        return self.feed.follow(list(keys), Admission(1, lambda: self.lasts), None)

    def add(self, count=1):
        for _ in range(count):
            self.trace.add(Entry(0, "http 10.0.0.5", 0, 1, b"\x03\0\0\0\1"))


async def test_the_state_is_looked_at_once_for_all_and_not_while_nobody_follows():
    rig = Rig()
    await rig.feed.start()
    await asyncio.sleep(0.05)
    assert rig.looks == 0
    followers = [rig.follow("bus") for _ in range(10)]
    for follower in followers:
        assert '"sent": 1' in await follower.__anext__()
    assert rig.looks <= 2
    for follower in followers:
        await follower.aclose()
    assert rig.feed.count() == 0
    await rig.feed.stop()


async def test_the_text_of_the_trace_is_made_once_for_all_who_follow_it():
    rig = Rig()
    made = []
    make = rig.trace.json_of
    rig.trace.json_of = lambda records: made.append(len(records)) or make(records)
    await rig.feed.start()
    followers = [rig.follow("trace") for _ in range(10)]
    waiting = [asyncio.ensure_future(follower.__anext__()) for follower in followers]
    await asyncio.sleep(0.01)
    rig.add(20)
    texts = {await text for text in waiting}
    assert (len(texts), made) == (1, [20])
    await rig.feed.stop()


async def test_a_follower_holds_nothing_of_what_it_has_not_read():
    rig = Rig()
    await rig.feed.start()
    slow = rig.follow("trace")
    rig.add(1000)
    kept = rig.trace.ring.last - rig.trace.ring.first + 1
    assert kept < 200
    rig.feed.until = rig.trace.ring.last
    text = await slow.__anext__()
    assert text.startswith('event: lost\ndata: {"lost": ' + str(1000 - kept) + "}\n\nid: ")
    await rig.feed.stop()
