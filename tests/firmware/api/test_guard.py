"""Who may do what: tokens, the button, arrival on a trusted socket, and web pages that have none of them."""

import pytest

from firmware.api.guard import Guard
from firmware.http.messages.http1 import Headers
from firmware.services.access.button import ButtonAccess
from firmware.services.access.sessions import Sessions
from firmware.services.access.tickets import Admission, Tickets
from firmware.services.errors import Refused
from hal.simulated.button import SimulatedButton


class Request:
    def __init__(self, method="GET", level=0, **headers):
        self.method = method
        self.headers = Headers()
        self.g = type("G", (), {"level": level})
        self.g.welcome = lambda: setattr(self, "is_user", True)
        self.is_user = False
        for name, value in dict({"Host": "192.168.1.9"}, **headers).items():
            if value is not None:
                self.headers.fields[name.lower().replace("_", "-")] = value


class Rig:
    def __init__(self):
        self.now = 0.0
        self.sessions = Sessions(600, lambda: int(self.now * 1000))
        self.button = SimulatedButton({}, "")
        self.access = ButtonAccess(10, lambda: int(self.now * 1000))
        self.button.on_press = self.access.press
        self.guard = Guard(self.sessions, self.access, ["Gate.example"])

    def code(self, request, needed=1):
        try:
            return self.guard.admit(request, needed)
        except Refused as exc:
            return exc.code


JSON = {"Content_Type": "application/json"}


def test_guests_reach_what_is_open_and_nothing_else():
    rig = Rig()
    assert rig.code(Request(), 0) == 0
    assert rig.code(Request()) == "UNAUTHORIZED"


def test_a_token_gives_level_1_and_not_2():
    rig = Rig()
    request = Request("POST", Authorized="Bearer " + rig.sessions.open())
    assert rig.code(request, 0) == 1
    assert rig.code(request, 1) == 1
    assert rig.code(request, 2) == "FORBIDDEN"
    rig.now += 600
    with pytest.raises(Refused, match="this session has ended"):
        rig.guard.admit(request, 1)


def test_a_press_lets_everybody_in_for_ten_minutes_and_another_restarts_them():
    rig = Rig()
    assert rig.access.seconds_left() == 0
    rig.button.press()
    assert rig.access.seconds_left() in (600, 601)
    rig.now += 599
    assert rig.code(Request()) == 1
    rig.button.press()
    rig.now += 599
    assert rig.code(Request()) == 1
    assert rig.code(Request(), 2) == "FORBIDDEN"
    rig.now += 1
    assert rig.code(Request()) == "UNAUTHORIZED"


def test_arrival_on_the_vpn_listener_gives_level_2():
    rig = Rig()
    assert rig.code(Request(level=2), 2) == 2
    assert rig.code(Request("POST", level=2, **JSON), 2) == 2
    assert rig.code(Request("POST", level=2), 2) == "CROSS_SITE"


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        (JSON, 1),
        ({"Content_Type": "application/json; charset=utf-8"}, 1),
        ({"Content_Type": "Application/JSON"}, 1),
        ({}, "CROSS_SITE"),
        ({"Content_Type": "text/plain"}, "CROSS_SITE"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, "CROSS_SITE"),
        (dict(JSON, Origin="http://192.168.1.9"), 1),
        (dict(JSON, Origin="http://evil.example"), "CROSS_SITE"),
        (dict(JSON, Origin="null"), "CROSS_SITE"),
        (dict(JSON, Origin="http://192.168.1.9:81"), "CROSS_SITE"),
        (dict(JSON, Origin="http://192.168.1.9.evil.example"), "CROSS_SITE"),
        (dict(JSON, Host="192.168.1.9:8080", Origin="http://192.168.1.9:8080"), 1),
        (dict(JSON, Host="[fe80::1]:8080", Origin="http://[fe80::1]:8080"), 1),
        (dict(JSON, Host="[fe80::1%25eth0]:8080", Origin="http://[fe80::1%25eth0]:8080"), 1),
        (dict(JSON, Host="localhost:8080"), 1),
        (dict(JSON, Host="192.168.1.9:50990"), 1),
        (dict(JSON, Host="192.168.1.9:508080"), "CROSS_SITE"),
        (dict(JSON, Host=None), "CROSS_SITE"),
        (dict(JSON, Host="gate.example"), 1),
        (dict(JSON, Host="GATE.EXAMPLE:80"), 1),
        (dict(JSON, Host="evil.example", Origin="http://evil.example"), "CROSS_SITE"),
        (dict(JSON, Host="192.168.1.9.evil.example"), "CROSS_SITE"),
        (dict(JSON, Host="1.2.3.4.5"), "CROSS_SITE"),
        (dict(JSON, Host=""), "CROSS_SITE"),
    ],
)
def test_what_the_button_opens_is_closed_to_web_pages(headers, verdict):
    rig = Rig()
    rig.button.press()
    assert rig.code(Request("POST", **headers)) == verdict


