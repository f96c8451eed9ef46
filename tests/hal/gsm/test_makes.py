"""What modems of several makers say, and what the driver makes of it."""

import asyncio
import contextlib
import json

import pytest

from hal.contracts import ModemFailed, NoModem
from hal.gsm import at, modem, sim_pin, sms_sender
from hal.gsm import state as modem_state
from hal.gsm.sim_pin import PinMemory
from hal.linux.modem import AtModem
from tests.hal.gsm.scripted import ScriptedModem
from tests.hal.gsm.transcripts import CARD_NUMBERS, ERROR, MODELS, REFUSALS, cme

PHONE = "+380501234567"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(modem, "POLL_SEC", 0.03)
    monkeypatch.setattr(modem, "LEAST_SEC", 0.01)
    monkeypatch.setattr("hal.service.RETRY_PAUSES", (0.01, 0.02))
    monkeypatch.setattr(at, "ANSWER_SEC", 0.3)
    monkeypatch.setattr(at, "SYNC_SEC", 0.1)
    monkeypatch.setattr(at, "QUIET_SEC", 0.01)
    monkeypatch.setattr(at, "PROMPT_SEC", 0.3)
    monkeypatch.setattr(at, "ALONE_SEC", 0.02)
    monkeypatch.setattr(modem_state, "_WAKE_SEC", 0.05)
    monkeypatch.setattr(sim_pin, "READY_PAUSE", 0.005)
    monkeypatch.setattr(sms_sender, "BUSY_PAUSE", 0.005)


class Rig:
    def __init__(self, folder):
        self.folder = folder
        self.modem = ScriptedModem()
        self.part = None

    async def drive(self, pin=None, apn=""):
        await self.let_go()
        self.part = AtModem(AtModem.OPTIONS.check({"port": self.modem.path}), str(self.folder))
        self.part.configure(apn, "", None, pin)
        await self.part.start()
        return self

    async def let_go(self):
        if self.part is not None:
            await self.part.stop()

    async def until(self, condition):
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.002)

    async def status(self, **wanted):
        """The status when it has come to be as wanted."""
        async with asyncio.timeout(10):
            while True:
                with contextlib.suppress(NoModem):
                    status = await self.part.status()
                    if all(status[name] == value for name, value in wanted.items()):
                        return status
                await asyncio.sleep(0.002)

    async def refusal(self):
        """Why no message is sent."""
        async with asyncio.timeout(10):
            while True:
                try:
                    await self.part.send_sms(PHONE, "x")
                except ModemFailed as exc:
                    return exc
                except NoModem:
                    pass
                await asyncio.sleep(0.002)

    def pins(self):
        return [line for line in self.modem.heard if line.startswith("AT+CPIN=")]


@pytest.fixture
async def rig(tmp_path):
    rig = Rig(tmp_path)
    yield rig
    await rig.let_go()
    rig.modem.close()


# Registration, signal, identity, address


@pytest.mark.parametrize(
    ("line", "registered"),
    [(f"+CREG: 0,{stat}", stat in (1, 5, 6, 7, 9, 10)) for stat in range(12)]
    + [('+CREG: 2,1,"1A2B","0C3D4E5F",7', True), ('+CREG: 2,6,"00FF","01",7', True), ("+CREG: 0, 10", True)],
)
async def test_registered_is_what_the_specification_calls_so(rig, line, registered):
    """27.007 section 7.2: 6 and 7 are registered for messages only, 9 and 10 with fallback not preferred."""
    rig.modem.set("AT+CREG?", line)
    for other in ("AT+CEREG?", "AT+CGREG?"):
        rig.modem.set(other, cme(3))
    await rig.drive()
    assert (await rig.status())["registered"] is registered


async def test_an_lte_answer_with_empty_fields_is_read(rig):
    rig.modem.set("AT+CREG?", "+CREG: 5,0,,,,,0,0")
    rig.modem.set("AT+CEREG?", "+CEREG: 5,5,,,,,0,0")
    await rig.drive()
    assert (await rig.status())["registered"]


