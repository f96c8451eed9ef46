"""The modem of a Linux board, against a fake one that speaks AT on a pty and misbehaves on command."""

import asyncio
import contextlib
import json
from asyncio.subprocess import PIPE

import pytest

from hal.contracts import ModemFailed, NoModem, PartError
from hal.gsm import at, modem, sim_pin, sms_sender
from hal.gsm import state as modem_state
from hal.gsm.at import AtError, AtPort
from hal.linux.modem import AtModem, TtyAtPort
from hal.simulated.modem.fake import FakeModem
from tests.machine.starter import environment, point
from tests.micropython import MICROPYTHON, NEEDS_MICROPYTHON, ROOT

PHONE = "+380501234567"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """The waits of a real modem, a hundredth as long."""
    monkeypatch.setattr(modem, "POLL_SEC", 0.05)
    monkeypatch.setattr(modem, "LEAST_SEC", 0.01)
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(modem, "DATA_PAUSES", (0.02,))
    monkeypatch.setattr(at, "ANSWER_SEC", 0.5)
    monkeypatch.setattr(at, "SYNC_SEC", 0.3)
    monkeypatch.setattr(at, "QUIET_SEC", 0.01)
    monkeypatch.setattr(at, "PROMPT_SEC", 0.5)
    monkeypatch.setattr(at, "ALONE_SEC", 0.05)
    monkeypatch.setattr(sim_pin, "READY_PAUSE", 0.01)
    monkeypatch.setattr(sms_sender, "BUSY_PAUSE", 0.01)


async def reached(condition, seconds=10):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.005)


class Rig:
    """A fake modem, and the driver on it."""

    def __init__(self, folder, **options):
        self.folder = folder
        self.fake = FakeModem(str(folder / "tty"), **options)
        self.part = None

    async def drive(self, pin=None, apn="", user="", password=None):
        """A driver as after a start of the process."""
        await self.let_go()
        self.part = AtModem(AtModem.OPTIONS.check({"port": str(self.folder / "tty")}), str(self.folder))
        self.part.configure(apn, user, password, pin)
        await self.part.start()

    async def let_go(self):
        if self.part is not None:
            await self.part.stop()
            await self.part.stop()

    async def close(self):
        await self.let_go()
        await self.fake.stop()

    async def do(self, words):
        return await self.fake.control(words.split())

    async def status(self, **wanted):
        """The status when it has come to be as wanted."""

        async def fits():
            with contextlib.suppress(NoModem):
                self.last = await self.part.status()
                return all(self.last[name] == value for name, value in wanted.items())
            return False

        await reached(fits)
        return self.last

    async def absent(self):
        async def fits():
            try:
                await self.part.status()
            except NoModem:
                return True
            return False

        await reached(fits)

    async def problem(self):
        """Why no message can be sent."""

        async def fits():
            try:
                await self.part.send_sms(PHONE, "x")
            except ModemFailed as exc:
                self.failure = exc
                return True
            except NoModem:
                return False
            raise AssertionError("it was sent")

        await reached(fits)
        return self.failure


@pytest.fixture
async def make(tmp_path):
    rigs = []

    async def make(**options):
        rigs.append(Rig(tmp_path, **options))
        await rigs[-1].fake.start()
        return rigs[-1]

    yield make
    for rig in rigs:
        await rig.close()


# State


async def test_the_state_is_what_the_modem_says(make):
    rig = await make()
    await rig.do("signal 31")
    await rig.drive(apn="internet")
    status = await rig.status(registered=True, ip="10.64.0.2", signalLevel=100)
    assert status == {
        "signalLevel": 100,
        "ip": "10.64.0.2",
        "registered": True,
        "operator": "Simulated",
        "imei": "001015000000015",
        "simReady": True,
    }
    for level, percent in ((0, 0), (99, None), (15, 48)):
        await rig.do(f"signal {level}")
        await rig.status(signalLevel=percent)


async def test_losing_and_finding_a_network_is_noticed(make):
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    await rig.do("network lost")
    assert (await rig.status(registered=False))["operator"] is None
    assert (await rig.problem()).reason == "NO NETWORK"
    await rig.do("network roaming")
    await rig.status(registered=True)


async def test_an_lte_network_that_only_tells_by_its_own_command_counts(make):
    rig = await make()
    await rig.do("network lte")
    await rig.drive()
    assert (await rig.status(registered=True))["operator"] == "Simulated"


