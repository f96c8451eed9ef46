"""The RS-485 port on a pty whose other end the test plays, byte by byte: a contract for every backend."""

import asyncio
import os
import time
import tty

import pytest
from pymodbus.framer.rtu import FramerRTU

import hal.rs485.port
from hal.fields import BadField
from hal.linux.rs485 import TtyPort
from hal.rs485.framing import ASCII, Line, answer_fits, rtu_length
from hal.rs485.port import PortFailed, Rs485Port
from tests.hal.rs485.exchanges import broadcast, transact
from tests.machine.remote import Interpreter, RemotePart
from tests.machine.starter import point
from tests.micropython import NEEDS_MICROPYTHON

READ = bytes([3, 0, 0, 0, 1])
WRITE = bytes([6, 0, 10, 0, 99])
FAST = Line(115200, 4)


class Far:
    """The far end of the line: what arrives there, and what is sent from there."""

    def __init__(self):
        self.master, self.slave = os.openpty()
        tty.setraw(self.master)
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self.arrivals = []  # (time, bytes)
        self.reply = None  # function of the bytes of a frame: called once for each
        self.echo = False
        self.lump = 0  # bytes that are handed over at once, at the pace of the line; 0: all, now

    def open(self):
        asyncio.get_running_loop().add_reader(self.master, self._read)

    def close(self):
        asyncio.get_running_loop().remove_reader(self.master)
        for descriptor in (self.master, self.slave):
            try:
                os.close(descriptor)
            except OSError:
                pass

    def send(self, data):
        if not self.lump:
            os.write(self.master, data)
            return
        for first in range(0, len(data), self.lump):
            chunk = data[first : first + self.lump]
            pause = (first + len(chunk)) * FAST.char_time
            asyncio.get_running_loop().call_later(pause, os.write, self.master, chunk)

    def later(self, seconds, data):
        asyncio.get_running_loop().call_later(seconds, self.send, data)

    def _read(self):
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return
        self.arrivals.append((time.monotonic(), data))
        if self.echo:
            self.send(data)
        if self.reply is not None:
            self.reply(data)


@pytest.fixture
async def far(request):
    end = Far()
    end.lump = getattr(request, "param", 0)
    end.open()
    yield end
    end.close()


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    running = Interpreter(tmp_path_factory.mktemp("board"))
    yield running
    running.end()


def uart(interpreter, far, **options):
    """The port on a UART of MicroPython, in a process of its own."""
    point(os.path.join(interpreter.folder, "uart1"), far.path)
    return RemotePart(interpreter, Rs485Port, "rs485", "uart", {"uart": 1, "tx": 17, "rx": 18, **options})


@pytest.fixture(params=["tty", pytest.param("uart", marks=NEEDS_MICROPYTHON)])
async def port(far, request):
    if request.param == "uart":
        opened = uart(request.getfixturevalue("interpreter"), far)
    else:
        opened = TtyPort(TtyPort.OPTIONS.check({"port": far.path}), "")
    await opened.configure(FAST)
    assert opened.is_open
    yield opened
    await opened.stop()


def frame(port, uid, pdu):
    return bytes([uid]) + pdu + FramerRTU.compute_CRC(bytes([uid]) + pdu).to_bytes(2, "big")


def value(port, number, uid=1):
    return frame(port, uid, bytes([3, 2, number >> 8, number & 255]))


async def test_question_and_answer(far, port):
    far.reply = lambda data: far.send(value(port, 1234))
    exchange = await transact(port, 1, READ, 1.0)
    assert (exchange.error, exchange.pdu) == (None, bytes([3, 2, 4, 210]))
    assert far.arrivals[0][1] == frame(port, 1, READ)
    assert not exchange.owed


async def test_an_exception_is_an_answer(far, port):
    far.reply = lambda data: far.send(frame(port, 1, bytes([0x83, 2])))
    assert (await transact(port, 1, READ, 1.0)).pdu == bytes([0x83, 2])


async def test_silence_is_a_timeout_and_an_answer_is_still_owed(far, port):
    exchange = await transact(port, 1, READ, 0.05)
    assert (exchange.error, exchange.owed) == ("TIMEOUT", True)


@pytest.mark.parametrize("far", [0, 1, 16, 256], indirect=True)
async def test_a_late_answer_is_never_taken_for_the_next_one(far, port):
    far.reply = lambda data: (
        far.later(0.08, value(port, 1)) if len(far.arrivals) == 1 else far.later(0.1, value(port, 2, 9))
    )
    assert (await transact(port, 1, READ, 0.04)).error == "TIMEOUT"
    exchange = await transact(port, 9, READ, 1.0)
    assert exchange.pdu == bytes([3, 2, 0, 2])
    assert exchange.heard == [1]


