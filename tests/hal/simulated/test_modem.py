"""The fake modem, driven raw through its pty as a terminal would: what tests of the driver take on trust."""

import asyncio
import contextlib
import os
import re
import termios
import time

import pytest

from hal.contracts import NoModem
from hal.simulated.modem.fake import FakeModem
from hal.simulated.modem.part import SimulatedModem

_PATIENCE = 5  # seconds until a wait is given up
_HELLO = "0011000B916407281553F80000AA0AE8329BFD4697D9EC37"  # "hellohello" to +46708251358
_OK = b"\r\nOK\r\n"


class Terminal:
    """A terminal on the modem's tty: writes bytes, collects what comes back."""

    def __init__(self, path: str):
        self.seen = b""
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def close(self) -> None:
        """Let the tty go."""
        os.close(self._descriptor)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        os.write(self._descriptor, data)

    def read(self) -> bytes:
        """What is there now."""
        with contextlib.suppress(BlockingIOError):
            self.seen += os.read(self._descriptor, 4096)
        return self.seen

    async def until(self, pattern: bytes) -> bytes:
        """Everything up to and with a regular expression, which is taken off."""
        deadline = time.monotonic() + _PATIENCE
        while not (match := re.search(pattern, self.read(), re.DOTALL)):
            assert time.monotonic() < deadline, f"waiting for {pattern!r}, got {self.seen!r}"
            await asyncio.sleep(0.001)
        taken, self.seen = self.seen[: match.end()], self.seen[match.end() :]
        return taken

    async def ask(self, line: str) -> bytes:
        """The answer to a command line, with its final result."""
        self.write(line.encode() + b"\r")
        return await self.until(rb"\r\n(OK|ERROR|\+CM[ES] ERROR: [^\r]+)\r\n")

    async def type(self, line: str, body: bytes) -> bytes:
        """The answer to a message typed at the prompt of a command line."""
        self.write(line.encode() + b"\r")
        await self.until(rb"\r\n> $")
        self.write(body)
        return await self.until(rb"\r\n(OK|ERROR|\+CM[ES] ERROR: [^\r]+)\r\n")

    async def send_pdu(self, pdu: str, length: "int | None" = None) -> bytes:
        """The answer to a message in PDU mode without a service centre's address."""
        return await self.type(f"AT+CMGS={length or len(pdu) // 2 - 1}", pdu.encode() + b"\x1a")

    def hung_up(self) -> bool:
        """Whether the other end has gone."""
        try:
            return os.read(self._descriptor, 1) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True


@contextlib.asynccontextmanager
async def modem_and_terminal(tmp_path, **options):
    """A started modem, and a terminal on it that has read the boot messages and switched echo off."""
    modem = FakeModem(str(tmp_path / "modem"), **options)
    await modem.start()
    terminal = Terminal(str(tmp_path / "modem"))
    try:
        await terminal.until(rb"\r\nRDY\r\n\r\n\+CPIN: [A-Z ]+\r\n")
        assert await terminal.ask("ATE0+CMEE=1") == b"ATE0+CMEE=1\r\r\nOK\r\n"
        yield modem, terminal
    finally:
        terminal.close()
        await modem.stop()