async def test_a_data_connection_that_the_network_ends_is_made_anew(make):
    rig = await make()
    await rig.drive(apn="internet", user="me", password="secret")
    await rig.status(ip="10.64.0.2")
    assert any(command.startswith('AT+CGAUTH=1,1,"me"') for command in rig.fake.commands)
    await rig.do("data drop")
    count = rig.fake.commands.count("AT+CGACT=1,1")

    async def redialled():
        return rig.fake.commands.count("AT+CGACT=1,1") > count

    await reached(redialled)
    await rig.status(ip="10.64.0.2")


async def test_without_an_access_point_no_data_connection_is_asked_for(make):
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    assert not any("CGACT" in command or "CGDCONT" in command for command in rig.fake.commands)


async def test_a_data_connection_that_takes_too_long_costs_nothing_else(make, monkeypatch, capsys):
    monkeypatch.setattr(modem_state, "NETWORK_SEC", 0.02)
    monkeypatch.setattr(modem, "DATA_PAUSES", (0.3,))
    rig = await make(delay=0.1)
    await rig.drive(apn="internet")
    await rig.status(registered=True, ip=None)
    await rig.part.send_sms(PHONE, "hello")
    assert capsys.readouterr().err.count("does not answer in time") == 1
    monkeypatch.setattr(modem_state, "NETWORK_SEC", 5)
    await rig.status(ip="10.64.0.2")


async def test_an_access_point_that_the_modem_refuses_costs_nothing_else(make, capsys):
    rig = await make()
    rig.fake.state.lacking.add("+CGDCONT")
    await rig.drive(apn="internet")
    await rig.status(registered=True, simReady=True, ip=None)
    await rig.part.send_sms(PHONE, "hello")
    rig.fake.state.lacking.discard("+CGDCONT")
    await rig.status(ip="10.64.0.2")
    assert capsys.readouterr().err.count("refuses the access point: ERROR") == 1


async def test_a_modem_without_the_login_command_connects_all_the_same(make):
    rig = await make()
    await rig.do("cgauth off")
    await rig.drive(apn="internet", user="me")
    assert (await rig.status(ip="10.64.0.2"))["registered"]


@pytest.mark.parametrize("trouble", ["chatter on", "slow on", "echo stuck"])
async def test_a_modem_with_bad_manners_is_understood(make, monkeypatch, trouble):
    monkeypatch.setattr(at, "ANSWER_SEC", 5)
    rig = await make()
    await rig.do(trouble)
    await rig.drive(apn="internet")
    await rig.status(registered=True, operator="Simulated", ip="10.64.0.2")
    await rig.part.send_sms(PHONE, "a " * 100)
    assert (await rig.do("outbox")).startswith(f"{PHONE} (2 parts) a a")


async def test_a_modem_that_tells_of_changes_all_the_time_is_not_asked_all_the_time(make, monkeypatch):
    monkeypatch.setattr(modem, "LEAST_SEC", 0.2)
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    await rig.do("chatter on")
    before = rig.fake.commands.count("AT+CSQ")
    for _ in range(40):
        await rig.do("urc +CREG: 1")
        await asyncio.sleep(0.01)
    assert rig.fake.commands.count("AT+CSQ") - before <= 4


async def test_garbage_between_the_answers_does_no_harm(make):
    rig = await make()
    await rig.drive()
    for _ in range(10):
        await rig.do("garbage")
        await asyncio.sleep(0.02)
    await rig.status(registered=True)
    await rig.part.send_sms(PHONE, "hello")


async def test_an_answer_that_is_late_costs_nothing(make):
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    await rig.do("late 700")
    await asyncio.sleep(0.6)
    assert (await rig.part.status())["registered"]
    await rig.status(registered=True, signalLevel=(await rig.part.status())["signalLevel"])
    await rig.part.send_sms(PHONE, "hello")


async def test_a_silent_modem_is_absent_until_it_talks(make, capsys):
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    await rig.do("silent")
    await rig.absent()
    with pytest.raises(NoModem, match="does not answer"):
        await rig.part.send_sms(PHONE, "x")
    await rig.do("talk")
    await rig.status(registered=True)
    assert capsys.readouterr().err.count("does not answer") == 1


async def test_a_modem_may_be_plugged_in_later_and_be_pulled_out(tmp_path):
    rig = Rig(tmp_path)
    await rig.drive()
    await rig.absent()
    try:
        for _ in range(2):
            await rig.fake.start()
            await rig.status(registered=True)
            await rig.do("unplug")
            await rig.absent()
    finally:
        await rig.close()


