"""What is a frame, how long it is, and whether it answers its question."""

import random

import pytest

from hal.rs485.checksums import crc16
from hal.rs485.framing import (
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
