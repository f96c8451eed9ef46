"""Salts, the password check and the throttle, on an injected clock."""

import asyncio
import hashlib

import pytest

from firmware.api.endpoints.access import login
from firmware.services.access import salts as salts_module
from firmware.services.access.login import LOG_SEC, Login
from firmware.services.access.salts import SALT_SEC, SALTS_A_SECOND, USED_LIMIT, Salts
from firmware.services.access.sessions import Sessions
from firmware.services.access.throttle import (
    ADDRESSES_LIMIT,
    ALL_FREE_TRIES,
    ALL_PAUSE,
    FORGET_SEC,
    FREE_TRIES,
    KNOWN_LIMIT,
    Throttle,
)
from firmware.services.errors import Refused
from tests.firmware.calls import call


class Rig:
    def __init__(self, password="secret-word"):
        self.now = 0.0
        self.sessions = Sessions(600, lambda: round(self.now * 1000))
        self.service = Login("admin", password, self.sessions, lambda: round(self.now * 1000))

    async def attempt(self, address="10.0.0.1", user="admin", password="secret-word", salt=None):
        salt = salt or self.service.salt(address)
        digest = hashlib.sha1((user + password + salt).encode()).hexdigest()
        services = {"login": self.service, "sessions": self.sessions}
        return await login(call(services, {"username": user, "password": digest}, address=address))

    async def refusal(self, **given):
        with pytest.raises(Refused) as caught:
            await self.attempt(**given)
        return caught.value


async def test_the_right_password_opens_a_session():
    rig = Rig()
    answer = await rig.attempt()
    assert answer["ttlSec"] == 600
    assert rig.sessions.use(answer["token"])


async def test_a_salt_lives_sixty_seconds_and_serves_once():
    rig = Rig()
    salt = rig.service.salt("10.0.0.1")
    rig.now += SALT_SEC - 1
    assert await rig.attempt(salt=salt)
    assert (await rig.refusal(salt=salt)).code == "BAD_CREDENTIALS"
    salt = rig.service.salt("10.0.0.1")
    rig.now += SALT_SEC
    assert (await rig.refusal(salt=salt)).code == "BAD_CREDENTIALS"


async def test_a_salt_serves_the_address_it_was_given_to():
    rig = Rig()
    salt = rig.service.salt("10.0.0.1")
    assert (await rig.refusal(address="10.0.0.2", salt=salt)).code == "BAD_CREDENTIALS"


async def test_several_salts_at_once_each_serve():
    rig = Rig()
    salts = [rig.service.salt("10.0.0.1") for _ in range(4)]
    for salt in reversed(salts):
        assert await rig.attempt(salt=salt)


async def test_a_device_without_a_password_lets_nobody_in():
    rig = Rig(password=None)
    assert (await rig.refusal(password="")).code == "BAD_CREDENTIALS"
    assert (await rig.refusal(password="None")).code == "BAD_CREDENTIALS"


async def test_waiting_doubles_and_other_addresses_are_not_locked_out():
    rig = Rig()
    waits = []
    for _ in range(12):
        refusal = await rig.refusal(password="wrong")
        if refusal.code == "TOO_MANY_ATTEMPTS":
            waits.append(refusal.retry_after)
            rig.now += refusal.retry_after
            assert await rig.attempt(address="10.0.0.2")
    assert waits == [3, 5, 9, 17]  # two, four, eight, sixteen seconds, and the one begun
    assert await rig.attempt()
    assert (await rig.refusal(password="wrong")).code == "BAD_CREDENTIALS"  # a success has cleared the count


async def test_even_the_right_password_must_wait():
    rig = Rig()
    for _ in range(5):
        await rig.refusal(password="wrong")
    assert (await rig.refusal()).code == "TOO_MANY_ATTEMPTS"