@pytest.mark.parametrize(
    ("csq", "cesq", "percent"),
    [
        ("+CSQ: 20,0", "+CESQ: 99,99,255,255,20,0", 65),
        ("+CSQ: 99,99", "+CESQ: 99,99,255,255,20,58", 60),  # LTE
        ("+CSQ: 99,99", "+CESQ: 99,99,48,30,255,255", 50),  # UTRAN
        ("+CSQ: 99,99", "+CESQ: 63,0,255,255,255,255", 100),  # GSM
        ("+CSQ: 99,99", "+CESQ: 99,99,255,255,255,255,255,255,63", 50),  # NR
        ("+CSQ: 99,99", "+CESQ: 99,99,255,255,255,255", None),
        ("+CSQ: 99,99", cme(100), None),
        (cme(100), "+CESQ: 99,99,255,255,20,97", 100),
    ],
)
async def test_the_signal_is_told_by_either_command(rig, csq, cesq, percent):
    rig.modem.set("AT+CSQ", csq)
    rig.modem.set("AT+CESQ", cesq)
    await rig.drive()
    assert (await rig.status())["signalLevel"] == percent


@pytest.mark.parametrize(
    ("plain", "other", "imei"),
    [
        ("490154203237518", "", "490154203237518"),
        ('+CGSN: "490154203237518"', "", "490154203237518"),
        ("+CGSN: 490154203237518", "", "490154203237518"),
        ("4901542032375101", "", "490154203237518"),  # with a software version
        (ERROR, '+CGSN: "490154203237518"', "490154203237518"),
        ('+CGSN: "4901542032375101"', "", "490154203237518"),
        ("49015420323751", ERROR, None),
    ],
)
async def test_the_imei_is_found_however_it_is_told(rig, plain, other, imei):
    rig.modem.set("AT+CGSN", plain)
    rig.modem.set("AT+CGSN=1", other)
    await rig.drive()
    assert (await rig.status())["imei"] == imei


@pytest.mark.parametrize(
    ("line", "address"),
    [
        ('+CGPADDR: 1,"10.20.30.40"', "10.20.30.40"),
        ("+CGPADDR: 1,10.20.30.40,32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1", "10.20.30.40"),
        ("+CGPADDR: 1,32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.1", None),
        ('+CGPADDR: 1,"2001:db8::1"', None),
        ('+CGPADDR: 1,"2001:DB8:0:0:0:0:10.20.30.40"', None),
        ("+CGPADDR: 1,10.20.30.400", None),
        ("+CGPADDR: 1,0.0.0.0", None),
        ('+CGPADDR: 1,""', None),
        ("+CGPADDR: 1", None),
        ("+CGPADDR: 2,10.0.0.2\n+CGPADDR: 1,10.0.0.1", "10.0.0.1"),
    ],
)
async def test_only_an_ipv4_address_is_shown_as_one(rig, line, address):
    rig.modem.set("AT+CGPADDR=1", line)
    await rig.drive()
    assert (await rig.status())["ip"] == address


# Coming up


async def test_a_modem_that_refuses_everything_before_the_pin_comes_up(rig):
    """As u-blox and Sierra do: +CME ERROR: 11 to all but the question for the PIN."""
    locked = cme(11)
    commands = ["ATE0", "AT+CMEE=1", 'AT+CSCS="GSM"', "AT+CMGF=0", "AT+CGSN", "AT+CGSN=1", "AT+CREG=1", "AT+CSQ"]
    commands += ["AT", "AT+CCID", "AT+CREG?", "AT+CEREG?", "AT+CGREG?", "AT+COPS?", "AT+CGPADDR=1"]
    commands += ["AT+CNMI=" + mode for mode in modem_state._NO_DELIVERY]
    before = {command: rig.modem.answers.get(command, "") for command in commands}
    for command in commands:
        rig.modem.set(command, locked)
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN", "+CPIN: READY")

    def unlock(text):
        if text.startswith("AT+CPIN="):
            rig.modem.answers.update(before)

    answer = rig.modem._answer
    rig.modem._answer = lambda text: (unlock(text), answer(text))
    await rig.drive(pin="1234")
    status = await rig.status(registered=True, simReady=True)
    assert (status["imei"], len(rig.pins())) == ("001015000000015", 1)
    after = rig.modem.heard[rig.modem.heard.index('AT+CPIN="1234"') :]
    assert {"AT+CMEE=1", 'AT+CSCS="GSM"', "AT+CMGF=0", "AT+CNMI=2,0,0,0,0"} <= set(after)