@pytest.mark.parametrize("far", [0, 1, 16, 256], indirect=True)
async def test_what_arrives_unasked_is_told_and_dropped(far, port):
    told = []
    port.on_frame = lambda uid, pdu: told.append(uid)
    far.send(value(port, 7, 5))
    while not told:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.02)
    assert told == [5]
    far.reply = lambda data: far.send(value(port, 8))
    exchange = await transact(port, 1, READ, 1.0)
    assert (exchange.pdu, exchange.heard) == (bytes([3, 2, 0, 8]), [5])
    assert port.stray_bytes == 7


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda p: value(p, 5, 2), "FOREIGN"),
        (lambda p: frame(p, 1, bytes([4, 2, 0, 5])), "BAD_FRAME"),
        (lambda p: frame(p, 1, bytes([3, 4, 0, 5, 0, 6])), "BAD_FRAME"),
        (lambda p: frame(p, 1, bytes([3, 2, 0, 5, 0, 6])), "BAD_FRAME"),
        (lambda p: frame(p, 1, bytes([0x84, 2])), "BAD_FRAME"),
        (lambda p: value(p, 5)[:-1] + b"\x00", "BAD_FRAME"),
        (lambda p: value(p, 5)[:4], "BAD_FRAME"),
        (lambda p: b"\xff\x00\xaa", "BAD_FRAME"),
    ],
)
async def test_what_does_not_fit_is_no_answer(far, port, make, error):
    far.reply = lambda data: far.send(make(port))
    assert (await transact(port, 1, READ, 0.1)).error == error


@pytest.mark.parametrize("far", [0, 1, 16, 256], indirect=True)
@pytest.mark.parametrize("noise", [b"\x00", b"\xff\xff\xff", b"\x01", b"\x01\x03", b"\x01\x03\xff", b"\x01\x83" * 5])
async def test_noise_before_and_after_does_not_hide_the_answer(far, port, noise):
    far.reply = lambda data: far.send(noise + value(port, 77) + noise)
    exchange = await transact(port, 1, READ, 0.5)
    assert exchange.pdu == bytes([3, 2, 0, 77])
    await asyncio.sleep(0.01)
    far.reply = lambda data: far.send(value(port, 78))
    assert (await transact(port, 1, READ, 0.5)).pdu == bytes([3, 2, 0, 78])


async def test_an_answer_in_pieces_is_put_together(far, port):
    def pieces(data):
        for index, byte in enumerate(value(port, 300)):
            far.later(0.01 * index, bytes([byte]))

    far.reply = pieces
    assert (await transact(port, 1, READ, 1.0)).pdu == bytes([3, 2, 1, 44])


async def test_an_answer_that_has_begun_in_time_is_read_to_its_end(far, port):
    def slowly(data):
        content = value(port, 300)
        far.later(0.15, content[:3])
        far.later(0.215, content[3:])

    far.reply = slowly
    assert (await transact(port, 1, READ, 0.2)).pdu == bytes([3, 2, 1, 44])


@pytest.mark.parametrize("far", [0, 1, 16, 256], indirect=True)
async def test_a_function_that_tells_no_length_ends_by_silence(far, port):
    content = bytes([0x41]) + bytes(range(60))
    far.reply = lambda data: far.send(frame(port, 1, content))
    assert (await transact(port, 1, bytes([0x41, 1]), 0.5)).pdu == content


@pytest.mark.parametrize("far", [0, 1, 16, 256], indirect=True)
async def test_a_line_that_echoes_is_seen_through_for_reads_and_writes(far, port):
    far.echo = True
    far.reply = lambda data: far.later(0.01, value(port, 5))
    assert (await transact(port, 1, READ, 0.3)).pdu == bytes([3, 2, 0, 5])
    far.reply = None
    exchange = await transact(port, 1, READ, 0.05)
    assert exchange.error == "ECHO"
    exchange = await transact(port, 1, WRITE, 0.05)  # the answer to this write would repeat it byte for byte
    assert exchange.error == "ECHO"
    far.reply = lambda data: far.later(0.01, frame(port, 1, WRITE))
    assert (await transact(port, 1, WRITE, 0.3)).pdu == WRITE


async def test_a_write_as_the_first_exchange_on_an_echoing_line(far, port):
    far.reply = lambda data: [far.later(0.005, data), far.later(0.02, data)]  # the echo comes late, out of a buffer
    assert (await transact(port, 1, WRITE, 0.2)).pdu == WRITE
    far.reply = lambda data: far.later(0.005, data)
    assert (await transact(port, 1, WRITE, 0.1)).error == "ECHO"