async def test_a_modem_that_restarts_is_set_up_again(make):
    rig = await make(pin="1234")
    await rig.drive(pin="1234", apn="internet")
    await rig.status(registered=True, ip="10.64.0.2")
    await rig.do("reset")

    async def again():
        return rig.fake.pin_tries == 2

    await reached(again)
    await rig.status(registered=True, ip="10.64.0.2")
    assert rig.fake.commands.count("ATE0") == 2


async def test_a_modem_that_is_not_configured_stays_off(make):
    rig = await make()
    part = AtModem(AtModem.OPTIONS.check({"port": str(rig.folder / "tty")}), str(rig.folder))
    await part.start()
    with pytest.raises(NoModem, match="switched off"):
        await part.status()
    with pytest.raises(NoModem, match="switched off"):
        await part.send_sms(PHONE, "x")
    assert rig.fake.commands == []
    await part.stop()


async def test_a_modem_that_was_stopped_is_off(make, capsys):
    rig = await make()
    await rig.drive()
    await rig.status(registered=True)
    await rig.part.stop()
    with pytest.raises(NoModem, match="switched off"):
        await rig.part.status()
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("field", ["apn", "user", "password", "pin"])
def test_settings_cannot_carry_commands(tmp_path, field):
    values = dict.fromkeys(("apn", "user", "password", "pin"), "") | {field: 'x";+CFUN=0'}
    part = AtModem(AtModem.OPTIONS.check({"port": str(tmp_path / "tty")}), str(tmp_path))
    with pytest.raises(ValueError, match="no text with"):
        part.configure(**values)


# The PIN


async def test_the_right_pin_is_entered_once(make, capsys):
    rig = await make(pin="4321")
    await rig.drive(pin="4321")
    assert (await rig.status(registered=True))["simReady"]
    assert rig.fake.pin_tries == 1
    assert json.loads((rig.folder / "modem-pin").read_text()) == []
    assert "4321" not in capsys.readouterr().err


@pytest.mark.parametrize("cpinr", ["on", "off"])
async def test_a_wrong_pin_is_never_tried_twice(make, capsys, cpinr):
    rig = await make(pin="1234")
    await rig.do(f"cpinr {cpinr}")
    for _ in range(3):
        await rig.drive(pin="9999")
        assert (await rig.problem()).reason == "SIM PIN"
        await rig.do("reset")
        await asyncio.sleep(0.1)
        assert (await rig.problem()).reason == "SIM PIN"
    assert rig.fake.pin_tries == 1
    assert not (await rig.status())["simReady"]
    log = capsys.readouterr().err
    assert "refused the PIN" in log and "9999" not in log
    assert "9999" not in (rig.folder / "modem-pin").read_text()
    await rig.drive(pin="1234")
    await rig.status(registered=True)
    assert rig.fake.pin_tries == 2


@pytest.mark.parametrize("readable_first", [True, False])
async def test_a_wrong_pin_is_never_tried_twice_where_the_cards_number_can_be_read_but_at_times(make, readable_first):
    rig = await make(pin="1234")
    for readable in (readable_first, not readable_first, readable_first):
        (rig.fake.state.lacking.discard if readable else rig.fake.state.lacking.add)("+CCID")
        await rig.drive(pin="9999")
        assert (await rig.problem()).reason == "SIM PIN"
    assert rig.fake.pin_tries == 1


async def test_a_refused_pin_is_not_tried_again_when_a_phone_has_given_the_card_its_attempts_back(make):
    rig = await make(pin="1234")
    await rig.drive(pin="9999")
    await rig.problem()
    rig.fake.state.sim.pin_left = 3
    await rig.drive(pin="9999")
    assert "has refused" in str(await rig.problem())
    assert rig.fake.pin_tries == 1


async def test_a_card_that_was_too_busy_for_the_pin_gets_it_again(make, monkeypatch):
    rig = await make(pin="1234")
    command, busy = AtPort.command, [True]

    async def first_busy(port, line, *arguments, **options):
        if line.startswith("AT+CPIN=") and busy:
            busy.clear()
            raise AtError("+CME ERROR: 14")
        return await command(port, line, *arguments, **options)

    monkeypatch.setattr(AtPort, "command", first_busy)
    await rig.drive(pin="1234")
    await rig.status(simReady=True)
    assert (busy, rig.fake.pin_tries) == ([], 1)


