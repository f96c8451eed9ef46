"""What is a frame, how long it is, and whether it answers its question."""

import random

import pytest

from hal.rs485.checksums import crc16
from hal.rs485.framing import (
    ASCII,
    READ_ONLY,
    RTU_FRAME_MAX,
    AsciiScanner,
    Line,
    RtuScanner,
    answer_fits,
    answer_length,
    question_key,
    rtu_length,
    tells_length,
)
from tests.hal.rs485.virtual_wire import frame

READ = bytes([3, 0, 0, 0, 1])
IDENTIFY = bytes([43, 14, 1, 0])
IDENTITY = bytes([43, 14, 1, 1, 0, 0, 2, 0, 3]) + b"abc" + bytes([1, 1]) + b"x"
SCANNER = RtuScanner(crc16)
TEXT = AsciiScanner(lambda data: bytes([-sum(data) & 0xFF]))


def test_identification_answers_are_found_by_the_lengths_of_their_objects():
    noise = b"\x01\x2b\x0e"
    assert SCANNER.find(noise + frame(1, IDENTITY) + noise, 1, IDENTIFY, False) == (3, 21, IDENTITY, True)
    assert answer_fits(IDENTIFY, IDENTITY)
    assert tells_length(IDENTIFY)


def test_function_43_has_other_kinds_which_end_by_silence():
    question, answer = bytes([43, 13, 0, 0]), bytes([43, 13, 9, 9])
    assert not tells_length(question)
    assert SCANNER.find(frame(1, answer), 1, question, False) is None
    assert SCANNER.find(frame(1, answer), 1, question, True) == (0, 7, answer, True)
    long = frame(1, bytes([43, 13, 1, 0, 0, 0, 2, 0, 1, 65, 1, 1, 66, 9]))  # as 43/14 it would end two bytes earlier
    assert rtu_length(long, 0) is None
    assert rtu_length(long[:3], 0) is None
    assert rtu_length(long[:2], 0) == 0
    assert SCANNER.lacks(long[:4], 1, question) == 1
    assert not answer_fits(question, IDENTITY)
    assert not answer_fits(IDENTIFY, answer)


@pytest.mark.parametrize("end", range(2, 17))
def test_the_length_of_an_identification_is_told_once_its_last_object_has_begun(end):
    whole = frame(1, IDENTITY)
    told = rtu_length(whole[:end], 0)
    assert told == (len(whole) if end >= 15 else 0)


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (bytes([3, 2, 0, 5]), 7),
        (bytes([1, 250]) + bytes(250), 255),
        (bytes([0x83, 2]), 5),
        (bytes([7, 0x55]), 5),
        (bytes([5, 0, 1, 0xFF, 0]), 8),
        (bytes([16, 0, 1, 0, 2]), 8),
        (bytes([22, 0, 1, 0, 2, 0, 3]), 10),
        (bytes([24, 0, 4, 0, 1, 0, 9]), 10),
        (bytes([12, 3, 1, 2, 3]), 8),
        (bytes([65, 1, 2]), None),
    ],
)
def test_lengths_by_function(answer, length):
    assert rtu_length(frame(9, answer), 0) == length
    if length is not None:
        assert len(frame(9, answer)) == length


def test_frames_have_4_to_256_bytes():
    longest = bytes([65]) + bytes(RTU_FRAME_MAX - 4)
    assert SCANNER.find(frame(1, longest), 1, bytes([65]), True) is not None
    assert SCANNER.find(frame(1, longest + b"\0"), 1, bytes([65]), True) is None
    assert SCANNER.frames(frame(1, b"\x41")) == [(4, 1, b"\x41")]
    assert SCANNER.frames(frame(1, b"")) == []


def test_all_frames_of_a_burst_are_found_with_noise_between_them():
    frames = [(9, bytes([3, 2, 0, 1])), (8, bytes([0x83, 2])), (7, bytes([16, 0, 0, 0, 1]))]
    burst = b"\xff".join(frame(uid, pdu) for uid, pdu in frames) + b"\x00\x01"
    assert [(uid, pdu) for _, uid, pdu in SCANNER.frames(burst)] == frames
    text = b":0903020001F1\r\n??:0803020002F1\r\n:08030200\r\n"
    assert [uid for _, uid, _ in TEXT.frames(text)] == [9, 8]