async def test_a_write_on_a_line_without_echo(far, port):
    far.reply = lambda data: far.later(0.01, frame(port, 1, WRITE))
    for _ in range(3):
        assert (await transact(port, 1, WRITE, 0.1)).pdu == WRITE


@pytest.mark.parametrize("line", [Line(9600, 5), Line(19200, 0), Line(115200, 4), Line(115200, 4, frame_gap_us=5000)])
async def test_the_silence_before_a_frame_is_never_too_short(far, port, line):
    answered = []

    def answer(data):
        content = value(port, 1)
        answered.append(time.monotonic())  # before: a port in another process may be faster than this one
        far.send(content)

    far.reply = answer
    port.tty_settings = lambda line: {"baudrate": line.baud_rate, "bytesize": 8, "parity": "N", "stopbits": 1}
    await port.configure(line)
    for _ in range(10):
        assert (await transact(port, 1, READ, 0.5)).error is None
    gaps = [asked - before for before, (asked, _) in zip(answered, far.arrivals[1:], strict=False)]
    assert min(gaps) >= line.silence


async def test_the_silence_counts_from_stray_bytes_too(far, port):
    await port.configure(Line(1200, 4))
    sent = time.monotonic()
    far.send(b"\x55")
    while not port.stray_bytes:
        await asyncio.sleep(0.001)
    await transact(port, 1, READ, 0.02)
    assert far.arrivals[0][0] - sent >= 3.5 * 10 / 1200


async def test_a_line_that_babbles_is_not_waited_for_for_ever(far, port):
    stop = time.monotonic() + 0.5

    def babble():
        if time.monotonic() < stop:
            far.send(b"\xa5" * 10)
            asyncio.get_running_loop().call_later(0.0005, babble)

    babble()
    started = time.monotonic()
    assert (await transact(port, 1, READ, 0.05)).error in ("BAD_FRAME", "TIMEOUT")
    assert time.monotonic() - started < 2


async def test_broadcasts_wait_for_the_turnaround(far, port):
    started = time.monotonic()
    exchange = await broadcast(port, WRITE, 0.05)
    assert (exchange.error, exchange.pdu) == (None, b"")
    assert time.monotonic() - started >= 0.05
    assert far.arrivals[0][1] == frame(port, 0, WRITE)


async def test_ascii_frames(far, port):
    port.tty_settings = lambda line: {"baudrate": 9600, "bytesize": 8, "parity": "N", "stopbits": 1}
    await port.configure(Line(9600, 0, ASCII))
    far.reply = lambda data: far.send(b"noise:01030200" + b":0103020064" + b"%02x\r\n" % (256 - (1 + 3 + 2 + 100)))
    exchange = await transact(port, 1, READ, 0.5)
    assert exchange.pdu == bytes([3, 2, 0, 100])
    assert far.arrivals[0][1] == b":010300000001FB\r\n"
    far.reply = lambda data: far.send(b":010302006400\r\n")
    assert (await transact(port, 1, READ, 0.1)).error == "BAD_FRAME"


async def test_a_port_that_vanishes_ends_the_exchange_and_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(hal.rs485.port, "REOPEN_PAUSES", (0.02,))
    first, second = Far(), Far()
    link = tmp_path / "tty"
    link.symlink_to(first.path)
    first.open()
    second.open()
    port = TtyPort(TtyPort.OPTIONS.check({"port": str(link)}), "")
    await port.configure(FAST)
    asking = asyncio.create_task(transact(port, 1, READ, 30))
    await asyncio.sleep(0.05)
    link.unlink()
    asyncio.get_running_loop().remove_reader(first.master)
    os.close(first.master)
    exchange = await asyncio.wait_for(asking, 5)
    assert exchange.error == "PORT_LOST"
    assert not port.is_open
    assert (await transact(port, 1, READ, 1)).error == "PORT_LOST"
    assert (await broadcast(port, WRITE, 0)).error == "PORT_LOST"
    with pytest.raises(PortFailed):
        await port.probe()
    link.symlink_to(second.path)
    while not port.is_open:
        await asyncio.sleep(0.01)
    second.reply = lambda data: second.send(value(port, 3))
    assert (await transact(port, 1, READ, 1)).pdu == bytes([3, 2, 0, 3])
    assert "115200" in await port.probe()
    await port.stop()
    second.close()
    os.close(first.slave)


