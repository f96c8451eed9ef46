"""AT commands against a peer that answers to the letter what the test says, on a pty."""

import asyncio
import gc
import os
import random
import re
import tty

import pytest

from hal.contracts import NoModem
from hal.gsm import at
from hal.gsm.at import AtError, AtSilent
from hal.linux.modem import TtyAtPort


class Peer:
    """The modem's end of the pty: `script` holds, for each thing that is heard, what to say."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self.heard = b""  # since the script last went on
        self.questions = b""  # all of it
        self.script = []  # (what is heard at the end, what is said)
        asyncio.get_running_loop().add_reader(self.master, self._hear)

    def say(self, data):
        os.write(self.master, data)

    def expect(self, heard, *said):
        """When this has been heard, say that, in pieces if there are several."""
        self.script.append((heard, said))

    def _hear(self):
        data = os.read(self.master, 4096)
        self.questions += data
        self.heard += data
        while self.script and self.script[0][0] in self.heard:
            heard, said = self.script.pop(0)
            self.heard = self.heard.partition(heard)[2]
            asyncio.get_running_loop().create_task(self._say(said))

    async def _say(self, pieces):
        for piece in pieces:
            self.say(piece)
            await asyncio.sleep(0.002)

    def hang_up(self):
        asyncio.get_running_loop().remove_reader(self.master)
        os.close(self.slave)
        os.close(self.master)
        self.master = None

    def close(self):
        if self.master is not None:
            self.hang_up()


class Rig:
    def __init__(self):
        self.peer = Peer()
        self.unsolicited = []
        self.gone = 0
        self.port = TtyAtPort(self.peer.path, 115200, self.unsolicited.append, self._gone)

    def _gone(self):
        self.gone += 1


@pytest.fixture
async def rig(monkeypatch):
    monkeypatch.setattr(at, "SYNC_SEC", 0.2)
    monkeypatch.setattr(at, "QUIET_SEC", 0.01)
    monkeypatch.setattr(at, "PROMPT_SEC", 0.2)
    rig = Rig()
    yield rig
    rig.port.close()
    rig.peer.close()


CSQ = ("AT+CSQ", r"\+CSQ: ?\d+,")


async def test_an_answer_is_its_lines_and_its_result(rig):
    rig.peer.expect(b"AT+CSQ\r", b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]
    assert rig.unsolicited == []


async def test_an_echo_is_no_answer(rig):
    rig.peer.expect(b"AT+CSQ\r", b"AT+CSQ\r\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]
    assert (rig.unsolicited, rig.port.echoes) == ([], 1)


async def test_an_answer_may_come_byte_by_byte(rig):
    answer = b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n"
    rig.peer.expect(b"AT+CSQ\r", *[answer[at : at + 1] for at in range(len(answer))])
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]


async def test_lines_that_nobody_asked_for_may_stand_anywhere(rig):
    answer = b'\r\nRING\r\n\r\n+CSQ: 18,99\r\n\r\n+CMTI: "SM",3\r\n\r\n^RSSI: 7\r\n\r\nOK\r\n'
    rig.peer.expect(b"AT+CSQ\r", answer)
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]
    assert rig.unsolicited == ["RING", '+CMTI: "SM",3', "^RSSI: 7"]


async def test_a_change_of_registration_is_not_the_answer_to_the_question_for_it(rig):
    rig.peer.expect(b"AT+CREG?\r", b'\r\n+CREG: 5,"1A2B","00C3"\r\n\r\n+CREG: 1,5\r\n\r\n+CREG: 5\r\n\r\nOK\r\n')
    assert await rig.port.command("AT+CREG?", r"\+CREG: ?\d, ?\d") == ["+CREG: 1,5"]
    assert len(rig.unsolicited) == 2


async def test_the_text_of_a_message_that_comes_in_is_no_result(rig):
    rig.peer.expect(b"AT+CSQ\r", b'\r\n+CMT: "+48600100200",,"26/11/23"\r\nOK\r\n+CSQ: 18,99\r\n\r\nOK\r\n')
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]
    assert rig.unsolicited[1] == "OK"


@pytest.mark.parametrize(
    ("result", "code"), [("ERROR", None), ("+CME ERROR: 10", 10), ("+CMS ERROR: 331", 331), ("+CME ERROR: busy", None)]
)
async def test_a_refusal_says_what_the_modem_said(rig, result, code):
    rig.peer.expect(b"AT+X\r", f"\r\n{result}\r\n".encode())
    with pytest.raises(AtError) as caught:
        await rig.port.command("AT+X")
    assert (caught.value.result, caught.value.code()) == (result, code)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("operation not allowed", 3),
        ("operation not supported", 4),
        ("SIM not inserted", 10),
        ("SIM PIN required", 11),
        ("SIM PUK required", 12),
        ("SIM failure", 13),
        ("SIM busy", 14),
        ("SIM wrong", 15),
        ("incorrect password", 16),
        ("unknown", 100),
    ],
)
def test_an_error_in_words_has_the_number_of_the_specification(words, code):
    """3GPP TS 27.007, section 9.2.1."""
    assert AtError(f"+CME ERROR: {words}").code() == code


async def test_a_late_answer_is_not_taken_for_the_next_one(rig):
    with pytest.raises(AtSilent):
        await rig.port.command("AT+CGACT=1,1", seconds=0.02)
    rig.peer.expect(b"AT+CMEE?\r", b"\r\nERROR\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n")
    rig.peer.expect(b"AT+CSQ\r", b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]


async def test_a_late_ok_is_not_taken_for_the_next_one(rig):
    with pytest.raises(AtSilent):
        await rig.port.command("AT+CGATT=1", seconds=0.02)
    rig.peer.expect(b"AT+CMEE?\r", b"\r\nOK\r\n", b"\r\n+CMEE: 1\r\n", b"\r\nOK\r\n")
    rig.peer.expect(b"AT+CFUN=9\r", b"\r\nERROR\r\n")
    with pytest.raises(AtError):
        await rig.port.command("AT+CFUN=9")


@pytest.mark.parametrize("first", [[b"\r\nOK\r\n"], []])
async def test_the_answer_to_an_earlier_question_is_not_taken_for_that_to_the_last(rig, first):
    """The modem answers the first question only after the second was asked, and that one later still."""
    with pytest.raises(AtSilent):
        await rig.port.command("AT+CGATT=1", seconds=0.02)
    rig.peer.expect(b"AT+CMEE?\r", *first)
    rig.peer.expect(b"AT+CMEE?\r", b"\r\n+CMEE: 1\r\n\r\nOK\r\n", *[b""] * 20, b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    rig.peer.expect(b"AT+CSQ\r", *[b""] * 40, b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")  # after all that is late
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]


async def test_a_modem_that_refuses_the_question_is_settled_when_it_is_quiet(rig):
    with pytest.raises(AtSilent):
        await rig.port.command("AT+CGATT=1", seconds=0.02)
    for _ in range(at.SYNC_TRIES):
        rig.peer.expect(b"AT+CMEE?\r", b"\r\nERROR\r\n")
    rig.peer.expect(b"AT+CSQ\r", b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]


async def test_a_modem_that_answers_the_question_is_not_asked_it_again(rig):
    with pytest.raises(AtSilent):
        await rig.port.command("AT+CGATT=1", seconds=0.02)
    rig.peer.expect(b"AT+CMEE?\r", b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    rig.peer.expect(b"AT+CSQ\r", b"\r\n+CSQ: 18,99\r\n\r\nOK\r\n")
    assert await rig.port.command(*CSQ) == ["+CSQ: 18,99"]
    assert rig.peer.questions.count(b"AT+CMEE?\r") == 1


async def test_a_prod_is_sent_though_nothing_may_answer_it(rig):
    await rig.port.prod("AT&F")
    for _ in range(100):
        await asyncio.sleep(0.005)
        if rig.peer.heard:
            break
    assert rig.peer.heard == b"AT&F\r"


async def test_a_prompt_that_nobody_waits_for_costs_none_of_what_follows(rig):
    rig.peer.say(b"\r\n>\r\n+CREG: 1\r\n")
    for _ in range(100):
        await asyncio.sleep(0.005)
        if "+CREG: 1" in rig.unsolicited:
            break
    assert "+CREG: 1" in rig.unsolicited


async def test_a_modem_that_is_silent_for_good_is_told(rig):
    with pytest.raises(AtSilent):
        await rig.port.command("AT", seconds=0.02)
    with pytest.raises(AtSilent):
        await rig.port.command("AT", seconds=0.02)
    assert b"AT+CMEE?\r" in rig.peer.heard


async def test_a_message_is_typed_at_the_prompt(rig):
    rig.peer.expect(b"AT+CMGS=23\r", b"\r\n> ")
    rig.peer.expect(b"0001AB\x1a", b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
    assert await rig.port.submit("AT+CMGS=23", "0001AB", r"\+CMGS: ?\d+", 5) == ["+CMGS: 7"]


@pytest.mark.parametrize("prompt", [b"\r\n>\r\n", b"AT+CMGS=23\r\r\n> ", b"\r\n^BOOT: 1\r\n\r\n> ", b"> "])
async def test_prompts_come_in_several_shapes(rig, prompt):
    rig.peer.expect(b"AT+CMGS=23\r", prompt)
    rig.peer.expect(b"0001AB\x1a", b"\r\n+CMGS: 7\r\n\r\nOK\r\n")
    assert await rig.port.submit("AT+CMGS=23", "0001AB", r"\+CMGS: ?\d+", 5) == ["+CMGS: 7"]


async def test_a_message_that_is_refused_at_once_gets_no_text(rig):
    rig.peer.expect(b"AT+CMGS=23\r", b"\r\n+CMS ERROR: 331\r\n")
    with pytest.raises(AtError, match="331"):
        await rig.port.submit("AT+CMGS=23", "0001AB", "", 5)
    assert b"0001AB" not in rig.peer.heard


async def test_without_a_prompt_the_text_is_not_sent_and_the_prompt_is_left(rig):
    rig.peer.expect(b"AT+CMGS=23\r")
    with pytest.raises(AtSilent):
        await rig.port.submit("AT+CMGS=23", "0001AB", "", 5)
    rig.peer.expect(b"\x1b\rAT+CMEE?\r", b"\r\n> \r\nOK\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n")
    rig.peer.expect(b"AT\r", b"\r\nOK\r\n")
    assert await rig.port.command("AT") == []
    assert b"0001AB" not in rig.peer.heard


@pytest.mark.parametrize("answer", [b"\r\nOK\r\n", b"\r\nOK\r\n\r\n> "])
async def test_an_ok_in_place_of_a_prompt_does_not_count_as_sent(rig, answer):
    rig.peer.expect(b"AT+CMGS=23\r", answer)
    with pytest.raises(AtError, match="without a prompt"):
        await rig.port.submit("AT+CMGS=23", "0001AB", r"\+CMGS: ?\d+", 5)
    rig.peer.expect(b"\x1b\rAT+CMEE?\r", b"\r\n+CMEE: 1\r\n\r\nOK\r\n")
    rig.peer.expect(b"AT\r", b"\r\nOK\r\n")
    assert await rig.port.command("AT") == []
    assert b"0001AB" not in rig.peer.heard


async def test_commands_of_several_users_go_one_after_another(rig):
    for number in range(5):
        rig.peer.expect(f"AT+X={number}\r".encode(), f"\r\n+X: {number}\r\n\r\nOK\r\n".encode())
    asked = [rig.port.command(f"AT+X={number}", r"\+X:") for number in range(5)]
    assert await asyncio.gather(*asked) == [[f"+X: {number}"] for number in range(5)]


async def test_a_port_that_vanishes_ends_the_command_at_once(rig):
    asking = asyncio.create_task(rig.port.command("AT", seconds=30))
    await asyncio.sleep(0.01)
    rig.peer.hang_up()
    with pytest.raises(NoModem, match="gone"):
        await asyncio.wait_for(asking, 5)
    assert (rig.gone, rig.port.is_open) == (1, False)
    with pytest.raises(NoModem, match="gone"):
        await rig.port.command("AT")


async def test_a_port_that_vanishes_before_a_command_leaves_no_error_that_nobody_fetches():
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["message"]))
    rig = Rig()
    rig.peer.hang_up()
    with pytest.raises(NoModem, match="gone"):
        await rig.port.command("AT")
    assert rig.gone == 1
    del rig
    gc.collect()
    assert told == []


async def test_a_user_who_gives_up_leaves_the_port_usable(rig):
    asking = asyncio.create_task(rig.port.command("AT+COPS=?", seconds=30))
    await asyncio.sleep(0.01)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    rig.peer.expect(b"AT+CMEE?\r", b'\r\n+COPS: (2,"A")\r\n\r\nOK\r\n\r\n+CMEE: 1\r\n\r\nOK\r\n')
    rig.peer.expect(b"AT\r", b"\r\nOK\r\n")
    assert await rig.port.command("AT") == []


async def test_noise_and_endless_lines_neither_crash_nor_fill_memory(rig, monkeypatch):
    count = []
    read = os.read
    monkeypatch.setattr(os, "read", lambda *which: count.append(read(*which)) or count[-1])

    def taken():
        return sum(map(len, count))

    noise = random.Random(7).randbytes(20000).replace(b"\r", b"").replace(b"\n", b"")
    for start in range(0, len(noise), 500):
        rig.peer.say(noise[start : start + 500])
        while len(noise[: start + 500]) > taken():
            await asyncio.sleep(0.001)
    assert len(rig.port._buffer) <= 2048 + 4096
    rig.peer.say(b"\r\n")
    rig.peer.expect(b"AT\r", b"\xff\x00\x80\r\nOK\r\n")
    assert await rig.port.command("AT") == []
    rig.peer.expect(b"AT+X\r", *[b"\r\n+X: 1\r\n"] * 100, b"\r\nOK\r\n")
    assert len(await rig.port.command("AT+X", r"\+X")) == 64


async def test_a_second_opener_is_kept_out(rig):
    with pytest.raises(NoModem, match=re.escape(rig.peer.path)):
        TtyAtPort(rig.peer.path, 115200, print, print)


async def test_a_port_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NoModem, match="ttyUSB9 cannot be opened"):
        TtyAtPort(str(tmp_path / "ttyUSB9"), 115200, print, print)