async def test_a_pin_that_is_right_on_another_card_is_still_wrong_on_the_first(make):
    rig = await make(pin="1234")
    memory = sim_pin.PinMemory(str(rig.folder))
    memory.remember("9999", "card 1", "refused", 2, 1)
    memory.remember("9999", "card 2", "trying", 3, 1)
    memory.forget("9999", "card 2")
    assert memory.recall("9999", "card 1")["state"] == "refused"
    assert memory.recall("9999", "card 2") is None


async def test_going_back_to_a_wrong_pin_does_not_try_it_again(make):
    rig = await make(pin="1234")
    for pin in ("9999", "8888", "9999"):
        await rig.drive(pin=pin)
        assert (await rig.problem()).reason == "SIM PIN"
    assert rig.fake.pin_tries == 2


async def test_another_sim_card_gets_the_pin_anew(make):
    rig = await make(pin="1234")
    await rig.drive(pin="9999")
    await rig.problem()
    await rig.do("sim pin 9999")
    await rig.do("reset")
    await rig.status(registered=True)
    assert rig.fake.pin_tries == 2


@pytest.mark.parametrize("cpinr", ["on", "off"])
async def test_a_power_cut_while_the_pin_is_tried_does_not_make_a_second_try_of_a_wrong_one(make, cpinr):
    """The mark is there before the modem hears the PIN: whatever happens after it, the card is asked first."""
    rig = await make(pin="1234")
    await rig.do(f"cpinr {cpinr}")
    await rig.drive(pin="9999")
    await rig.problem()
    path = rig.folder / "modem-pin"
    (mark,) = json.loads(path.read_text())
    path.write_text(json.dumps([dict(mark, state="trying")]))  # as it was before the modem had answered
    await rig.drive(pin="9999")
    assert (await rig.problem()).reason == "SIM PIN"
    assert rig.fake.pin_tries == 1


class PowerCut(BaseException):
    """Nothing runs after it."""


async def unlock_until_cut(rig, pin, cut_at, monkeypatch):
    """Whether the power failed before or after the n-th step: a command, a write, or a removal of the memory."""
    steps = 0

    def cut():
        nonlocal steps
        steps += 1
        if steps == cut_at:
            raise PowerCut

    def counted(function):
        def call(*arguments):
            cut()
            function(*arguments)
            cut()

        return call

    class Line(TtyAtPort):
        async def command(self, *arguments, **options):
            cut()
            try:
                return await super().command(*arguments, **options)
            finally:
                cut()

    port = TtyAtPort(str(rig.folder / "tty"), 115200, lambda line: None, lambda: None)
    await modem_state.identify(port)
    port.__class__ = Line
    with monkeypatch.context() as patch:
        patch.setattr(sim_pin, "write_whole", counted(sim_pin.write_whole))
        patch.setattr(sim_pin.PinMemory, "forget", counted(sim_pin.PinMemory.forget))
        try:
            await sim_pin.unlock(port, pin, sim_pin.PinMemory(str(rig.folder)))
        except PowerCut:
            return True
        except sim_pin.SimProblem:
            pass
        finally:
            port.close()
            await rig.do("reset")
    return False


@pytest.mark.parametrize("cpinr", ["on", "off"])
@pytest.mark.parametrize("pin", ["9999", "1234"])
async def test_a_power_cut_at_any_step_never_makes_a_second_try_of_a_wrong_pin(make, monkeypatch, pin, cpinr):
    rig = await make(pin="1234")
    await rig.do(f"cpinr {cpinr}")
    cut_at = 0
    was_cut = True
    while was_cut:
        cut_at += 1
        await rig.do("sim pin 1234")
        (rig.folder / "modem-pin").unlink(missing_ok=True)
        before = rig.fake.pin_tries
        was_cut = await unlock_until_cut(rig, pin, cut_at, monkeypatch)
        for _ in range(2):
            await unlock_until_cut(rig, pin, 0, monkeypatch)
        if pin == "9999":
            assert rig.fake.pin_tries - before <= 1
        elif cpinr == "on":
            assert rig.fake.pin_tries - before >= 2
    assert cut_at > 10


async def test_a_power_cut_before_the_card_was_asked_is_seen_from_its_count(make):
    rig = await make(pin="1234")
    memory = sim_pin.PinMemory(str(rig.folder))
    number = rig.fake.state.sim.iccid
    memory.remember("1234", number, "trying", 3, 1)
    await rig.drive(pin="1234")
    await rig.status(registered=True)
    assert rig.fake.pin_tries == 1


