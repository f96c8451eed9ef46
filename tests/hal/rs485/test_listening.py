"""Listening to a line of others: frames are cut and paired however the tty hands over the bytes."""

import pytest

from hal.rs485.checksums import ascii_frame, crc16
from hal.rs485.framing import ASCII, Line
from hal.rs485.listening import ANSWER_US, Listener

READ, VALUE = "0300000002", "030404d2162e"
DIALOGUE = [  # (unit id, question, answer)
    (1, READ, VALUE),
    (7, "0600010007", "0600010007"),
    (1, "1000000002040001002a", "1000000002"),
    (9, "0300000001", "8302"),
    (2, "0100130003", "010105"),
    (3, "2b0e0100", "2b0e01010000010003414243"),
    (4, "41010203", "41aabb"),
    (0, "0600010007", None),
    (5, "11", None),
]


class Rig:
    def __init__(self, line=None):
        self.line = line or Line(9600, 5)
        self.heard = []
        self.listener = Listener(self.line, self.heard.append)
        self.now = 1000000

    def frame(self, uid, pdu):
        content = bytes([uid]) + bytes.fromhex(pdu)
        if self.line.frame_mode == ASCII:
            return ascii_frame(content)
        return content + crc16(content)

    def say(self, data, lump):
        """Bytes at the line's pace, handed over one by one or `lump` at a time."""
        for at in range(0, len(data), lump):
            part = data[at : at + lump]
            self.now += self.line.wire_us(len(part))
            self.listener.add(part, self.now)

    def wait(self, us):
        """Let time pass as the service does: `settle` whenever it is due."""
        end = self.now + us
        while (due := self.listener.due()) is not None and due <= end:
            self.now = max(self.now, due)
            self.listener.settle(self.now)
        self.now = end

    def told(self):
        return [(heard.uid, heard.question.hex(), heard.answer.hex() or None, heard.error) for heard in self.heard]


def expected():
    return [(uid, question, answer, None if answer or uid == 0 else "TIMEOUT") for uid, question, answer in DIALOGUE]


@pytest.mark.parametrize("lump", [1, 7, 300])
@pytest.mark.parametrize("frame_mode", [0, ASCII])
def test_questions_and_answers_are_paired(lump, frame_mode):
    rig = Rig(Line(9600, 5, frame_mode, ascii_gap=0.1))
    for uid, question, answer in DIALOGUE:
        rig.say(rig.frame(uid, question), lump)
        rig.wait(50000)
        if answer:
            rig.say(rig.frame(uid, answer), lump)
            rig.wait(150000)
    rig.wait(2 * ANSWER_US)
    assert rig.told() == expected()


def test_frames_that_a_tty_hands_over_together_are_told_apart_by_their_lengths():
    rig = Rig(Line(115200, 5))
    known = [row for row in DIALOGUE if row[1][:2] != "41"]
    glued = b""
    for uid, question, answer in known:
        glued += rig.frame(uid, question) + (rig.frame(uid, answer) if answer else b"")
    rig.say(glued, 300)
    rig.wait(2 * ANSWER_US)
    assert [row[:3] for row in rig.told()] == known


def test_times_are_those_of_the_line_however_late_the_bytes_are_handed_over():
    paced, late = Rig(), Rig()
    for rig, lump in ((paced, 1), (late, 100)):
        rig.say(rig.frame(1, READ), lump)
        rig.wait(20000)
        rig.say(rig.frame(1, VALUE), lump)
        rig.wait(100000)
    times = [(heard.began, heard.asked, heard.first, heard.ended) for rig in (paced, late) for heard in rig.heard]
    assert [abs(one - other) < 1000 for one, other in zip(*times, strict=True)] == [True] * 4
    began, asked, first, ended = times[1]
    assert (asked - began, ended - first) == (late.line.wire_us(8), late.line.wire_us(9))
    assert 19000 <= first - asked <= 21000


def test_a_broken_answer_is_one_and_noise_is_noise():
    rig = Rig()
    rig.say(rig.frame(1, READ), 1)
    rig.wait(20000)
    broken = rig.frame(1, VALUE)[:-1] + b"\x00"
    rig.say(broken, 1)
    rig.wait(100000)
    rig.say(b"\x55\xaa\x55", 1)
    rig.wait(100000)
    assert [(heard.uid, heard.error, heard.noise) for heard in rig.heard] == [
        (1, "BAD_FRAME", broken),
        (0x55, "BAD_FRAME", b"\x55\xaa\x55"),
    ]
    rig.say(b"\x00" + rig.frame(1, READ), 1)  # noise runs into a question
    rig.wait(30000)
    rig.say(rig.frame(1, VALUE), 1)
    rig.wait(100000)
    assert rig.told()[-1] == (1, READ, VALUE, None)


def test_a_question_that_is_asked_again_was_not_answered():
    rig = Rig()
    for _ in range(3):
        rig.say(rig.frame(1, READ), 8)
        rig.wait(300000)
    rig.say(rig.frame(1, VALUE), 8)
    rig.wait(100000)
    assert [row[3] for row in rig.told()] == ["TIMEOUT", "TIMEOUT", None]


def test_an_answer_whose_question_was_not_heard_is_shown_alone():
    rig = Rig()
    rig.say(rig.frame(1, VALUE), 4)
    rig.wait(100000)
    assert rig.told() == [(1, "", VALUE, None)]


def test_memory_is_bounded_on_a_line_that_babbles():
    rig = Rig()
    for _ in range(200):
        rig.say(b"\xff" * 100, 10)
    assert len(rig.listener._data) <= 1024
    rig.wait(ANSWER_US)
    assert len(rig.heard) == 1