def test_an_answer_whose_content_fits_goes_before_one_whose_content_does_not():
    odd, fitting = frame(1, bytes([3, 4, 0, 1, 0, 2])), frame(1, bytes([3, 2, 0, 5]))
    assert SCANNER.find(odd, 1, READ, False) == (0, 9, bytes([3, 4, 0, 1, 0, 2]), False)
    assert SCANNER.find(odd + fitting, 1, READ, False) == (9, 16, bytes([3, 2, 0, 5]), True)
    assert SCANNER.find(frame(2, bytes([3, 2, 0, 5])), 1, READ, True) is None
    assert SCANNER.find(frame(1, bytes([4, 2, 0, 5])), 1, READ, True) is None


@pytest.mark.parametrize(
    ("question", "length"),
    [
        (READ, 4),
        (bytes([1, 0, 0, 0, 9]), 4),
        (bytes([2, 0, 0, 7, 208]), 252),
        (bytes([23, 0, 0, 0, 3, 0, 0, 0, 1, 2, 0, 5]), 8),
        (bytes([6, 0, 1, 0, 5]), 5),
        (bytes([16, 0, 1, 0, 1, 2, 0, 5]), 5),
        (bytes([8, 0, 0, 1, 2]), 5),
        (bytes([17]), None),
        (bytes([65, 1]), None),
    ],
)
def test_how_long_an_answer_will_be(question, length):
    assert answer_length(question) == length


def test_block_writes_of_other_values_have_the_same_answer():
    assert question_key(bytes([16, 0, 1, 0, 1, 2, 0, 5])) == question_key(bytes([16, 0, 1, 0, 1, 2, 0, 6]))
    assert question_key(bytes([6, 0, 1, 0, 5])) != question_key(bytes([6, 0, 1, 0, 6]))


def test_random_noise_holds_an_answer_only_where_its_checksum_is_right():
    """The checksum is made weak, so that noise holds a frame now and then; each that is found must be one."""
    source = random.Random(3)
    weak = RtuScanner(lambda data: bytes([sum(data) & 3, 0]))
    found = 0
    for _ in range(2000):
        noise = bytes(source.choice([1, 3, 2, 0, source.randrange(256)]) for _ in range(40))
        match = weak.find(noise, 1, READ, True)
        if match is not None:
            found += 1
            start, end, pdu, fits = match
            assert noise[start] == 1 and noise[start + 1 : end - 2] == pdu
            assert noise[end - 2 : end] == bytes([sum(noise[start : end - 2]) & 3, 0])
            assert fits == answer_fits(READ, pdu)
    assert found > 100


@pytest.mark.parametrize(
    ("baud_rate", "silence"), [(9600, 0.00401), (19200, 0.002005), (19201, 0.00175), (115200, 0.00175)]
)
def test_the_silence_is_three_and_a_half_characters_up_to_19200(baud_rate, silence):
    assert Line(baud_rate, 5).silence == pytest.approx(silence, rel=0.001)
    assert Line(baud_rate, 5).silence >= min(3.5 * 11 / baud_rate, 0.00175)


def test_a_pause_between_frames_of_ones_own_leaves_the_end_of_a_frame_as_it_is():
    line = Line(9600, 5, frame_gap_us=500)
    assert (line.silence_us, line.end_us) == (500, Line(9600, 5).end_us)
    assert not line.same_as(Line(9600, 5))


def test_a_line_of_the_settings_has_their_values_or_those_of_a_search():
    serial = {"baudRate": 9600, "charFormat": 0, "frameMode": 1, "frameGapUs": 0, "asciiGapMs": 500, "asciiDataBits": 8}
    line = Line.of(serial)
    assert (line.baud_rate, line.parity, line.data_bits, line.ascii_gap) == (9600, "E", 8, 0.5)
    searched = Line.of(serial, 19200, 4, 0)
    assert (searched.baud_rate, searched.parity, searched.data_bits, searched.frame_mode) == (19200, "N", 8, 0)
    assert not Line.of(serial).same_as(Line.of(dict(serial, asciiDataBits=7)))


# How much is read at a time: looking at every byte costs processor, waiting for one too many costs the answer.