async def test_a_port_that_is_not_there_yet_is_waited_for(tmp_path, monkeypatch, far):
    monkeypatch.setattr(hal.rs485.port, "REOPEN_PAUSES", (0.02,))
    port = TtyPort(TtyPort.OPTIONS.check({"port": str(tmp_path / "later")}), "")
    await port.configure(FAST)
    assert not port.is_open
    (tmp_path / "later").symlink_to(far.path)
    while not port.is_open:
        await asyncio.sleep(0.01)
    await port.stop()


async def test_settings_that_the_port_refuses_leave_the_old_ones(far, port):
    with pytest.raises(PortFailed, match="refuses"):
        await port.configure(Line(9600, 2))  # a pty has no parity, a UART no space parity
    far.reply = lambda data: far.send(value(port, 3))
    assert FAST.same_as(port.line)
    assert (await transact(port, 1, READ, 1)).error is None


@pytest.mark.parametrize("port", ["tty"], indirect=True)
async def test_a_second_opener_is_kept_out(far, port):
    other = TtyPort(TtyPort.OPTIONS.check({"port": far.path}), "")
    await other.configure(FAST)
    assert not other.is_open
    await other.stop()


def test_answers_fit_their_questions_and_no_others():
    reads = [bytes([func, 0, 0, 0, count]) for func in (1, 2, 3, 4) for count in (1, 8, 9, 100)]
    others = [bytes([5, 0, 1, 255, 0]), WRITE, bytes([16, 0, 1, 0, 1, 2, 0, 5]), bytes([22, 0, 1, 0, 2, 0, 3])]
    answers = {}
    for question in reads:
        count = question[4]
        size = (count + 7) // 8 if question[0] < 3 else 2 * count
        answers[question] = bytes([question[0], size]) + bytes(size)
    answers[others[0]], answers[others[1]] = others[0], others[1]
    answers[others[2]], answers[others[3]] = others[2][:5], others[3]
    for question in reads + others:
        for asked, answer in answers.items():
            same = question == asked or (question[0] == asked[0] and answers[question] == answer)
            assert answer_fits(question, answer) == same
        assert answer_fits(question, bytes([question[0] | 0x80, 4]))
        assert not answer_fits(question, bytes([question[0] | 0x80]))


def test_lengths_of_identification_answers():
    answer = bytes([1, 43, 14, 1, 1, 0, 0, 2, 0, 3]) + b"abc" + bytes([1, 1]) + b"x" + b"\0\0"
    assert rtu_length(answer, 0) == len(answer)
    for end in range(9):
        assert rtu_length(answer[:end], 0) in (0, None)


async def test_an_adapter_unplugged_for_longer_than_the_pauses_last_comes_back(tmp_path, monkeypatch, far):
    monkeypatch.setattr(hal.rs485.port, "REOPEN_PAUSES", (0.002, 0.004, 0.006))
    port = TtyPort(TtyPort.OPTIONS.check({"port": str(tmp_path / "later")}), "")
    tries = []
    opened = port._open

    async def count(line):
        tries.append(line)
        await opened(line)

    port._open = count
    await port.configure(FAST)
    while len(tries) < 8:  # more than there are pauses
        await asyncio.sleep(0.002)
    assert not port.is_open
    (tmp_path / "later").symlink_to(far.path)
    while not port.is_open:
        await asyncio.sleep(0.002)
    so_far = len(tries)
    await asyncio.sleep(0.05)
    assert len(tries) == so_far  # an open port is not opened again
    far.reply = lambda data: far.send(value(port, 3))
    assert (await transact(port, 1, READ, 1)).error is None
    await port.stop()


@pytest.mark.parametrize("port", ["tty"], indirect=True)
async def test_what_was_thrown_away_is_told_with_its_reason(far, port):
    port.on_frame = lambda uid, pdu: uid == 5  # unit 5 owes an answer
    far.send(b"\x55\xaa" + value(port, 7, 5))
    await asyncio.sleep(0.05)
    far.send(b"\x01\x02")
    await asyncio.sleep(0.05)
    far.reply = lambda data: far.send(data + value(port, 3, 9) + value(port, 1234))
    exchange = await transact(port, 1, READ, 1.0)
    question = frame(port, 1, READ)
    assert exchange.error is None
    assert exchange.thrown[0] == ("late", b"\x55\xaa" + value(port, 7, 5))
    assert exchange.thrown[1] == ("noise", b"\x01\x02")
    assert set(exchange.thrown[2:]) == {("echo", question), ("foreign", value(port, 3, 9))}
    far.reply = lambda data: far.send(data + value(port, 1234))
    assert (await transact(port, 1, READ, 1.0)).thrown == (("echo", question),)