async def test_a_modem_that_cannot_be_told_not_to_echo_comes_up(rig):
    rig.modem.set("ATE0", ERROR)
    await rig.drive()
    assert (await rig.status(registered=True))["operator"] == "Somewhere"


@pytest.mark.parametrize("stored", [b"0\r", b""])
async def test_a_modem_that_was_told_to_answer_in_digits_or_not_at_all_comes_up(rig, stored):
    """V.250 sections 6.2.5 and 6.2.6: ATV0 and ATQ1, kept by AT&W."""
    answer = rig.modem._answer

    def in_digits(text):
        if text == "ATQ0V1":
            rig.modem._answer = answer
            answer(text)
        else:
            rig.modem.say(stored)

    rig.modem._answer = in_digits
    await rig.drive()
    await rig.status(registered=True)


async def test_a_modem_that_says_ready_without_ok_comes_up(rig):
    rig.modem.set("AT+CPIN?", b"\r\n+CPIN: READY\r\n")
    await rig.drive()
    assert (await rig.status(registered=True))["simReady"]
    await rig.part.send_sms(PHONE, "x")


# Strangers


async def test_strangers_messages_are_kept_away_from_the_answers(rig):
    """27.005 section 3.4.1: +CMGF=1 and +CNMI=2,2 may be stored in the modem."""
    for refused in ("2,0,0,0,0", "1,0,0,0,0"):
        rig.modem.set("AT+CNMI=" + refused, b"\r\n+CMS ERROR: 303\r\n")
    await rig.drive()
    await rig.status(registered=True)
    assert "AT+CMGF=0" in rig.modem.heard
    assert "AT+CNMI=3,0,0,0,0" in rig.modem.heard
    assert rig.modem.heard.index("AT+CNMI=3,0,0,0,0") < rig.modem.heard.index("AT+CSQ")


@pytest.mark.parametrize("text", ["RDY", "+CPIN: SIM PUK", "+CMGS: 9", "OK", "ERROR", "START"])
async def test_a_message_that_comes_all_the_same_is_no_answer(rig, text):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.say(f'\r\n+CMT: "+48600100200",,"26/11/23,10:00:00+04"\r\n{text}\r\n'.encode())
    looks = rig.modem.count("AT+CSQ")
    await rig.until(lambda: rig.modem.count("AT+CSQ") >= looks + 3)
    assert (await rig.part.status())["simReady"]
    assert rig.modem.count("ATE0") == 1


async def test_a_status_report_in_text_mode_is_one_line(rig):
    """27.005 section 3.4.1: what follows it is an answer; in PDU mode its second line is not."""
    report = '+CDS: 6,7,"+48600100200",145,"26/11/23,10:00:00+04","26/11/23,10:00:01+04",0'
    rig.modem.set("AT+CSQ", f"\r\n{report}\r\n\r\n+CSQ: 31,0\r\n\r\nOK\r\n".encode())
    await rig.drive()
    assert (await rig.status(registered=True))["signalLevel"] == 100
    rig.modem.set("AT+CSQ", b"\r\n+CDS: 24\r\n+CSQ: 1,0\r\n\r\n+CSQ: 0,0\r\n\r\nOK\r\n")
    await rig.status(signalLevel=0)