def ascii_frame(uid, pdu):
    data = bytes([uid]) + pdu
    return b":" + (data + bytes([-sum(data) & 0xFF])).hex().upper().encode() + b"\r\n"


def looks_until_found(scanner, stream, request, uid=1):
    """(how often it is looked, how many bytes are taken) until the answer is found, reading what is said to lack."""
    have = looks = 0
    while scanner.find(stream[:have], uid, request, False) is None:
        assert have < len(stream), "it waits for more than the line brings"
        have += scanner.lacks(stream[:have], uid, request)
        looks += 1
    return looks, have


READ_10 = bytes([3, 0, 0, 0, 10])
TEN = bytes([3, 20, *range(100, 120)])


@pytest.mark.parametrize(
    ("request_pdu", "answer", "looks"),
    [
        (READ_10, TEN, 2),
        (READ_10, bytes([0x83, 2]), 1),
        (bytes([1, 0, 0, 0, 4]), bytes([1, 1, 5]), 2),
        (bytes([7]), bytes([7, 0x55]), 1),
        (WRITE := bytes([6, 0, 1, 0, 9]), WRITE, 2),
        (bytes([8, 0, 0, 9, 9, 9, 9]), bytes([8, 0, 0, 9, 9, 9, 9]), 2),
        (bytes([17]), bytes([17, 9]) + bytes(9), 2),
        (bytes([24, 0, 4]), bytes([24, 0, 6, 0, 2, 0, 1, 0, 2]), 2),
        (IDENTIFY, IDENTITY, 12),  # its objects say one after the other how long they are
    ],
)
def test_an_rtu_answer_is_found_at_its_last_byte_in_few_looks(request_pdu, answer, looks):
    whole = frame(1, answer)
    assert looks_until_found(SCANNER, whole, request_pdu) == (looks, len(whole))
    for noise in (b"\x09", b"\x01", b"\x01\x01", b"\xff\x01\x00", b"\x01\x03", b"\x01\x03\x04", b"\x01\x09\x01"):
        assert looks_until_found(SCANNER, noise + whole, request_pdu)[1] == len(noise + whole)


@pytest.mark.parametrize("answer", [TEN, bytes([0x83, 2])])
def test_noise_before_an_answer_costs_few_more_looks(answer):
    whole = frame(1, answer)
    assert looks_until_found(SCANNER, b"\x09\x08\x07" + whole, READ_10)[0] <= 6
    assert looks_until_found(TEXT, b"???" + ascii_frame(1, answer), READ_10)[0] <= 4


def test_an_ascii_answer_is_found_at_its_last_character_in_few_looks():
    for answer, looks in ((TEN, 2), (bytes([0x83, 2]), 1)):
        whole = ascii_frame(1, answer)
        assert looks_until_found(TEXT, whole, READ_10) == (looks, len(whole))
        assert looks_until_found(TEXT, whole.lower(), READ_10)[1] == len(whole)
        for noise in (b":", b"\x00", b":0103", b":02031", b"\r\n", b":0103140"):
            assert looks_until_found(TEXT, noise + whole, READ_10)[1] == len(noise + whole)
    assert TEXT.lacks(b":02031", 1, READ_10) == 5  # another unit's: the shortest that may come
    assert TEXT.lacks(b":0104", 1, READ_10) == 6
    assert TEXT.lacks(b":010", 1, READ_10) == 7
    assert TEXT.lacks(b":0103", 1, READ_10) == 46
    assert TEXT.lacks(b":0141", 1, bytes([65])) == 6  # a function whose answers say no length
    assert TEXT.lacks(whole + b"0000", 1, READ_10) == 1


def test_what_cannot_be_the_answer_by_its_length_is_looked_at_byte_by_byte():
    """What looks like its header may be noise that the right header follows."""
    assert SCANNER.lacks(bytes([1, 3, 200]), 1, READ_10) == 1
    assert SCANNER.lacks(bytes([1, 3, 20]), 1, READ_10) == 22
    assert SCANNER.lacks(bytes([1, 3]), 1, READ_10) == 3
    assert SCANNER.lacks(bytes([1, 6]), 1, WRITE) == 6
    assert SCANNER.lacks(bytes([1, 4]), 1, READ_10) == 5
    assert SCANNER.lacks(bytes([1, 0x83]), 1, READ_10) == 3
    assert SCANNER.lacks(bytes([9, 9, 1]), 1, READ_10) == 4
    assert SCANNER.lacks(bytes([1, 4, 20]), 1, READ_10) == 5  # another function's
    assert SCANNER.lacks(bytes([2, 3, 20]), 1, READ_10) == 5
    assert SCANNER.lacks(frame(1, bytes([0x83, 2]))[:-1] + b"\0", 1, READ_10) == 1
    assert SCANNER.lacks(bytes([1, 65, 9]), 1, bytes([65])) == 1
    assert SCANNER.lacks(bytes([9, 1, 3, 20]), 1, READ_10) == 5  # as much as a new answer has at least


