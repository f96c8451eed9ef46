"""The GSM modem through the API: a device in a process of its own, whose simulated modem speaks AT on a pty."""

import time

import pytest

from firmware.services.errors import Refused
from firmware.services.network.gsm import TEST_TEXT, Gsm
from firmware.services.network.sms_limits import DEAR, SmsBudget
from firmware.services.settings.table import default
from firmware.services.system.absent import NoGsm
from hal.contracts import Modem, ModemFailed, NoModem
from hal.fields import BadField
from tests.firmware.running import BOARD, Running

PHONE = "+380501234567"


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    board = dict(BOARD, settings={"gsm": {"enabled": True, "apn": "internet", "smsPhone": PHONE}})
    with Running(tmp_path_factory.mktemp("device"), board) as device:
        device.login()
        wait_for(device, lambda gsm: gsm is not None and gsm["registered"] and gsm["ip"] is not None)
        yield device


def wait_for(device, fits):
    deadline = time.monotonic() + 30
    while not fits(gsm := device.get("state/get/?gsm")["gsm"]):
        assert time.monotonic() < deadline, gsm
        time.sleep(0.05)
    return gsm


def send(device, **body):
    return device.post("cmd/gsm/sms-test/", body)


def test_the_state_tells_what_the_modem_says(device):
    gsm = wait_for(device, lambda gsm: gsm["operator"] is not None)
    assert gsm["operator"] == "Simulated"
    assert 0 <= gsm["signalLevel"] <= 100
    assert len(gsm["imei"]) == 15
    assert (gsm["simReady"], gsm["ip"]) == (True, "10.64.0.2")


def test_a_test_message_goes_to_the_number_of_the_settings(device):
    assert send(device) == {"status": "DONE", "errorCode": None, "message": None}
    assert device.control("modem outbox") == f"ok {PHONE} (1 part) {TEST_TEXT}"


def test_a_long_text_in_another_script_comes_whole(device):
    text = ("Напруга на вході висока. " * 6).strip()
    assert send(device, phone="+48601234567", text=text)["status"] == "DONE"
    assert device.control("modem outbox") == f"ok +48601234567 (3 parts) {text}"