@pytest.mark.parametrize(
    "line", ['*PSUTTZ: 2026,11,23,10,0,0,"+4",0', "STARTUP DONE", "^SYSSTARTX", "+CPIN: SIM PIN2", "DST: 0", "RDY2"]
)
async def test_what_only_begins_like_a_restart_does_not_end_a_message(rig, line):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", f"\r\n{line}\r\n\r\n+CMGS: 7\r\n\r\nOK\r\n".encode())
    await rig.part.send_sms(PHONE, "x")
    assert rig.modem.count("ATE0") == 1


RESTARTS = [
    "RDY",
    "START",
    "^SYSSTART",
    "*ATREADY: 1",
    "QCRDY",
    "NORMAL POWER DOWN",
    "POWERED DOWN",
    "+CPIN: NOT READY",
]


@pytest.mark.parametrize("line", RESTARTS)
async def test_a_restart_ends_a_message_and_sets_the_modem_up_again(rig, line):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", f"\r\n{line}\r\n".encode())
    with pytest.raises(NoModem, match="restarted"):
        await rig.part.send_sms(PHONE, "x")
    await rig.until(lambda: rig.modem.count("ATE0") == 2)


# The PIN

UNCERTAIN = [cme(515), cme(100), cme(3), cme(14), ERROR, b"\r\n+CME ERROR: SIM busy\r\n", cme("operation not allowed")]


@pytest.mark.parametrize("answer", UNCERTAIN)
async def test_a_right_pin_is_not_condemned_by_an_answer_that_is_no_refusal(rig, answer):
    """27.007 section 9.2.1: only 16 says that the PIN is wrong."""
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', "+CPINR: SIM PIN,3,3")
    rig.modem.set("AT+CPIN=", answer, "")
    await rig.drive(pin="1234")
    await rig.until(lambda: len(rig.pins()) == 2)
    rig.modem.set("AT+CPIN?", "+CPIN: READY")
    await rig.status(simReady=True, registered=True)
    assert json.loads((rig.folder / "modem-pin").read_text()) == []


@pytest.mark.parametrize("answer", [cme(14), cme(515), b"\r\n+CME ERROR: SIM busy\r\n"])
async def test_a_busy_card_is_asked_again_as_long_as_it_is_busy_even_without_a_count(rig, answer):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', ERROR)
    rig.modem.set("AT+CPIN=", answer)
    await rig.drive(pin="1234")
    assert (await rig.refusal()).reason == "SIM BUSY"
    await rig.until(lambda: len(rig.pins()) >= 5)
    rig.modem.set("AT+CPIN=", "")
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN", "+CPIN: READY")
    await rig.status(simReady=True)


@pytest.mark.parametrize("answer", [cme(16), cme("incorrect password"), cme(12), cme("SIM PUK required")])
async def test_a_refusal_is_remembered_over_restarts(rig, answer):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', "+CPINR: SIM PIN,3,3")  # an old count: it does not matter
    rig.modem.set("AT+CPIN=", answer, "")
    for _ in range(3):
        await rig.drive(pin="1234")
        assert "has refused" in str(await rig.refusal())
    assert len(rig.pins()) == 1


@pytest.mark.parametrize("answer", [ERROR, cme(100)])
async def test_a_count_that_fell_is_a_refusal_whatever_the_answer_is(rig, answer):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', "+CPINR: SIM PIN,3,3", "+CPINR: SIM PIN,2,3")
    rig.modem.set("AT+CPIN=", answer)
    for _ in range(3):
        await rig.drive(pin="1234")
        assert "has refused" in str(await rig.refusal())
    assert len(rig.pins()) == 1


async def test_a_wrong_pin_does_not_block_the_card_though_the_count_is_an_old_one(rig):
    """A modem that says nothing but ERROR and counts from before: at most two of the three attempts are used."""
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', "+CPINR: SIM PIN,3,3")
    rig.modem.set("AT+CPIN=", ERROR)
    for _ in range(3):
        await rig.drive(pin="9999")
        await rig.until(lambda: len(rig.pins()) == 2)
        looks = rig.modem.count("AT+CSQ")
        await rig.until(lambda looks=looks: rig.modem.count("AT+CSQ") >= looks + 3)
    assert len(rig.pins()) == 2
    assert "may have refused" in str(await rig.refusal())