async def registered(modem: FakeModem) -> None:
    """Wait until the modem has found its network."""
    deadline = time.monotonic() + _PATIENCE
    while modem.state.registered() is None:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def test_characters_come_back_until_echo_is_switched_off(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        assert await terminal.ask("AT") == _OK
        assert await terminal.ask("ATE1") == _OK
        assert await terminal.ask("AT") == b"AT\r" + _OK


async def test_a_modem_whose_echo_is_stuck_goes_on_echoing(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["echo", "stuck"])
        await terminal.ask("ATE0")
        assert await terminal.ask("AT") == b"AT\r" + _OK


async def test_line_feeds_blanks_and_case_do_not_matter_and_backspace_erases(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        terminal.write(b"\nat + c s q\r\n")
        assert await terminal.until(_OK) == b"\r\n+CSQ: 17,0\r\n" + _OK
        terminal.write(b"AT+CSX\x08Q\r")
        assert await terminal.until(_OK) == b"\r\n+CSQ: 17,0\r\n" + _OK


async def test_several_commands_in_a_line_have_one_result_and_end_at_the_first_error(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        assert await terminal.ask('AT+CSQ;+CSCS="UCS2";+CSCS?') == b'\r\n+CSQ: 17,0\r\n\r\n+CSCS: "UCS2"\r\n' + _OK
        assert await terminal.ask('AT+CSQ;+NONE;+CSCS="IRA"') == b"\r\n+CSQ: 17,0\r\n\r\nERROR\r\n"
        assert await terminal.ask("AT+CSCS?") == b'\r\n+CSCS: "UCS2"\r\n' + _OK


async def test_a_line_that_is_no_command_gets_no_answer_and_an_endless_one_an_error(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        terminal.write(b"hello\r")
        assert await terminal.ask("AT") == _OK
        terminal.write(b"AT" + b"9" * 3000 + b"\r")
        assert await terminal.until(rb"ERROR\r\n") == b"\r\nERROR\r\n"
        assert await terminal.ask("AT") == _OK


async def test_errors_are_plain_numbers_or_text_by_cmee(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (_, terminal):
        for mode, answer in ((0, b"ERROR"), (1, b"+CME ERROR: 11"), (2, b"+CME ERROR: SIM PIN required")):
            await terminal.ask(f"AT+CMEE={mode}")
            assert await terminal.ask("AT+COPS?") == b"\r\n" + answer + b"\r\n"
        assert await terminal.ask("AT+CMGS=23") == b"\r\n+CMS ERROR: SIM PIN required\r\n"


async def test_an_unknown_command_is_a_plain_error_whatever_cmee_says(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        assert await terminal.ask("AT+NONE") == b"\r\nERROR\r\n"
        assert await terminal.ask("AT+CSQ=5") == b"\r\nERROR\r\n"
        assert await terminal.ask('AT+CSCS="UCS2') == b"\r\nERROR\r\n"


async def test_network_commands_wait_for_the_pin(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        for command in ("+CREG?", "+CEREG=1", "+COPS?", '+CGDCONT=1,"IP","internet"', "+CGACT?", "+CGPADDR=1"):
            assert await terminal.ask("AT" + command) == b"\r\n+CME ERROR: 11\r\n"
        assert await terminal.ask("AT+CMGF=0") == b"\r\n+CMS ERROR: 311\r\n"
        assert await terminal.ask('AT+CPIN="1234"') == _OK
        await terminal.until(rb"\+CPIN: READY\r\n")
        await registered(modem)
        assert await terminal.ask("AT+CREG?") == b"\r\n+CREG: 0,1\r\n" + _OK


async def test_three_wrong_pins_need_the_puk(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234", puk="87654321") as (modem, terminal):
        for left in (2, 1, 0):
            assert await terminal.ask('AT+CPIN="9999"') == b"\r\n+CME ERROR: 16\r\n"
            assert f"+CPINR: SIM PIN,{left},3".encode() in await terminal.ask("AT+CPINR")
        assert b"+CPIN: SIM PUK\r\n" in await terminal.ask("AT+CPIN?")
        assert await terminal.ask('AT+CPIN="1234"') == b"\r\n+CME ERROR: 12\r\n"
        assert await terminal.ask("AT+CREG?") == b"\r\n+CME ERROR: 12\r\n"
        assert await terminal.ask('AT+CPIN="11111111","4321"') == b"\r\n+CME ERROR: 16\r\n"
        assert await terminal.ask('AT+CPIN="87654321","4321"') == _OK
        assert b"+CPIN: READY\r\n" in await terminal.ask("AT+CPIN?")
        assert modem.pin_tries == 6


async def test_a_right_pin_gives_three_tries_again_and_a_reset_does_not(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        await terminal.ask('AT+CPIN="9999"')
        await modem.control(["reset"])
        await terminal.until(rb"RDY.*SIM PIN\r\n")
        assert b"+CPINR: SIM PIN,2,3" in await terminal.ask('AT+CPINR="SIM PIN"')
        await terminal.ask('AT+CPIN="1234"')
        assert b"+CPINR: SIM PIN,3,3" in await terminal.ask('AT+CPINR="SIM PIN"')


async def test_ten_wrong_puks_end_the_card(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["sim", "puk"])
        await terminal.until(rb"\+CPIN: SIM PUK\r\n")
        for _ in range(10):
            assert await terminal.ask('AT+CPIN="00000000","1234"') == b"\r\n+CME ERROR: 16\r\n"
        assert await terminal.ask("AT+CPIN?") == b"\r\n+CME ERROR: 13\r\n"


async def test_no_pin_is_kept_among_the_commands(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        await terminal.ask('at + cpin = "4711";+CSQ')
        await terminal.ask('AT+CSQ;+CPIN="87654321","4712"')
        assert modem.commands[-2:] == ["AT+cpin=****;+CSQ", "AT+CSQ;+CPIN=****"]


async def test_a_new_card_has_its_own_number_and_the_same_one_keeps_its_tries(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        await terminal.ask('AT+CPIN="9999"')
        first = await terminal.ask("AT+CCID")
        await modem.control(["sim", "out"])
        await terminal.until(rb"NOT INSERTED\r\n")
        assert await terminal.ask("AT+CPIN?") == b"\r\n+CME ERROR: 10\r\n"
        await modem.control(["sim", "in"])
        await terminal.until(rb"\+CPIN: SIM PIN\r\n")
        assert await terminal.ask("AT+CCID") == first
        assert b"SIM PIN,2,3" in await terminal.ask("AT+CPINR")
        await modem.control(["sim", "pin", "2468"])
        await terminal.until(rb"\+CPIN: SIM PIN\r\n")
        assert await terminal.ask("AT+CCID") != first
        assert b"SIM PIN,3,3" in await terminal.ask("AT+CPINR")
        assert await terminal.ask('AT+CPIN="2468"') == _OK


async def test_the_card_file_holds_the_number_with_swapped_digits(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        number = re.search(rb"\+CCID: ([0-9]{19,20})\r", await terminal.ask("AT+CCID"))[1].decode()
        stored = re.search(rb'\+CRSM: 144,0,"(.{20})"', await terminal.ask("AT+CRSM=176,12258,0,0,10"))[1].decode()
        assert "".join(stored[i + 1] + stored[i] for i in range(0, 20, 2)).rstrip("F") == number


async def test_registration_is_told_when_it_changes_in_the_form_that_was_asked_for(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask("AT+CREG=1;+CGREG=0;+CEREG=2")
        await modem.control(["network", "lte"])
        assert await terminal.until(rb"CEREG: .*\r\n") == (b'\r\n+CREG: 0\r\n\r\n+CEREG: 1,"00C3","0000A1B2",7\r\n')
        await modem.control(["network", "roaming"])
        assert await terminal.until(rb"CEREG: .*\r\n") == b"\r\n+CREG: 5\r\n\r\n+CEREG: 0\r\n"
        assert await terminal.ask("AT+CREG?") == b"\r\n+CREG: 1,5\r\n" + _OK
        await modem.control(["network", "denied"])
        assert b"+CREG: 3\r\n" in await terminal.until(rb"CEREG: 3\r\n")
        assert await terminal.ask("AT+COPS?") == b"\r\n+COPS: 0\r\n" + _OK


async def test_the_operator_comes_in_the_format_and_character_set_asked_for(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert await terminal.ask("AT+COPS=3,0;+COPS?") == b'\r\n+COPS: 0,0,"Simulated",0\r\n' + _OK
        assert await terminal.ask("AT+COPS=3,2;+COPS?") == b'\r\n+COPS: 0,2,"00101",0\r\n' + _OK
        await terminal.ask('AT+CSCS="UCS2"')
        name = "Simulated".encode("utf-16-be").hex().upper().encode()
        assert name in await terminal.ask("AT+COPS=3,0;+COPS?")


async def test_a_data_connection_has_an_address_until_the_network_drops_it(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert await terminal.ask("AT+CGACT=1,1") == b"\r\n+CME ERROR: 50\r\n"
        assert await terminal.ask('AT+CGDCONT=1,"IP","internet";+CGAUTH=1,1,"user","secret"') == _OK
        assert modem.state.contexts[1].login == (1, "user", "secret")
        assert "secret" not in modem.commands[-1]
        assert await terminal.ask("AT+CGPADDR=1") == b"\r\n+CGPADDR: 1\r\n" + _OK
        assert await terminal.ask("AT+CGACT=1,1") == _OK
        assert await terminal.ask("AT+CGPADDR=1") == b'\r\n+CGPADDR: 1,"10.64.0.2"\r\n' + _OK
        await modem.control(["data", "drop"])
        await terminal.until(rb"\+CGEV: NW DEACT [^\r]+\r\n")
        assert await terminal.ask("AT+CGACT?") == b"\r\n+CGACT: 1,0\r\n" + _OK
        await modem.control(["network", "lost"])
        assert await terminal.ask("AT+CGACT=1,1") == b"\r\n+CME ERROR: 30\r\n"


async def test_a_modem_may_lack_commands(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        for name in ("cpinr", "cgauth"):
            assert await terminal.ask(f"AT+{name}=?") == _OK
            await modem.control([name, "off"])
            assert await terminal.ask(f"AT+{name}=?") == b"\r\nERROR\r\n"


async def test_a_message_in_septets_is_read(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert re.fullmatch(rb"\r\n\+CMGS: \d+\r\n\r\nOK\r\n", await terminal.send_pdu(_HELLO))
        assert modem.sent == [("+46708251358", "hellohello", 1, "pdu")]
        assert await modem.control(["outbox"]) == "+46708251358 (1 part) hellohello"


async def test_a_service_centre_in_front_does_not_count_in_the_length(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert (await terminal.send_pdu("07919471060040F4" + _HELLO[2:], 23)).endswith(_OK)
        assert modem.sent[-1].text == "hellohello"


async def test_escaped_characters_are_read(tmp_path):
    # "€[" is 1B 65 1B 3C in septets
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        septets = (0x1B | 0x65 << 7 | 0x1B << 14 | 0x3C << 21).to_bytes(4, "little").hex()
        assert (await terminal.send_pdu("0001000B916407281553F8000004" + septets)).endswith(_OK)
        assert modem.sent[-1].text == "€["


async def test_a_message_in_ucs2_is_read(tmp_path):
    # "Привет" and a character beyond 16 bits, as UTF-16 to 12345, a national number with an odd count of digits
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        pdu = "000100" + "0581" + "2143F5" + "0008" + "10" + "041F04400438043204350442" + "D83DDE00"
        assert (await terminal.send_pdu(pdu)).endswith(_OK)
        assert modem.sent[-1] == ("12345", "Привет\U0001f600", 1, "pdu")


async def test_parts_are_put_together_in_whatever_order_they_come(tmp_path):
    # header of 6 octets, one fill bit: "ab" follows from bit 49, that is 8 + 2 septets; 05 00 03 reference, total, part
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        for number, text in ((2, "cd"), (1, "ab")):
            header = bytes([5, 0, 3, 0x2A, 2, number])
            bits = int.from_bytes(header, "little") | ord(text[0]) << 49 | ord(text[1]) << 56
            pdu = "0041000B916407281553F8000009" + bits.to_bytes(8, "little").hex()
            assert (await terminal.send_pdu(pdu)).endswith(_OK)
            assert len(modem.sent) == number % 2
        assert modem.sent == [("+46708251358", "abcd", 2, "pdu")]


async def test_parts_in_ucs2_with_a_wide_reference_are_put_together(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        for number, text in ((1, "zażółć "), (2, "gęślą")):
            body = bytes([6, 8, 4, 0x12, 0x34, 2, number]) + text.encode("utf-16-be")
            await terminal.send_pdu("0041000B916407281553F80008" + bytes([len(body), *body]).hex())
        assert await modem.control(["outbox"]) == "+46708251358 (2 parts) zażółć gęślą"


async def test_a_character_torn_between_two_parts_is_lost_as_on_a_telephone(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        for number, half in ((1, "D83D"), (2, "DE00")):
            body = bytes([5, 0, 3, 1, 2, number]) + bytes.fromhex(half)
            await terminal.send_pdu("0041000B916407281553F80008" + bytes([len(body), *body]).hex())
        assert modem.sent[-1].text == "\ufffd\ufffd"


@pytest.mark.parametrize(
    ("pdu", "length"),
    [
        (_HELLO, 22),  # the length does not fit the PDU
        (_HELLO, 24),
        (_HELLO[:-2], 22),  # one octet of the text is missing
        (_HELLO + "00", 24),  # one is too many
        (_HELLO[:-1], 23),  # half an octet
        (_HELLO.replace("AA", "XX"), 23),  # no hex
        (_HELLO[:2] + "10" + _HELLO[4:], 23),  # SMS-DELIVER
        (_HELLO.replace("0B91", "0BD1"), 23),  # a name where the number should be
        (_HELLO.replace("53F8", "5308"), 23),  # an odd number of digits without its filler
        (_HELLO.replace("0000AA", "0020AA"), 23),  # compressed
        ("000100" + "0581" + "2143F5" + "0008" + "03" + "041F04", 12),  # half a character
    ],
)
async def test_a_pdu_that_is_not_right_is_refused(tmp_path, pdu, length):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert await terminal.send_pdu(pdu, length) == b"\r\n+CMS ERROR: 304\r\n"
        assert modem.sent == []


async def test_a_message_is_refused_while_there_is_no_network(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["network", "lost"])
        assert await terminal.send_pdu(_HELLO) == b"\r\n+CMS ERROR: 331\r\n"
        await modem.control(["network", "lte"])
        await registered(modem)
        assert (await terminal.send_pdu(_HELLO)).endswith(_OK)


async def test_escape_cancels_a_message(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        assert await terminal.type("AT+CMGS=23", b"0011\x1b") == _OK
        assert modem.sent == []


async def test_what_is_typed_before_the_prompt_is_lost(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        terminal.write(b"AT+CMGS=23\r\n" + _HELLO.encode() + b"\x1a")
        assert await terminal.until(rb"> ") == b"\r\n> "
        terminal.write(b"\n" + _HELLO.encode() + b"\x1a")
        await terminal.until(_OK)
        assert len(modem.sent) == 1


async def test_a_prompt_ends_its_line(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        assert await terminal.ask("AT+CMGS=23;+CSQ") == b"\r\nERROR\r\n"


async def test_text_mode_takes_text_in_the_chosen_character_set(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask('AT+CMGF=1;+CSCS="IRA"')
        assert (await terminal.type('AT+CMGS="+48600100200"', b"at @ home\x1a")).endswith(_OK)
        await terminal.ask('AT+CSCS="GSM"')
        assert (await terminal.type('AT+CMGS="48600100200",145', b"at \x00 home\x1a")).endswith(_OK)
        assert modem.sent == [("+48600100200", "at @ home", 1, "text")] * 2


async def test_text_mode_takes_ucs2_in_hex(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask('AT+CMGF=1;+CSCS="UCS2";+CSMP=17,167,0,8')
        phone = "+48600100200".encode("utf-16-be").hex()
        body = "Привет".encode("utf-16-be").hex().encode()
        assert (await terminal.type(f'AT+CMGS="{phone}"', body + b"\x1a")).endswith(_OK)
        assert modem.sent == [("+48600100200", "Привет", 1, "text")]
        assert await terminal.type(f'AT+CMGS="{phone}"', b"04\x1a") == b"\r\n+CMS ERROR: 305\r\n"
        assert await terminal.ask('AT+CMGS="+48600100200"') == b"\r\n+CMS ERROR: 305\r\n"


async def test_text_mode_takes_parts_with_their_header_in_hex(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask("AT+CMGF=1;+CSMP=81,167,0,8")
        for number, text in ((1, "дво"), (2, "ё")):
            body = bytes([5, 0, 3, 7, 2, number]) + text.encode("utf-16-be")
            assert (await terminal.type('AT+CMGS="600100200"', body.hex().encode() + b"\x1a")).endswith(_OK)
        assert modem.sent == [("600100200", "двоё", 2, "text")]
        assert await terminal.type('AT+CMGS="600100200"', b"050003\x1a") == b"\r\n+CMS ERROR: 305\r\n"


async def test_text_that_does_not_fit_a_message_is_refused(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask("AT+CMGF=1")
        assert (await terminal.type('AT+CMGS="600100200"', b"x" * 160 + b"\x1a")).endswith(_OK)
        assert await terminal.type('AT+CMGS="600100200"', b"x" * 161 + b"\x1a") == b"\r\n+CMS ERROR: 305\r\n"
        assert await terminal.type('AT+CMGS="600100200"', b"x" * 3000 + b"\x1a") == b"\r\n+CMS ERROR: 305\r\n"
        assert await terminal.ask('AT+CMGS="six"') == b"\r\n+CMS ERROR: 305\r\n"


async def test_a_return_in_text_mode_brings_another_prompt(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await terminal.ask("AT+CMGF=1")
        assert (await terminal.type('AT+CMGS="600100200"', b"one\rtwo\x1a")).startswith(b"\r\n> ")
        assert await modem.control(["outbox"]) == "600100200 (1 part) one\\rtwo"


async def test_a_modem_may_know_one_mode_only(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["only", "text"])
        assert await terminal.ask("AT+CMGF=0") == b"\r\n+CMS ERROR: 303\r\n"
        assert await terminal.ask("AT+CMGF?") == b"\r\n+CMGF: 1\r\n" + _OK
        await modem.control(["only", "pdu"])
        assert await terminal.ask("AT+CMGF=1") == b"\r\n+CMS ERROR: 303\r\n"
        await modem.control(["both"])
        assert await terminal.ask("AT+CMGF=1;+CMGF=0") == _OK


async def test_messages_fail_once_or_until_told_otherwise(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await modem.control(["sms", "fail", "38"])
        assert await terminal.send_pdu(_HELLO) == b"\r\n+CMS ERROR: 38\r\n"
        assert (await terminal.send_pdu(_HELLO)).endswith(_OK)
        await modem.control(["sms", "fail", "500", "always"])
        for _ in range(2):
            assert await terminal.send_pdu(_HELLO) == b"\r\n+CMS ERROR: 500\r\n"
        await modem.control(["sms", "ok"])
        assert (await terminal.send_pdu(_HELLO)).endswith(_OK)
        assert len(modem.sent) == 2


async def test_a_message_may_never_be_answered(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await modem.control(["sms", "silent"])
        terminal.write(b"AT+CMGS=23\r")
        await terminal.until(rb"> ")
        terminal.write(_HELLO.encode() + b"\x1a")
        assert await terminal.ask("AT") == _OK
        assert modem.sent == []


async def test_a_modem_that_is_pulled_out_hangs_up_and_comes_back_as_another_tty(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        first = os.readlink(tmp_path / "modem")
        await modem.control(["unplug"])
        assert terminal.hung_up()
        assert not os.path.lexists(tmp_path / "modem")
        with pytest.raises(ValueError, match="unplugged"):
            await modem.control(["urc", "RING"])
        await modem.control(["plug"])
        assert os.readlink(tmp_path / "modem") != first
        again = Terminal(str(tmp_path / "modem"))
        await again.until(rb"\r\nRDY\r\n\r\n\+CPIN: SIM PIN\r\n")
        assert await again.ask("AT") == b"AT\r" + _OK
        again.close()


async def test_closing_and_opening_the_tty_changes_nothing(tmp_path):
    async with modem_and_terminal(tmp_path) as (_, terminal):
        await terminal.ask('AT+CSCS="UCS2"')
        other = Terminal(str(tmp_path / "modem"))
        assert await other.ask("AT+CSCS?") == b'\r\n+CSCS: "UCS2"\r\n' + _OK
        other.close()
        assert await terminal.ask("AT") == _OK


async def test_the_tty_is_raw(tmp_path):
    async with modem_and_terminal(tmp_path):
        descriptor = os.open(tmp_path / "modem", os.O_RDWR | os.O_NOCTTY)
        local_modes = termios.tcgetattr(descriptor)[3]
        os.close(descriptor)
        assert not local_modes & (termios.ECHO | termios.ICANON | termios.ISIG)


async def test_the_link_goes_with_the_modem_and_replaces_one_left_over_but_no_file(tmp_path):
    os.symlink("/nowhere", tmp_path / "modem")
    modem = FakeModem(str(tmp_path / "modem"))
    await modem.start()
    assert os.readlink(tmp_path / "modem").startswith("/dev/pts/")
    await modem.stop()
    await modem.stop()
    assert not os.path.lexists(tmp_path / "modem")
    (tmp_path / "modem").write_text("mine")
    with pytest.raises(FileExistsError):
        await modem.start()
    assert (tmp_path / "modem").read_text() == "mine"


async def test_a_reset_drops_what_was_under_way_and_forgets_settings(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        await terminal.ask('AT+CPIN="1234"')
        await terminal.until(rb"\+CPIN: READY\r\n")
        terminal.write(b"AT+CMGS=23\r")
        await terminal.until(rb"> ")
        await modem.control(["reset"])
        assert (await terminal.until(rb"SIM PIN\r\n")) == b"\r\nRDY\r\n\r\n+CPIN: SIM PIN\r\n"
        assert await terminal.ask("AT+COPS?") == b"AT+COPS?\r\r\nERROR\r\n"


async def test_a_silent_modem_says_nothing_until_it_talks_again(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["silent"])
        terminal.write(b"AT\r")
        await modem.control(["urc", "RING"])
        await asyncio.sleep(0.05)
        assert terminal.read() == b""
        await modem.control(["talk"])
        assert await terminal.ask("AT+CSQ") == b"\r\n+CSQ: 17,0\r\n" + _OK


async def test_one_answer_comes_late(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["late", "100"])
        asked = time.monotonic()
        assert await terminal.ask("AT") == _OK
        assert time.monotonic() - asked > 0.09
        assert modem._dialogue.late == 0


async def test_a_line_comes_unasked(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["urc", "+CMTI:", '"SM",4'])
        assert await terminal.until(rb"4\r\n") == b'\r\n+CMTI: "SM",4\r\n'


async def test_chatter_comes_between_information_and_result_and_before_the_prompt(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await registered(modem)
        await modem.control(["chatter", "on"])
        answer = (await terminal.ask("AT+CSQ")).split(b"\r\n")
        assert len([line for line in answer if line]) == 4
        assert answer.index(b"+CSQ: 17,0") not in (1, len(answer) - 4)
        terminal.write(b"AT+CMGS=23\r")
        assert re.fullmatch(rb"\r\n[^\r]+\r\n\r\n> ", await terminal.until(rb"> "))
        terminal.write(_HELLO.encode() + b"\x1a")
        answer = (await terminal.until(_OK)).split(b"\r\n")
        assert len([line for line in answer if line]) == 4
        await modem.control(["chatter", "off"])
        assert await terminal.ask("AT") == _OK


async def test_garbage_is_no_text(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["garbage"])
        answer = await terminal.ask("AT")
        assert answer.endswith(_OK)
        with pytest.raises(UnicodeDecodeError):
            answer.decode()


async def test_a_slow_modem_answers_byte_by_byte(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, terminal):
        await modem.control(["slow", "on"])
        asked = time.monotonic()
        assert await terminal.ask("AT+CSQ") == b"\r\n+CSQ: 17,0\r\n" + _OK
        assert time.monotonic() - asked > 0.015


async def test_the_signal_and_the_state_are_told(tmp_path):
    async with modem_and_terminal(tmp_path, pin="1234") as (modem, terminal):
        await modem.control(["signal", "99"])
        assert await terminal.ask("AT+CSQ") == b"\r\n+CSQ: 99,99\r\n" + _OK
        assert await modem.control(["status"]) == "signal=99 registered=no sim=SIM PIN sent=0"
        assert await modem.control(["outbox"]) == "nothing was sent"
        with pytest.raises(ValueError, match=r"0[.][.]31"):
            await modem.control(["signal", "32"])


async def test_a_command_that_it_does_not_know_lists_those_it_knows(tmp_path):
    async with modem_and_terminal(tmp_path) as (modem, _):
        for words in ([], ["explode"], ["signal"], ["sim", "pin", "12"], ["network", "moon"]):
            with pytest.raises(ValueError, match=r"the modem knows: .*unplug.*sms fail N"):
                await modem.control(words)
        assert "garbage" in await modem.control(["help"])


async def test_the_simulated_boards_modem_sends_a_message_through_everything(tmp_path):
    modem = SimulatedModem({"pin": "1234"}, str(tmp_path))
    assert modem.notice() == f"GSM modem {tmp_path}/modem"
    modem.configure("internet", "", None, "1234")
    await modem.start()
    try:
        async with asyncio.timeout(_PATIENCE):
            while "registered=home" not in await modem.fake.control(["status"]) or not await _is_registered(modem):
                await asyncio.sleep(0.005)
        text = "Zażółć gęślą jaźń, " * 5 + "\U0001f600"
        await modem.send_sms("+48600100200", text)
        assert await modem.fake.control(["outbox"]) == f"+48600100200 (2 parts) {text}"
        assert modem.fake.pin_tries == 1
    finally:
        await modem.stop()
    assert not os.path.lexists(tmp_path / "modem")


async def _is_registered(modem: SimulatedModem) -> bool:
    try:
        return (await modem.status())["registered"]
    except NoModem:
        return False