def test_the_wait_never_exceeds_a_quarter_of_an_hour():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    for _ in range(40):
        throttle.failed("a")
    with pytest.raises(Refused) as caught:
        throttle.check("a")
    assert caught.value.retry_after == 901
    now[0] += 900
    throttle.check("a")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff:1:2:3", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("2001:db8:0:1::", "2001:db8:0:1::1", True),
        ("2001:db8::", "2001:db8::ffff", True),
        ("2001:db8:0:1::", "2001:db8::", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_an_ipv6_host_is_throttled_by_its_network(one, other, together):
    throttle = Throttle(lambda: 0)
    for _ in range(5):
        throttle.failed(one)
    if together:
        with pytest.raises(Refused):
            throttle.check(other)
    else:
        throttle.check(other)


def test_tables_are_bounded():
    rig = Rig()
    for number in range(1000):
        rig.service.salt(f"10.1.{number // 256}.{number % 256}")
        rig.service._throttle.failed(f"10.1.{number // 256}.{number % 256}")
        rig.now += 1
    assert len(rig.service._salts._given) <= SALT_SEC
    assert len(rig.service._throttle._entries) <= ADDRESSES_LIMIT


async def test_one_address_cannot_push_out_the_salts_of_another():
    rig = Rig()
    salt = rig.service.salt("10.0.0.2")
    for _ in range(1000):
        rig.service.salt("10.0.0.1")
    assert await rig.attempt(address="10.0.0.2", salt=salt)


async def test_no_flood_of_salt_requests_pushes_out_a_salt():
    rig = Rig()
    salt = rig.service.salt("10.0.0.2")
    for number in range(80):
        rig.service.salt(f"10.0.1.{number % 8}")
    assert await rig.attempt(address="10.0.0.2", salt=salt)
    salt = rig.service.salt("10.0.0.2")
    for _ in range(5000):
        rig.service.salt("10.0.0.2")
    assert await rig.attempt(address="10.0.0.2", salt=salt)


async def test_a_wrong_login_costs_nobody_behind_the_same_address_a_salt():
    rig = Rig()
    salts = [rig.service.salt("10.0.0.1") for _ in range(3)]
    assert (await rig.refusal(password="wrong")).code == "BAD_CREDENTIALS"
    for salt in salts:
        assert await rig.attempt(salt=salt)


def test_salts_of_one_second_differ():
    rig = Rig()
    assert len({rig.service.salt("10.0.0.1") for _ in range(SALTS_A_SECOND)}) == SALTS_A_SECOND
    assert rig.service.salt("10.0.0.2") != rig.service.salt("10.0.0.3")


async def test_a_salt_that_was_used_is_not_given_again_and_serves_no_more_whatever_else_is_asked_for():
    salts = Salts(lambda: 100000)
    used = [salts.give("a") for _ in range(SALTS_A_SECOND)]
    for salt in used:
        assert await salts.use("a", lambda other, salt=salt: other == salt)
        assert not await salts.use("a", lambda other, salt=salt: other == salt)
    with pytest.raises(Refused) as caught:
        salts.give("a")
    assert (caught.value.code, caught.value.retry_after) == ("TOO_MANY_ATTEMPTS", 1)
    salt = salts.give("b")
    assert await salts.use("b", lambda other: other == salt)


@pytest.fixture
def few_salts(monkeypatch):
    """So few numbers for the salts of a second that a login has not to try thousands."""
    monkeypatch.setattr(salts_module, "SALTS_A_SECOND", 5)
    return 5


async def test_no_salt_serves_twice_however_many_have_served_and_the_memory_of_them_is_bounded(few_salts):
    now = [0.0]
    salts = Salts(lambda: round(now[0] * 1000))
    served = []
    for number in range(600):
        address = f"10.0.{number % 7}.{number % 11}"
        salt = salts.give(address)
        assert await salts.use(address, lambda other, salt=salt: other == salt)
        served.append((address, salt))
        now[0] += 0.1
        assert len(salts._used) <= USED_LIMIT
        for address, salt in served[-299::97]:
            assert not await salts.use(address, lambda other, salt=salt: other == salt)


async def test_one_address_that_logs_in_all_the_time_does_not_shorten_the_life_of_others_salts(few_salts):
    now = [0.0]
    salts = Salts(lambda: round(now[0] * 1000))
    waiting = salts.give("b")
    for _ in range(SALT_SEC - 1):
        for _ in range(few_salts - 1):
            salt = salts.give("a")
            assert await salts.use("a", lambda other, salt=salt: other == salt)
        now[0] += 1
    assert await salts.use("b", lambda other: other == waiting)


def test_a_flood_of_addresses_does_not_free_one_that_waits():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    for _ in range(8):
        throttle.failed("10.0.0.1")
    for number in range(1000):
        throttle.failed(f"10.1.{number // 256}.{number % 256}")
    with pytest.raises(Refused):
        throttle.check("10.0.0.1")


def test_no_number_of_addresses_makes_the_throttle_forget_one_that_is_counted():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    throttle.failed("10.0.0.1")
    for number in range(1000):
        throttle.failed(f"10.1.{number // 256}.{number % 256}")
    for _ in range(FREE_TRIES - 1):
        throttle.failed("10.0.0.1")
    with pytest.raises(Refused, match="too many wrong logins;"):
        throttle.check("10.0.0.1")


def test_what_is_counted_is_forgotten_in_time_and_makes_room():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    for number in range(ADDRESSES_LIMIT):
        throttle.failed(f"10.1.0.{number}")
    now[0] += FORGET_SEC + 1
    for _ in range(FREE_TRIES):
        throttle.failed("10.0.0.1")
    with pytest.raises(Refused):
        throttle.check("10.0.0.1")


def test_slow_guesses_are_counted_too():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    for _ in range(FREE_TRIES):
        now[0] += FORGET_SEC - 1
        throttle.failed("10.0.0.1")
    with pytest.raises(Refused, match="too many wrong logins;"):
        throttle.check("10.0.0.1")


def test_making_room_forgets_none_that_has_tried_of_late():
    now = [0.0]
    throttle = Throttle(lambda: round(now[0] * 1000))
    for number in range(ADDRESSES_LIMIT - 1):
        throttle.failed(f"10.1.0.{number}")
    now[0] += FORGET_SEC + 1
    for _ in range(FREE_TRIES - 1):
        throttle.failed("10.0.0.1")
    throttle.failed("10.0.0.2")  # for which room is made
    throttle.failed("10.0.0.1")
    with pytest.raises(Refused, match="too many wrong logins;"):
        throttle.check("10.0.0.1")


def test_the_last_addresses_that_have_logged_in_are_known():
    throttle = Throttle(lambda: 0)
    for number in range(KNOWN_LIMIT + 1):
        throttle.succeeded(f"10.0.0.{number}")
        throttle.succeeded(f"10.0.0.{number}")
    for number in range(1000):
        throttle.failed(f"10.1.{number >> 8}.{number & 255}")
    for number in range(1, KNOWN_LIMIT + 1):
        throttle.check(f"10.0.0.{number}")
    with pytest.raises(Refused, match="by all addresses together"):
        throttle.check("10.0.0.0")


@pytest.mark.parametrize(("addresses", "guesses"), [(1, 1000), (130, 2000), (1000, 10000), (5000, 5000)])
async def test_all_addresses_together_may_guess_only_so_often(addresses, guesses):
    rig = Rig()
    admitted = 0
    for number in range(guesses):
        address = f"10.{number % addresses >> 16}.{number % addresses >> 8 & 255}.{number % addresses & 255}"
        admitted += (await rig.refusal(address=address, password="wrong")).code == "BAD_CREDENTIALS"
        rig.now += 0.01
    assert FREE_TRIES <= admitted <= 2 * (ALL_FREE_TRIES + guesses * 0.01 / ALL_PAUSE)


async def test_who_comes_for_the_first_time_is_not_kept_out_by_guesses_from_many_addresses():
    rig = Rig()
    for number in range(10 * 200):
        await rig.refusal(address=f"10.1.0.{number % 200}", password="wrong")
        rig.now += 0.5
    assert await rig.attempt(address="10.0.0.2")


async def test_an_address_that_has_logged_in_before_is_not_kept_out_by_the_guesses_of_others():
    rig = Rig()
    assert await rig.attempt(address="10.0.0.1")
    for number in range(1000):
        await rig.refusal(address=f"10.1.{number >> 8}.{number & 255}", password="wrong")
    refused = await rig.refusal(address="10.0.0.2")
    assert (refused.code, refused.retry_after) == ("TOO_MANY_ATTEMPTS", ALL_PAUSE)
    assert await rig.attempt(address="10.0.0.1")
    rig.now += ALL_PAUSE
    assert await rig.attempt(address="10.0.0.2")


async def test_wrong_logins_are_counted_and_told_at_most_once_a_minute(capsys):
    rig = Rig()
    assert rig.service.failures() == {"failedLogins": 0, "lastFailedLogin": None}
    for number in range(ALL_FREE_TRIES):
        await rig.refusal(address=f"10.1.0.{number}", password="hunter2-wrong")
        rig.now += 1
    assert rig.service.failures() == {
        "failedLogins": ALL_FREE_TRIES,
        "lastFailedLogin": {"address": f"10.1.0.{ALL_FREE_TRIES - 1}", "secAgo": 1},
    }
    rig.now += LOG_SEC
    await rig.refusal(address="10.2.0.1", password="wrong")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("login:")]
    assert len(lines) == 2
    assert "10.1.0.0" in lines[0]
    assert f"10.2.0.1; {ALL_FREE_TRIES} new" in lines[1]
    assert "hunter2" not in "".join(lines)