async def test_an_unclear_answer_without_a_count_uses_one_attempt_alone(rig):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set('AT+CPINR="SIM PIN"', ERROR)
    rig.modem.set("AT+CPIN=", ERROR)
    for _ in range(3):
        await rig.drive(pin="9999")
        await rig.until(lambda: rig.pins())
        assert (await rig.refusal()).reason == "SIM PIN"
    assert len(rig.pins()) == 1


@pytest.mark.parametrize(("lock", "marks"), [("+CLCK: 1", 0), ("+CLCK: 0", 1), (ERROR, 1)])
async def test_the_mark_behind_a_right_pin_goes_when_the_card_is_found_ready(rig, capsys, lock, marks):
    """The power failed after the card had taken the PIN; it still asks for one (27.007 section 7.4), so ours was it."""
    PinMemory(str(rig.folder)).remember("1234", "89999010000000000017", "trying", 3, 1)
    rig.modem.set('AT+CLCK="SC",2', lock)
    await rig.drive(pin="1234")
    await rig.status(registered=True, simReady=True)
    assert len(json.loads((rig.folder / "modem-pin").read_text())) == marks
    assert rig.pins() == []
    looks = rig.modem.count("AT+CSQ")
    await rig.until(lambda: rig.modem.count("AT+CSQ") >= looks + 3)
    assert rig.modem.count('AT+CLCK="SC",2') == 1
    assert len(capsys.readouterr().err.splitlines()) <= 1


async def test_a_mark_stays_when_no_pin_is_set(rig):
    PinMemory(str(rig.folder)).remember("1234", "89999010000000000017", "trying", 3, 1)
    await rig.drive(pin=None)
    await rig.status(registered=True, simReady=True)
    assert rig.modem.count('AT+CLCK="SC",2') == 0
    assert len(json.loads((rig.folder / "modem-pin").read_text())) == 1


async def test_a_refused_pin_stays_so_when_another_one_made_the_card_ready(rig):
    PinMemory(str(rig.folder)).remember("1234", "89999010000000000017", "refused", 3, 1)
    rig.modem.set('AT+CLCK="SC",2', "+CLCK: 1")
    await rig.drive(pin="1234")
    await rig.status(registered=True)
    assert len(json.loads((rig.folder / "modem-pin").read_text())) == 1


@pytest.mark.parametrize("number", [ERROR, "+CCID: NONE", "+CCID: 123", "\xb2\xb3", '+ICCID: "8999901000"'])
async def test_a_card_whose_number_cannot_be_read_gets_its_pin_once(rig, number):
    for command in ("AT+CCID", "AT+ICCID"):
        rig.modem.set(command, number)
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set("AT+CPIN=", cme(16))
    for readable in (False, True):
        if readable:
            rig.modem.set("AT+CCID", "+CCID: 89999010000000000017")
        await rig.drive(pin="9999")
        assert "has refused" in str(await rig.refusal())
    assert len(rig.pins()) == 1


MARK = {"state": "trying", "left": 3, "salt": "00" * 16, "pin": "00" * 32, "card": None}


@pytest.mark.parametrize(
    "marks",
    [
        *[7, {}, "x", [7], ["x"], [None], [[]], [{}], [dict(MARK, salt=7)], [dict(MARK, pin=None)]],
        *[[dict(MARK, left="3")], [dict(MARK, state=7)], [dict(MARK, state="done")], [dict(MARK, tries="1")]],
        *[[dict(MARK, salt="zz" * 16)], [dict(MARK, card=7)], [dict(MARK, more=1)], [MARK] * 17],
        *[[dict(MARK, left=-1)], [dict(MARK, left=10)], [dict(MARK, tries=-1)], [dict(MARK, tries=10)]],
        *[[dict(MARK, salt="0" * length)] for length in (31, 33)],
        *[[dict(MARK, **{name: "0" * length})] for name in ("pin", "card") for length in (63, 65)],
    ],
)
async def test_marks_of_wrong_types_are_on_the_safe_side(rig, marks):
    (rig.folder / "modem-pin").write_text(json.dumps(marks))
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    await rig.drive(pin="1234")
    assert "remove the file modem-pin" in str(await rig.refusal())
    assert rig.pins() == []