# What fits what


@pytest.mark.parametrize(
    ("request_pdu", "answer", "fits"),
    [
        (READ, bytes([0x83, 2]), True),
        (READ, bytes([0x83]), False),
        (READ, bytes([0x83, 2, 0]), False),
        (READ, bytes([0x84, 2]), False),
        (READ, bytes([4, 2, 0, 5]), False),
        (READ, bytes([3, 2, 0, 5]), True),
        (READ, bytes([3, 3, 0, 5]), False),
        (READ, bytes([3, 4, 0, 5, 0, 6]), False),
        (bytes([1, 0, 0, 0, 9]), bytes([1, 2, 0, 1]), True),
        (bytes([1, 0, 0, 0, 9]), bytes([1, 1, 0]), False),
        (bytes([2, 0, 0, 0, 8]), bytes([2, 1, 0]), True),
        (bytes([4, 0, 0, 0, 1]), bytes([4, 2, 0, 1]), True),
        (bytes([4, 0, 0, 0, 1]), bytes([4, 4, 0, 1, 0, 2]), False),
        (bytes([3, 0, 0]), bytes([3, 2, 0, 1]), True),  # a raw request that says no count: its own length counts
        (bytes([3, 0, 0]), bytes([3, 3, 0, 1]), False),
        (bytes([3, 0, 0]), bytes([3]), False),
        (bytes([5, 0, 1, 255, 0]), bytes([5, 0, 1, 255, 0]), True),
        (bytes([5, 0, 1, 255, 0]), bytes([5, 0, 1, 0, 0]), False),
        (bytes([6, 0, 1, 0, 5]), bytes([6, 0, 1, 0, 6]), False),
        (bytes([22, 0, 1, 0, 5, 0, 6]), bytes([22, 0, 1, 0, 5, 0, 7]), False),
        (bytes([22, 0, 1, 0, 5, 0, 6]), bytes([22, 0, 1, 0, 5, 0, 6]), True),
        (bytes([15, 0, 1, 0, 3, 1, 7]), bytes([15, 0, 1, 0, 3]), True),
        (bytes([15, 0, 1, 0, 3, 1, 7]), bytes([15, 0, 1, 0, 4]), False),
        (bytes([16, 0, 1, 0, 1, 2, 0, 5]), bytes([16, 0, 1, 0, 1]), True),
        (bytes([16, 0, 1, 0, 1, 2, 0, 5]), bytes([16, 0, 2, 0, 1]), False),
        (bytes([8, 0, 0, 1, 2]), bytes([8, 0, 0, 3, 4]), True),
        (bytes([8, 0, 0, 1, 2]), bytes([8, 0, 1, 1, 2]), False),
        (bytes([8, 0, 0, 1, 2]), bytes([8, 0, 0, 1]), False),
        (bytes([23, 0, 0, 0, 2, 0, 0, 0, 1, 2, 0, 5]), bytes([23, 4, 0, 1, 0, 2]), True),
        (bytes([23, 0, 0, 0, 2, 0, 0, 0, 1, 2, 0, 5]), bytes([23, 2, 0, 1]), False),
        (bytes([23, 0]), bytes([23, 2, 0, 1]), True),
        (bytes([23, 0]), bytes([23, 3, 0, 1]), False),
        (bytes([12]), bytes([12, 2, 0, 1]), True),
        (bytes([12]), bytes([12, 3, 0, 1]), False),
        (bytes([17]), bytes([17, 1, 9]), True),
        (bytes([17]), bytes([17]), False),
        (bytes([20, 7]), bytes([20, 1, 9]), True),
        (bytes([20, 7]), bytes([20, 2, 9]), False),
        (bytes([21, 7]), bytes([21, 1, 9]), True),
        (bytes([21, 7]), bytes([21, 0, 9]), False),
        (bytes([7]), bytes([7, 9]), True),
        (bytes([65, 1]), bytes([65, 9, 9]), True),
    ],
)
def test_an_answer_fits_its_question(request_pdu, answer, fits):
    assert answer_fits(request_pdu, answer) is fits