async def test_a_power_cut_is_on_the_safe_side_where_the_modem_tells_no_count(make):
    rig = await make(pin="1234")
    await rig.do("cpinr off")
    memory = sim_pin.PinMemory(str(rig.folder))
    memory.remember("1234", rig.fake.state.sim.iccid, "trying", None, 1)
    await rig.drive(pin="1234")
    assert "may have refused" in str(await rig.problem())
    assert rig.fake.pin_tries == 0


async def test_the_last_attempt_is_left_to_people(make):
    rig = await make(pin="1234")
    rig.fake.state.sim.pin_left = 1
    await rig.drive(pin="1234")
    assert "only one attempt" in str(await rig.problem())
    assert rig.fake.pin_tries == 0


async def test_a_damaged_memory_of_the_pin_is_on_the_safe_side(make):
    rig = await make(pin="1234")
    (rig.folder / "modem-pin").write_text("{")
    await rig.drive(pin="1234")
    assert "remove the file modem-pin" in str(await rig.problem())
    assert rig.fake.pin_tries == 0


async def test_a_pin_that_cannot_be_kept_count_of_is_not_tried(make, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sim_pin, "write_whole", full)
    rig = await make(pin="1234")
    await rig.drive(pin="1234")
    assert "No space left" in str(await rig.problem())
    assert rig.fake.pin_tries == 0


async def test_what_is_wrong_with_the_sim_card_is_told(make):
    rig = await make(pin="1234")
    await rig.drive()
    assert "gsm.pin" in str(await rig.problem())
    await rig.do("sim puk")
    await rig.do("reset")

    async def blocked():
        return (await rig.problem()).reason == "SIM PUK"

    await reached(blocked)
    await rig.do("sim out")

    async def out():
        return (await rig.problem()).reason == "NO SIM"

    await reached(out)
    await rig.do("sim pin 0000")
    assert rig.fake.pin_tries == 0


# Messages


async def ready(make, **options):
    rig = await make(**options)
    await rig.drive()
    await rig.status(registered=True)
    return rig


async def test_long_texts_and_other_scripts_arrive_whole(make):
    rig = await ready(make)
    for text in ("hello", "x" * 400, "Напруга на вході: 231 V 😀 " * 10):
        await rig.part.send_sms(PHONE, text)
        assert rig.fake.sent[-1].text == text
        assert (rig.fake.sent[-1].phone, rig.fake.sent[-1].mode) == (PHONE, "pdu")


async def test_messages_sent_at_once_are_not_mixed(make):
    rig = await ready(make)
    texts = [letter * 200 for letter in "abcdef"]
    await asyncio.gather(*[rig.part.send_sms(PHONE, text) for text in texts])
    assert sorted(message.text for message in rig.fake.sent) == texts