# The limits themselves, in numbers: whoever changes one changes what users meet


class Guesses:
    """A throttle and its clock."""

    def __init__(self):
        self.now = 1000
        self.throttle = Throttle(lambda: self.now)

    def fail(self, address, times=1):
        for _ in range(times):
            self.throttle.failed(address)

    def wait(self, address):
        """Seconds that an address is told to wait, 0 where it may try."""
        try:
            self.throttle.check(address)
        except Refused as exc:
            assert exc.code == "TOO_MANY_ATTEMPTS"
            assert f"try again in {exc.retry_after} s" in str(exc)
            return exc.retry_after
        return 0


def test_four_wrong_logins_are_free_and_the_fifth_costs_two_seconds():
    guesses = Guesses()
    guesses.fail("10.0.0.1", 4)
    assert guesses.wait("10.0.0.1") == 0
    guesses.fail("10.0.0.1")
    assert guesses.wait("10.0.0.1") == 3
    guesses.now += 1001
    assert guesses.wait("10.0.0.1") == 1
    guesses.now += 998
    assert guesses.wait("10.0.0.1") == 1
    guesses.now += 1
    assert guesses.wait("10.0.0.1") == 0


def test_a_wrong_login_is_forgotten_after_half_an_hour_without_another_and_not_before():
    guesses = Guesses()
    guesses.fail("10.0.0.1", 4)
    guesses.now += 1800 * 1000
    guesses.fail("10.0.0.1")
    assert guesses.wait("10.0.0.1") == 3
    guesses.now += 1800 * 1000 + 1
    guesses.fail("10.0.0.1", 4)
    assert guesses.wait("10.0.0.1") == 0