def test_a_read_of_65535_registers_in_raw_bytes_fits_no_short_answer():
    assert answer_length(bytes([3, 0, 0, 255, 255])) == 2 + 2 * 65535
    assert not answer_fits(bytes([3, 0, 0, 255, 255]), bytes([3, 254]) + bytes(254))
    assert answer_length(bytes([3, 0, 0, 1])) is None
    assert answer_length(bytes([23, 0, 0, 0])) is None


@pytest.mark.parametrize("func", [1, 2, 3, 4, 12, 17, 20, 21, 23])
def test_these_answers_give_the_number_of_their_bytes(func):
    assert rtu_length(bytes([9, func, 6]), 0) == 11
    assert rtu_length(bytes([9, func]), 0) == 0
    assert rtu_length(bytes([9]), 0) == 0
    assert tells_length(bytes([func]))


@pytest.mark.parametrize(("func", "length"), [(5, 8), (6, 8), (7, 5), (8, 8), (11, 8), (15, 8), (16, 8), (22, 10)])
def test_these_answers_have_always_the_same_length(func, length):
    assert rtu_length(bytes([9, func]), 0) == length
    assert tells_length(bytes([func]))


def test_a_diagnostic_answer_is_as_long_as_its_question():
    assert rtu_length(bytes([9, 8]), 0, bytes([8, 0, 0, 1, 2, 3, 4])) == 10


def test_a_fifo_answer_gives_its_length_in_two_bytes():
    assert rtu_length(bytes([9, 24, 1, 2]), 0) == 6 + 258
    assert rtu_length(bytes([9, 24, 1]), 0) == 0
    assert tells_length(bytes([24, 0, 4]))
    assert not tells_length(bytes([65]))


def test_only_what_changes_nothing_may_be_asked_twice():
    assert set(READ_ONLY) == {1, 2, 3, 4, 7, 11, 12, 17, 20, 24, 43}


def test_the_function_of_an_answer_is_its_question_s_or_its_exception():
    assert SCANNER.find(frame(1, bytes([0x83, 2])), 1, READ, False) == (0, 5, bytes([0x83, 2]), True)
    assert SCANNER.find(frame(1, bytes([0x43, 2, 0, 5])), 1, READ, True) is None
    assert SCANNER.find(frame(1, bytes([3, 2])), 1, READ, True) == (0, 5, bytes([3, 2]), False)
    assert SCANNER.find(b"", 1, READ, True) is None


def test_the_shortest_frame_may_stand_at_the_very_end():
    assert SCANNER.find(b"\x09" + frame(1, b"\x41"), 1, b"\x41", True) == (1, 5, b"\x41", True)


@pytest.mark.parametrize("write", [frame, ascii_frame])
def test_the_first_of_two_answers_of_other_content_is_given(write):
    scanner = SCANNER if write is frame else TEXT
    first, second = write(1, bytes([3, 4, 0, 1, 0, 2])), write(1, bytes([3, 4, 0, 3, 0, 4]))
    assert scanner.find(first + second, 1, READ, False) == (0, len(first), bytes([3, 4, 0, 1, 0, 2]), False)


def test_an_ascii_answer_is_the_asked_units_and_functions():
    answer = bytes([3, 2, 0, 5])
    text = ascii_frame(1, answer)
    assert TEXT.find(b"?" + text, 1, READ, False) == (1, 16, answer, True)
    assert TEXT.find(text, 2, READ, False) is None
    assert TEXT.find(text, 1, bytes([4, 0, 0, 0, 1]), False) is None
    assert TEXT.find(ascii_frame(1, bytes([0x43, 2, 0, 5])), 1, READ, False) is None
    assert TEXT.find(ascii_frame(1, bytes([0x83, 2])), 1, READ, False) == (0, 11, bytes([0x83, 2]), True)
    odd = bytes([3, 4, 0, 1, 0, 2])
    assert TEXT.find(ascii_frame(1, odd) + text, 1, READ, False) == (19, 34, answer, True)
    assert TEXT.find(ascii_frame(1, odd), 1, READ, False) == (0, 19, odd, False)
    assert TEXT.frames(b"?" + text) == [(16, 1, answer)]


