"""Salts, the password check and the throttle, on an injected clock."""

import hashlib

import pytest

from firmware.services.access.login import ADDRESSES_LIMIT, SALT_SEC, SALTS_LIMIT, Login, Throttle
from firmware.services.access.sessions import Sessions
from firmware.services.errors import Refused


class Rig:
    def __init__(self, password="secret-word"):
        self.now = 0.0
        self.sessions = Sessions(600, lambda: self.now)
        self.service = Login("admin", password, self.sessions, lambda: self.now)

    def attempt(self, address="10.0.0.1", user="admin", password="secret-word", salt=None):
        salt = salt or self.service.salt(address)
        digest = hashlib.sha1((user + password + salt).encode()).hexdigest()
        return self.service.login(address, user, digest)

    def refusal(self, **given):
        with pytest.raises(Refused) as caught:
            self.attempt(**given)
        return caught.value


def test_the_right_password_opens_a_session():
    rig = Rig()
    answer = rig.attempt()
    assert answer["ttlSec"] == 600
    assert rig.sessions.use(answer["token"])


def test_a_salt_lives_sixty_seconds_and_serves_once():
    rig = Rig()
    salt = rig.service.salt("10.0.0.1")
    rig.now += SALT_SEC - 1
    assert rig.attempt(salt=salt)
    assert rig.refusal(salt=salt).code == "BAD_CREDENTIALS"
    salt = rig.service.salt("10.0.0.1")
    rig.now += SALT_SEC
    assert rig.refusal(salt=salt).code == "BAD_CREDENTIALS"


def test_a_salt_serves_the_address_it_was_given_to():
    rig = Rig()
    salt = rig.service.salt("10.0.0.1")
    assert rig.refusal(address="10.0.0.2", salt=salt).code == "BAD_CREDENTIALS"


def test_several_salts_at_once_each_serve():
    rig = Rig()
    salts = [rig.service.salt("10.0.0.1") for _ in range(4)]
    for salt in reversed(salts):
        assert rig.attempt(salt=salt)


def test_a_device_without_a_password_lets_nobody_in():
    rig = Rig(password=None)
    assert rig.refusal(password="").code == "BAD_CREDENTIALS"
    assert rig.refusal(password="None").code == "BAD_CREDENTIALS"


def test_waiting_doubles_and_other_addresses_are_not_locked_out():
    rig = Rig()
    waits = []
    for _ in range(12):
        refusal = rig.refusal(password="wrong")
        if refusal.code == "TOO_MANY_ATTEMPTS":
            waits.append(refusal.retry_after)
            rig.now += refusal.retry_after
            assert rig.attempt(address="10.0.0.2")
    assert waits == [3, 5, 9, 17]  # two, four, eight, sixteen seconds, and the one begun
    assert rig.attempt()
    assert rig.refusal(password="wrong").code == "BAD_CREDENTIALS"  # a success has cleared the count


def test_even_the_right_password_must_wait():
    rig = Rig()
    for _ in range(5):
        rig.refusal(password="wrong")
    assert rig.refusal().code == "TOO_MANY_ATTEMPTS"


def test_the_wait_never_exceeds_a_quarter_of_an_hour():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
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
    ],
)
def test_an_ipv6_host_is_throttled_by_its_network(one, other, together):
    throttle = Throttle(lambda: 0.0)
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
    assert len(rig.service._salts) <= SALTS_LIMIT
    assert len(rig.service._throttle._entries) <= ADDRESSES_LIMIT


def test_one_address_cannot_push_out_the_salts_of_another():
    rig = Rig()
    salt = rig.service.salt("10.0.0.2")
    for _ in range(1000):
        rig.service.salt("10.0.0.1")
    assert rig.attempt(address="10.0.0.2", salt=salt)


def test_a_flood_of_addresses_does_not_free_one_that_waits():
    now = [0.0]
    throttle = Throttle(lambda: now[0])
    for _ in range(8):
        throttle.failed("10.0.0.1")
    for number in range(1000):
        throttle.failed(f"10.1.{number // 256}.{number % 256}")
    with pytest.raises(Refused):
        throttle.check("10.0.0.1")