def test_what_the_network_refuses_is_told_with_its_reason(device):
    device.control("modem sms fail 21")
    answer = send(device)
    assert (answer["status"], answer["errorCode"]) == ("ERROR", "MODEM_FAILED")
    assert "21" in answer["message"]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"phone": "0501234567"}, "phone"),
        ({"phone": "+38050123456789012"}, "phone"),
        ({"text": ""}, "text"),
        ({"text": "x" * 1531}, "text"),
        ({"text": "ї" * 671}, "text"),
        ({"message": "x"}, "message"),
    ],
)
def test_what_cannot_be_sent_names_the_field(device, body, named):
    answer = device.client.post("api/cmd/gsm/sms-test/", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"] == "BAD_FIELD" and named in answer.json()["message"]


def test_a_modem_that_is_unplugged_is_null_and_comes_back(device):
    device.control("modem unplug")
    wait_for(device, lambda gsm: gsm is None)
    answer = device.client.post("api/cmd/gsm/sms-test/", json={})
    assert (answer.status_code, answer.json()["error"]) == (503, "NO_MODEM")
    device.control("modem plug")
    wait_for(device, lambda gsm: gsm is not None and gsm["registered"])
    assert send(device)["status"] == "DONE"


def test_a_modem_that_is_switched_off_says_which_setting(tmp_path):
    with Running(tmp_path, dict(BOARD, settings={"gsm": {"enabled": False}})) as device:
        device.login()
        assert device.get("state/get/?gsm") == {"gsm": None}
        answer = device.client.post("api/cmd/gsm/sms-test/", json={"phone": PHONE})
        assert (answer.status_code, answer.json()["error"]) == (503, "NO_MODEM")
        assert "gsm.enabled" in answer.json()["message"]


class Scripted(Modem):
    def __init__(self, failure=None):
        self.failure = failure
        self.sent = []

    def configure(self, *what):
        self.configured = what

    async def status(self):
        return {"registered": True}

    async def send_sms(self, phone, text):
        if self.failure:
            raise self.failure
        self.sent.append((phone, text))
        return 1 + len(text) // 161


class Day:
    """The time, and a folder for the count."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.utc = 20000 * 86400000

    def gsm(self, modem, **settings):
        settings = dict(default("gsm"), enabled=True, **settings)
        return Gsm(modem, settings, SmsBudget(self.folder, settings["smsPerDay"], lambda: self.utc))


@pytest.fixture
def day(tmp_path):
    return Day(tmp_path)


async def test_the_modem_gets_the_settings_and_the_message(day):
    modem = Scripted()
    service = day.gsm(modem, apn="a.b", user="u", password="p", pin="1234")
    assert modem.configured == ("a.b", "u", "p", "1234")
    await service.sms_test(PHONE, None)
    await service.sms_test(PHONE, "hello")
    assert modem.sent == [(PHONE, TEST_TEXT), (PHONE, "hello")]


async def test_without_a_number_nothing_is_sent(day):
    modem = Scripted()
    with pytest.raises(Refused, match=r"gsm\.smsPhone") as caught:
        await day.gsm(modem).sms_test(None, None)
    assert (caught.value.code, modem.sent) == ("NO_SMS_NUMBER", [])


async def test_failures_of_the_modem_are_told_apart(day):
    answer = await day.gsm(Scripted(ModemFailed("refused", "+CMS ERROR: 38"))).sms_test(PHONE, None)
    assert answer == ("MODEM_FAILED", "refused")
    with pytest.raises(NoModem):
        await day.gsm(Scripted(NoModem("gone"))).sms_test(PHONE, None)
    with pytest.raises(BadField, match="text: too long"):
        await day.gsm(Scripted(ValueError("too long"))).sms_test(PHONE, None)


async def test_a_board_without_a_modem_says_so():
    service = NoGsm()
    assert await service.state() is None
    with pytest.raises(Refused, match="this board has none"):
        await service.sms_test(PHONE, None)


async def sent(service, count, text="x"):
    """How many of so many messages are sent before one is refused for the day's limit."""
    for number in range(count):
        try:
            await service.sms_test(PHONE, text)
        except Refused as exc:
            assert exc.code == "SMS_LIMIT"
            assert "gsm.smsPerDay" in str(exc)
            return number
    return count


async def test_so_many_messages_a_day_are_sent_over_restarts_and_again_the_next_day(day):
    assert await sent(day.gsm(Scripted(), smsPerDay=3), 2) == 2
    assert await sent(day.gsm(Scripted(), smsPerDay=3), 9) == 1
    day.utc += 86399000
    service = day.gsm(Scripted(), smsPerDay=3)
    with pytest.raises(Refused) as caught:
        await service.sms_test(PHONE, "x")
    assert caught.value.retry_after == 1
    day.utc += 1000
    assert await sent(service, 9) == 3


async def test_each_part_of_a_long_message_counts_and_so_does_one_that_may_have_gone(day):
    assert await sent(day.gsm(Scripted(), smsPerDay=7), 9, "x" * 400) == 3
    day.utc += 86400000
    failing = day.gsm(Scripted(ModemFailed("silent", "TIMEOUT")), smsPerDay=2)
    assert await sent(failing, 9) == 2


async def test_without_a_clock_the_limit_holds_until_there_is_one(day):
    day.utc = None
    assert await sent(day.gsm(Scripted(), smsPerDay=2), 9) == 2
    assert await sent(day.gsm(Scripted(), smsPerDay=2), 9) == 0
    assert await sent(day.gsm(Scripted(), smsPerDay=0), 9) == 0


@pytest.mark.parametrize("content", [b"", b"x", b"\xff", b"1 2 3", b"9" * 70000])
async def test_a_damaged_count_does_not_keep_messages_from_being_sent(day, tmp_path, content):
    (tmp_path / "sms-count").write_bytes(content)
    assert await sent(day.gsm(Scripted(), smsPerDay=2), 9) == 2


@pytest.mark.parametrize("start", DEAR)
async def test_premium_and_satellite_numbers_get_no_message_unless_they_are_allowed(day, start):
    modem, phone = Scripted(), start.ljust(12, "1")
    with pytest.raises(BadField, match=r"premium or satellite number.*gsm\.smsAllow"):
        await day.gsm(modem, smsAllow=["+99"]).sms_test(phone, "x")
    assert modem.sent == []
    await day.gsm(modem, smsAllow=["+99", start]).sms_test(phone, "x")
    assert modem.sent == [(phone, "x")]


@pytest.mark.parametrize("phone", ["+421905123456", "+48601234567", "+380501234567", "+4915112345678", "+12025550123"])
async def test_ordinary_numbers_are_no_dear_ones(day, phone):
    assert await day.gsm(Scripted()).sms_test(phone, "x") is None