@pytest.mark.parametrize("marks", [[dict(MARK, left=0, tries=0)], [dict(MARK, left=9, tries=9)], [MARK] * 16])
async def test_marks_of_other_pins_do_not_hinder_this_one(rig, marks):
    (rig.folder / "modem-pin").write_text(json.dumps(marks))
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN", "+CPIN: READY")
    await rig.drive(pin="1234")
    await rig.status(simReady=True)


async def test_why_the_card_is_not_used_is_one_sentence(rig):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    await rig.drive()
    assert str(await rig.refusal()) == "the SIM card asks for its PIN: setting gsm.pin"


async def test_marks_that_an_older_firmware_made_are_read(rig):
    memory = PinMemory(str(rig.folder))
    memory.remember("1234", "89999010000000000017", "refused", 3, 1)
    marks = json.loads((rig.folder / "modem-pin").read_text())
    del marks[0]["tries"]
    (rig.folder / "modem-pin").write_text(json.dumps(marks))
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    await rig.drive(pin="1234")
    assert "has refused" in str(await rig.refusal())


@pytest.mark.parametrize(
    ("answer", "reason", "words"),
    [
        ("+CPIN: NOT READY", "NOT READY", "not ready yet"),
        ("+CPIN: NOT INSERTED", "NO SIM", "no SIM card is in"),
        (cme(10), "NO SIM", "no SIM card is in"),
        (cme("SIM not inserted"), "NO SIM", "no SIM card is in"),
        (cme(14), "SIM BUSY", "is busy"),
        (cme(515), "SIM BUSY", "is busy"),
        (cme(13), "SIM FAILURE", "the SIM card fails"),
        (cme(12), "SIM PUK", "asks for the PUK"),
        (ERROR, "UNKNOWN", "does not tell"),
        ("+CPIN: PH-NET PIN", "PH-NET PIN", "asks for PH-NET PIN"),
    ],
)
async def test_what_a_sim_card_is_in_has_words_of_its_own(rig, answer, reason, words):
    rig.modem.set("AT+CPIN?", answer)
    await rig.drive(pin="1234")
    failure = await rig.refusal()
    assert (failure.reason, words in str(failure)) == (reason, True)
    assert rig.pins() == []


# Messages


@pytest.mark.parametrize("busy", [b"!\r\n+CMS ERROR: 314\r\n", b"!" + cme(14), b"\r\n+CMS ERROR: 314\r\n"])
async def test_a_card_that_is_busy_is_waited_for(rig, busy):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", busy, busy, busy, b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
    await rig.part.send_sms(PHONE, "x")
    assert sum(line.startswith("AT+CMGS=") for line in rig.modem.heard) == 4


async def test_a_card_that_stays_busy_is_not_waited_for_without_end(rig):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", b"!\r\n+CMS ERROR: 314\r\n")
    with pytest.raises(ModemFailed, match="314"):
        await rig.part.send_sms(PHONE, "x")
    assert sum(line.startswith("AT+CMGS=") for line in rig.modem.heard) == sms_sender.BUSY_TRIES


async def test_ok_without_a_reference_does_not_count_as_sent(rig):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", b"\r\nOK\r\n")
    with pytest.raises(ModemFailed, match="does not say that the network has taken") as caught:
        await rig.part.send_sms(PHONE, "x")
    assert caught.value.reason == "NO REFERENCE"