async def test_an_exchange_tells_when_it_began_when_the_first_byte_came_and_when_it_ended(far, port):
    far.reply = lambda data: far.later(0.031, value(port, 1234))  # all at once; a line takes half a millisecond
    exchange = await transact(port, 1, READ, 1.0)
    assert 30000 <= exchange.first - exchange.began <= exchange.ended - exchange.began
    assert (exchange.line.baud_rate, exchange.thrown) == (115200, ())
    far.reply = None
    silent = await transact(port, 2, READ, 0.02)
    assert (silent.first, silent.ended - silent.began >= 20000) == (0, True)


async def test_all_bytes_go_to_who_only_listens(far, port):
    heard = []
    port.on_bytes = lambda data, now: heard.append((data, now))
    far.send(value(port, 1))
    while not heard:
        await asyncio.sleep(0.001)
    assert (heard[0][0], port.stray_bytes) == (value(port, 1), 0)


@pytest.mark.parametrize("send_high", [True, False])
@NEEDS_MICROPYTHON
async def test_a_pin_turns_the_line_round_while_a_frame_is_on_the_wire(far, interpreter, send_high):
    port = uart(interpreter, far, direction="pin", directionPin=21, sendHigh=send_high)
    await port.configure(Line(9600, 5))
    far.reply = lambda data: far.later(0.03, value(port, 9))  # a pty takes no time on the wire
    assert (await transact(port, 1, READ, 1.0)).error is None
    changes = [change for change in interpreter.ask("machine.Pin.changes") if change[1] == 21]
    (began, _, first), (ended, _, second) = changes[-2:]
    assert (first, second) == (int(send_high), int(not send_high))
    assert ended - began >= Line(9600, 5).wire_us(8)
    await port.stop()
    assert interpreter.ask("machine.Pin(21).value()") == int(not send_high)


@NEEDS_MICROPYTHON
async def test_what_a_uart_cannot_do_is_refused_by_name(far, interpreter):
    port = uart(interpreter, far, lowestRate=300)
    await port.configure(FAST)
    for line, reason in ((Line(150, 5), "300 bit/s and above"), (Line(9600, 2), "no space parity")):
        with pytest.raises(PortFailed, match=reason):
            await port.configure(line)
    await port.configure(Line(9600, 3))  # mark parity is a second stop bit
    assert (await transact(port, 1, READ, 0.05)).error == "TIMEOUT"
    await port.stop()
    with pytest.raises(BadField, match="directionPin: belongs to"):
        uart(interpreter, far, direction="pin")
    with pytest.raises(BadField, match="directionPin: belongs to"):
        uart(interpreter, far, directionPin=3)


def in_pieces(far, line, answer, size):
    """An answer at the pace of a line, so many bytes handed over together when the last of them has passed."""
    for first in range(0, len(answer), size):
        piece = answer[first : first + size]
        far.later(line.wire_us(first + len(piece)) / 1e6, piece)


@NEEDS_MICROPYTHON
@pytest.mark.alone
async def test_a_long_answer_does_not_wake_a_board_at_every_byte(far, interpreter):
    port = uart(interpreter, far)
    line = Line(1200, 5)
    await port.configure(line)
    answer = frame(port, 1, bytes([3, 20, *range(20)]))
    far.reply = lambda data: in_pieces(far, line, answer, 1)
    question = bytes([3, 0, 0, 0, 10])
    assert (await transact(port, 1, question, 1.0)).error is None  # whether the line echoes is known from here on
    before = interpreter.ask("machine.UART.reads")
    assert (await transact(port, 1, question, 1.0)).pdu == answer[1:-2]
    assert interpreter.ask("machine.UART.reads") - before <= 12  # of 25 bytes, on a busy machine too
    await port.stop()


@NEEDS_MICROPYTHON
@pytest.mark.alone
async def test_an_answer_that_a_board_hears_in_pieces_is_over_with_its_last_byte(far, interpreter):
    port = uart(interpreter, far)
    line = Line(600, 5)
    await port.configure(line)
    answer = frame(port, 1, bytes([1, 19, *range(19)]))
    far.reply = lambda data: in_pieces(far, line, answer, 3)
    exchanges = [await transact(port, 1, bytes([1, 0, 0, 0, 19 * 8]), 1.0) for _ in range(4)]
    quickest = min(exchange.elapsed for exchange in exchanges[1:])  # the others may have been held up by this machine
    assert quickest < line.wire_us(len(answer) + 0.5) / 1e6
    await port.stop()