def test_a_right_login_forgets_the_wrong_ones_of_its_address_alone():
    guesses = Guesses()
    guesses.fail("10.0.0.1", 4)
    guesses.fail("10.0.0.2", 4)
    guesses.throttle.succeeded("10.0.0.1")
    guesses.fail("10.0.0.1", 4)
    guesses.fail("10.0.0.2")
    assert (guesses.wait("10.0.0.1"), guesses.wait("10.0.0.2")) == (0, 3)


def test_all_who_were_wrong_have_thirty_tries_together_and_one_more_every_four_seconds():
    guesses = Guesses()
    for number in range(31):  # the first of each counts among the new ones, who have thirty of their own
        guesses.fail(f"10.1.0.{number}")
    for number in range(29):
        guesses.fail(f"10.1.0.{number}")
    assert guesses.wait("10.1.0.30") == 0
    guesses.fail("10.1.0.29")
    assert guesses.wait("10.1.0.30") == 4
    guesses.now += 3999
    assert guesses.wait("10.1.0.30") == 4
    guesses.now += 1
    assert guesses.wait("10.1.0.30") == 0
    guesses.now += 2000  # half of the next
    guesses.fail("10.1.0.28")
    assert guesses.wait("10.1.0.30") == 4
    guesses.now += 2000
    assert guesses.wait("10.1.0.30") == 0
    guesses.now += 1000 * 1000
    guesses.fail("10.1.0.27")
    guesses.now += 2000 * 1000
    guesses.fail("10.1.0.26", 1)
    for number in range(29):
        guesses.throttle.failed(f"10.1.0.{number}")
    assert guesses.wait("10.1.0.30") == 4  # thirty, however long nobody tried