@pytest.mark.parametrize(("code", "tries"), [(38, 2), (41, 2), (42, 2), (47, 2), (331, 2), (332, 1), (500, 1), (21, 1)])
async def test_a_message_that_may_have_gone_is_not_sent_twice(rig, code, tries):
    """27.005 section 3.2.5: after a time-out of the network and after an unknown error it may be on its way."""
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", f"\r\n+CMS ERROR: {code}\r\n".encode())
    with pytest.raises(ModemFailed, match=str(code)):
        await rig.part.send_sms(PHONE, "x")
    assert sum(line.startswith("AT+CMGS=") for line in rig.modem.heard) == tries


async def test_without_pdu_mode_a_text_that_does_not_fit_is_refused_before_it_is_sent(rig):
    """80 letters of the GSM alphabet that are no ASCII fit one message in PDU mode; in text mode they go as UCS-2."""
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGF=0", b"\r\n+CMS ERROR: 303\r\n")
    await rig.part.send_sms(PHONE, "é" * 70)
    with pytest.raises(ModemFailed, match="sends 70 of such characters"):
        await rig.part.send_sms(PHONE, "é" * 71)
    assert sum(line.startswith("AT+CMGS=") for line in rig.modem.heard) == 1


# Cancellation and late answers


async def test_a_cancelled_message_ends_as_cancelled_and_its_late_answer_is_nobody_elses(rig):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", b"", b"\r\n+CMGS: 9\r\n\r\nOK\r\n")
    sending = asyncio.create_task(rig.part.send_sms(PHONE, "x"))
    await rig.until(lambda: any(line.startswith("0001") for line in rig.modem.heard))
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    rig.modem.say(b"\r\n+CMS ERROR: 500\r\n")
    await rig.part.send_sms(PHONE, "y")


@pytest.mark.parametrize("moment", range(6))
async def test_stopping_at_any_moment_stops(rig, moment):
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set("AT+CPIN=", b"")
    await rig.drive(pin="1234")
    for _ in range(moment * 3):
        await asyncio.sleep(0.001)
    async with asyncio.timeout(5):
        await rig.part.stop()
    with pytest.raises(NoModem, match="switched off"):
        await rig.part.status()


# Transcripts


@pytest.mark.parametrize("model", MODELS)
async def test_a_modem_comes_up_that_says_what_this_model_has_been_heard_to_say(rig, model):
    told = MODELS[model]
    for command, answers in told["answers"].items():
        rig.modem.set(command, *(answers if isinstance(answers, list) else [answers]))
    await rig.drive(pin=told.get("pin"), apn="internet")
    rig.modem.say("".join(f"\r\n{line}\r\n" for line in told.get("begins", [])).encode())
    status = await rig.status(**told["known"])
    assert status["imei"] == "001015000000015"
    assert await rig.part.send_sms(PHONE, "x") == 1


@pytest.mark.parametrize("make", CARD_NUMBERS)
async def test_a_card_is_known_by_its_number_as_each_make_tells_it(rig, make):
    command, line = CARD_NUMBERS[make]
    for other, _ in CARD_NUMBERS.values():
        rig.modem.set(other, ERROR)
    rig.modem.set("AT+CPIN?", "+CPIN: SIM PIN")
    rig.modem.set("AT+CPIN=", cme(16))
    for digit, tries in ((1, 1), (1, 1), (2, 2), (1, 2)):
        rig.modem.set(command, line.format(digit))
        await rig.drive(pin="1234")
        assert "has refused" in str(await rig.refusal())
        assert len(rig.pins()) == tries


@pytest.mark.parametrize("make", REFUSALS)
async def test_a_refused_message_is_told_at_once_in_the_words_of_its_modem(rig, make):
    await rig.drive()
    await rig.status(registered=True)
    rig.modem.set("AT+CMGS", f"\r\n{REFUSALS[make]}\r\n".encode())
    async with asyncio.timeout(5):
        with pytest.raises(ModemFailed, match=REFUSALS[make].rpartition(" ")[2]):
            await rig.part.send_sms(PHONE, "x")