def test_a_rebound_name_cannot_read_either():
    rig = Rig()
    rig.button.press()
    assert rig.code(Request(Host="evil.example")) == "CROSS_SITE"
    assert rig.code(Request(Host="192.168.1.9", Origin="http://evil.example")) == "CROSS_SITE"


def test_a_token_needs_none_of_that():
    rig = Rig()
    headers = {"Authorization": "Bearer " + rig.sessions.open(), "Host": "any.example", "Origin": "http://x.example"}
    assert rig.code(Request("POST", **headers)) == 1


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({}, 0),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 0),
        ({"Host": "any.example"}, 0),
        ({"Origin": "http://192.168.1.9"}, 0),
        ({"Origin": "https://gate.example", "Host": "192.168.1.9"}, 0),
        ({"Origin": "https://gate.example", "Host": "behind-a-proxy"}, 0),
        ({"Origin": "http://evil.example"}, "CROSS_SITE"),
        ({"Origin": "null"}, "CROSS_SITE"),
        ({"Origin": "192.168.1.9"}, "CROSS_SITE"),
        ({"Origin": "http://192.168.1.8"}, "CROSS_SITE"),
        ({"Origin": "http://localhost"}, "CROSS_SITE"),
        ({"Origin": "http://evil.example", "Host": "evil.example"}, "CROSS_SITE"),
        ({"Origin": "http://evil.example", "Authorization": "Bearer x"}, "CROSS_SITE"),
    ],
)
def test_a_foreign_page_cannot_log_in_and_so_have_its_visitor_barred(headers, verdict):
    assert Rig().code(Request("POST", **headers), 0) == verdict


def test_what_is_read_by_everybody_is_read_from_everywhere():
    assert Rig().code(Request("GET", Origin="http://evil.example"), 0) == 0


@pytest.mark.parametrize(
    "host", ["[x.com]", "127.0.0.1:evil.com", "[::1]evil.com", "[::1", "192.168.1.9:1:2", "[::1]:a"]
)
def test_what_only_looks_like_an_address_is_no_name_of_the_device(host):
    rig = Rig()
    rig.button.press()
    assert rig.code(Request(Host=host)) == "CROSS_SITE"


@pytest.mark.parametrize("foreign", ["Basic YWRtaW46", "Bearer of-a-proxy", "Digest x"])
def test_what_a_proxy_puts_into_authorization_does_not_hide_a_token(foreign):
    rig = Rig()
    token = rig.sessions.open()
    request = Request(Authorization=foreign, Authorized="Bearer " + token)
    assert rig.code(request) == 1
    assert request.g.token == token


def test_only_a_token_makes_a_client_known_as_a_user():
    rig = Rig()
    rig.button.press()
    for headers, is_user in [
        ({}, False),
        ({"Authorization": "Bearer never-given"}, False),
        ({"Authorization": "Bearer " + rig.sessions.open()}, True),
    ]:
        request = Request(**headers)
        assert rig.code(request) == 1
        assert request.is_user == is_user


def test_it_is_known_whether_the_button_alone_lets_somebody_in():
    rig = Rig()
    rig.button.press()
    for headers, level, by_button in [
        ({}, 0, True),
        ({"Authorization": "Bearer never-given"}, 0, True),
        ({"Authorization": "Bearer " + rig.sessions.open()}, 0, False),
        ({}, 2, False),
    ]:
        request = Request("POST", level, **JSON, **headers)
        assert rig.code(request) == (level or 1)
        assert request.g.by_button == by_button


def test_networks_of_readers_need_no_level_for_what_is_meant_for_them_and_for_nothing_else():
    rig = Rig()
    guard = Guard(rig.sessions, rig.access, [], ["192.168.1.0/24"])
    near, far = Request(), Request()
    near.client_addr, far.client_addr = ("192.168.1.77", 1), ("192.168.2.77", 1)
    assert guard.admit(near, 1, for_readers=True) == 0
    for request, for_readers in ((near, False), (far, True)):
        with pytest.raises(Refused) as caught:
            guard.admit(request, 1, for_readers)
        assert caught.value.code == "UNAUTHORIZED"


def test_a_ticket_lets_in_once_with_the_level_of_who_got_it_and_no_session():
    rig = Rig()
    tickets = Tickets()
    guard = Guard(rig.sessions, rig.access, [], tickets=tickets)
    ticket = tickets.issue(Admission(1, lambda: True))
    request = Request()
    request.query_string = "ticket=" + ticket
    assert guard.admit_by_ticket(request) == 1
    assert (request.g.token, request.g.by_button, request.g.admission.level) == (None, False, 1)
    for query in ("ticket=" + ticket, "ticket=none"):
        request.query_string = query
        with pytest.raises(Refused) as caught:
            guard.admit_by_ticket(request)
        assert caught.value.code == "UNAUTHORIZED"
    for query in ("", None, "since=1"):
        request.query_string = query
        assert guard.admit_by_ticket(request) is None