def test_those_who_come_for_the_first_time_have_tries_of_their_own():
    guesses = Guesses()
    for number in range(30):
        guesses.fail(f"10.1.0.{number}")
    assert guesses.wait("10.9.0.1") == 4
    assert guesses.wait("10.1.0.1") == 0  # who was wrong before has not used any


def test_where_the_table_is_full_a_new_address_counts_as_one_that_was_wrong():
    guesses = Guesses()
    for number in range(ADDRESSES_LIMIT):
        guesses.fail(f"10.1.{number >> 8}.{number & 255}")
        guesses.now += 4000
    assert guesses.wait("10.9.0.1") == 0
    for number in range(30):
        guesses.fail(f"10.1.0.{number}")
    assert guesses.wait("10.9.0.1") == 4


def test_sixteen_addresses_that_have_logged_in_are_known_the_last_ones():
    guesses = Guesses()
    for number in range(17):
        guesses.throttle.succeeded(f"10.0.0.{number}")
    for number in range(40):
        guesses.fail(f"10.1.0.{number}")
    assert [number for number in range(17) if guesses.wait(f"10.0.0.{number}")] == [0]


async def test_salts_are_for_sixty_seconds_128_of_each_second():
    now = [5000]
    salts = Salts(lambda: now[0])
    first = [salts.give("a") for _ in range(129)]
    assert len(set(first)) == 128
    assert first[128] == first[0]
    assert {len(salt) for salt in first} == {40}
    now[0] = 64999
    assert await salts.use("a", lambda other: other == first[5])
    now[0] = 65000
    assert not await salts.use("a", lambda other: other == first[6])


async def test_a_login_after_a_flood_of_salts_gives_way_to_others():
    now = [5000]
    salts = Salts(lambda: now[0])
    for _ in range(3):
        for _ in range(17):
            salts.give("a")
        now[0] += 1000
    for _ in range(16):
        salts.give("b")
    turns = []

    async def others():
        while True:
            turns.append(1)
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    assert not await salts.use("a", lambda other: False)
    task.cancel()
    assert len(turns) == 3  # one after each second in which more than 16 were given


async def test_a_login_tries_no_more_salts_than_an_address_can_have_been_given(few_salts):
    salts = Salts(lambda: 5000)
    for _ in range(1000):
        salts.give("a")
    tried = []
    await salts.use("a", lambda other: tried.append(other))
    assert len(tried) == few_salts


async def test_where_too_many_were_used_the_oldest_end_early_and_new_ones_serve(few_salts):
    now = [10000]
    salts = Salts(lambda: now[0])
    early, unused = salts.give("early"), salts.give("other")
    now[0] = 11000
    kept = salts.give("kept")
    for number in range(USED_LIMIT + 1):
        now[0] = 10000 if number == 0 else 11000
        address = "early" if number == 0 else f"10.0.{number >> 8}.{number & 255}"
        salt = early if number == 0 else salts.give(address)
        assert await salts.use(address, lambda other, salt=salt: other == salt)
    assert not await salts.use("other", lambda other: other == unused)
    assert await salts.use("kept", lambda other: other == kept)


async def test_128_logins_of_a_minute_end_no_salt_early(few_salts):
    now = [10000]
    salts = Salts(lambda: now[0])
    early = salts.give("early")
    now[0] = 11000
    for number in range(128):
        salt = salts.give(f"10.0.0.{number}")
        assert await salts.use(f"10.0.0.{number}", lambda other, salt=salt: other == salt)
    assert await salts.use("early", lambda other: other == early)


async def test_wrong_logins_are_told_again_after_a_minute_with_how_many_are_new(capsys):
    rig = Rig()
    for seconds in (0, 1, 58.999, 0.001, 0):
        rig.now += seconds
        await rig.refusal(address="10.1.0.1", password="hunter2-wrong")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("login: wrong")]
    assert [line.split("; ")[1] for line in lines] == ["1 new", "3 new"]


async def test_the_last_wrong_login_is_told_with_its_age():
    rig = Rig()
    await rig.refusal(address="10.1.0.1", password="wrong")
    rig.now += 61.5
    assert rig.service.failures()["lastFailedLogin"] == {"address": "10.1.0.1", "secAgo": 61}
    assert rig.service.has_password()
    assert not Rig(password=None).service.has_password()