@pytest.mark.parametrize(
    "damaged", [b":0103020005F6\r\n", b":01030200F5\r", b"0103020005F5\r\n", b":01030200G5F5\r\n", b":010302005F5\r\n"]
)
def test_a_damaged_ascii_frame_is_none(damaged):
    assert TEXT.frames(b":0103020005F5\r\n") == [(15, 1, bytes([3, 2, 0, 5]))]
    assert TEXT.frames(damaged) == []


def test_an_ascii_frame_has_a_unit_a_function_and_a_checksum():
    assert TEXT.frames(ascii_frame(1, b"\x41")) == [(9, 1, b"\x41")]
    assert TEXT.frames(ascii_frame(1, b"")) == []
    assert TEXT.frames(b":00\r\n:\r\n") == []


@pytest.mark.parametrize("write", [frame, ascii_frame])
def test_the_beginning_of_an_answer_is_a_damaged_one_and_anothers_is_not(write):
    scanner = SCANNER if write is frame else TEXT
    assert scanner.looks_damaged(b"?" + write(1, TEN)[:-3], 1, 3)
    assert scanner.looks_damaged(write(1, bytes([0x83, 2]))[:-1], 1, 3)
    assert not scanner.looks_damaged(write(2, TEN)[:-3], 1, 3)
    assert not scanner.looks_damaged(write(1, bytes([4, 2, 9, 9])), 1, 3)
    assert TEXT.looks_damaged(b":0a83", 10, 3)


# The line


def test_times_on_the_wire_are_rounded_up():
    assert Line(9600, 5).wire_us(1) == 1146  # 11 bits
    assert Line(10000, 4).wire_us(7) == 7000
    assert [Line(9600, char_format).char_bits for char_format in range(6)] == [11, 11, 11, 11, 10, 11]
    assert Line(9600, 0, ASCII).char_bits == 10
    assert Line(9600, 0, ASCII, ascii_data_bits=8).char_bits == 11
    assert (Line(9600, 0).data_bits, Line(9600, 0, ASCII).data_bits) == (8, 7)
    assert (Line(9600, 0).ascii_gap, Line(9600, 0).frame_gap_us, Line(9600, 0).frame_mode) == (1.0, 0, 0)


def test_an_answer_is_waited_for_as_long_as_a_device_and_a_tty_may_take():
    """The end of the question, a character, 16 ms of the tty, 10 ms of the device or three characters on slow lines."""
    assert Line(9600, 5).shortest_wait() == pytest.approx(0.004012 + 0.001146 + 0.016 + 0.010, abs=1e-5)
    assert Line(1200, 5).shortest_wait() == pytest.approx(0.032084 + 0.009167 + 0.016 + 0.0275, abs=1e-4)


@pytest.mark.parametrize(
    "other", [(19200, 5, 0, 0, 7), (9600, 4, 0, 0, 7), (9600, 5, 1, 0, 7), (9600, 5, 0, 9, 7), (9600, 5, 1, 0, 8)]
)
def test_lines_differ_in_each_of_their_settings(other):
    rate, char_format, mode, gap, bits = other
    line = Line(rate, char_format, mode, gap, ascii_data_bits=bits)
    assert line.same_as(Line(rate, char_format, mode, gap, ascii_data_bits=bits))
    assert not line.same_as(Line(9600, 5, ascii_data_bits=7))
    assert not Line(9600, 5).same_as(None)
    if mode:
        assert not line.same_as(Line(rate, char_format, mode, gap, ascii_data_bits=15 - bits))


def test_a_setting_of_zero_is_a_search_s_value_too():
    serial = {"baudRate": 9600, "charFormat": 5, "frameMode": 1, "frameGapUs": 7, "asciiGapMs": 500, "asciiDataBits": 8}
    line = Line.of(serial, char_format=0, frame_mode=0)
    assert (line.char_format, line.frame_mode, line.frame_gap_us) == (0, 0, 7)