async def test_only_so_many_messages_wait(make):
    rig = await ready(make)
    outcomes = await asyncio.gather(*[rig.part.send_sms(PHONE, "x") for _ in range(20)], return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert len(rig.fake.sent) == 20 - len(refused) >= modem.SENDING_MAX
    assert refused and all(outcome.reason == "BUSY" for outcome in refused)


async def test_a_refusal_carries_the_networks_reason(make):
    rig = await ready(make)
    await rig.do("sms fail 21")
    with pytest.raises(ModemFailed, match="CMS ERROR: 21") as caught:
        await rig.part.send_sms(PHONE, "x" * 200)
    assert caught.value.reason == "+CMS ERROR: 21"
    assert str(caught.value).startswith("part 1 of 2")


async def test_a_network_out_of_breath_is_asked_once_more(make):
    rig = await ready(make)
    await rig.do("sms fail 42")
    await rig.part.send_sms(PHONE, "x")
    assert rig.fake.sent[-1].text == "x"
    await rig.do("sms fail 42 always")
    with pytest.raises(ModemFailed, match="42"):
        await rig.part.send_sms(PHONE, "y")


async def test_a_message_without_an_answer_is_not_sent_twice(make, monkeypatch):
    monkeypatch.setattr(sms_sender, "SUBMIT_SEC", 0.1)
    rig = await ready(make)
    await rig.do("sms silent")
    with pytest.raises(ModemFailed, match="does not say") as caught:
        await rig.part.send_sms(PHONE, "x")
    assert caught.value.reason == "TIMEOUT"
    assert sum(command.startswith("AT+CMGS") for command in rig.fake.commands) == 1
    await rig.part.send_sms(PHONE, "after that")
    assert rig.fake.sent[-1].text == "after that"


async def test_a_modem_that_restarts_in_the_middle_of_a_message_ends_it_at_once(make):
    rig = await ready(make)
    await rig.do("sms silent")
    sending = asyncio.create_task(rig.part.send_sms(PHONE, "x"))

    async def typed():
        return any(command.startswith("AT+CMGS") for command in rig.fake.commands)

    await reached(typed)
    await asyncio.sleep(0.02)
    await rig.do("reset")
    with pytest.raises(PartError, match="restarted"):
        await asyncio.wait_for(sending, 5)
    await rig.status(registered=True)
    await reached(rig_sends(rig, "again"))


def rig_sends(rig, text):
    async def sends():
        try:
            await rig.part.send_sms(PHONE, text)
        except PartError:
            return False
        return True

    return sends


async def test_a_modem_that_is_pulled_out_in_the_middle_of_a_message_ends_it_at_once(make):
    rig = await ready(make)
    await rig.do("sms silent")
    sending = asyncio.create_task(rig.part.send_sms(PHONE, "x"))
    await asyncio.sleep(0.05)
    await rig.do("unplug")
    with pytest.raises(NoModem):
        await asyncio.wait_for(sending, 5)


@pytest.mark.parametrize("text", ["Level: 10 % (high)", "Напруга {висока} 😀"])
async def test_a_modem_without_pdu_mode_sends_what_fits_one_message(make, text):
    rig = await make()
    await rig.do("only text")
    await rig.drive()
    await rig.status(registered=True)
    await rig.part.send_sms(PHONE, text)
    assert (rig.fake.sent[-1].text, rig.fake.sent[-1].phone, rig.fake.sent[-1].mode) == (text, PHONE, "text")
    assert (await rig.status(operator="Simulated"))["registered"]
    with pytest.raises(ModemFailed, match="needs it"):
        await rig.part.send_sms(PHONE, text * 20)


@pytest.mark.parametrize(("phone", "text"), [("12", "x"), (PHONE, "x" * 1531)])
async def test_what_no_modem_could_send_is_a_value_error(make, phone, text):
    rig = await ready(make)
    with pytest.raises(ValueError):
        await rig.part.send_sms(phone, text)


# The check of a board


async def test_a_probe_tells_what_is_there_and_tries_no_pin(make):
    rig = await make(pin="1234")
    part = AtModem(AtModem.OPTIONS.check({"port": str(rig.folder / "tty")}), str(rig.folder))
    assert await part.probe() == "IMEI 001015000000015, SIM card: SIM PIN, in no network, signal 55 %"
    assert rig.fake.pin_tries == 0
    await rig.do("sim out")
    assert "SIM card: NO SIM" in await part.probe()
    await rig.do("unplug")
    with pytest.raises(NoModem, match="cannot be opened"):
        await part.probe()


async def test_a_probe_works_while_the_modem_is_in_use(make):
    rig = await ready(make)
    assert "network Simulated" in await rig.part.probe()


# Both runtimes


@NEEDS_MICROPYTHON
async def test_on_micropython_the_same_driver_unlocks_the_card_and_sends_messages(make):
    rig = await make(pin="1234")
    script = ROOT / "tests" / "hal" / "gsm" / "micropython_modem.py"
    point(str(rig.folder / "uart2"), "tty")
    arguments = [str(script), str(rig.folder), "1234", PHONE]
    run = await asyncio.create_subprocess_exec(
        MICROPYTHON, *["-X", "heapsize=640K", *arguments], env=environment(str(rig.folder)), stdout=PIPE, stderr=PIPE
    )
    output, errors = await asyncio.wait_for(run.communicate(), 30)
    assert errors == b"", errors.decode()
    told = json.loads(output)
    assert told["status"] == {
        "signalLevel": 55,
        "ip": "10.64.0.2",
        "registered": True,
        "operator": "Simulated",
        "imei": "001015000000015",
        "simReady": True,
    }
    assert [message.text for message in rig.fake.sent] == ["hello", "x" * 200, "Напруга 231 V 😀"]
    assert (rig.fake.pin_tries, json.loads((rig.folder / "modem-pin").read_text())) == (1, [])
    assert told["presses"] == [False, False, False, True]
