"""What is wrong with the device, as services report it."""

from firmware.services.problems import LIMIT, Problems


def test_a_problem_is_listed_until_it_is_withdrawn_and_logged_once(capsys):
    problems = Problems()
    for _ in range(3):
        problems.report("clock", "the clock has stopped")
    problems.report("card", "the card is full")
    assert problems.texts() == ["the clock has stopped", "the card is full"]
    problems.report("clock", "the clock is slow")
    problems.withdraw("card")
    problems.withdraw("card")
    assert problems.texts() == ["the clock is slow"]
    problems.withdraw("clock")
    assert problems.texts() == []
    log = capsys.readouterr().err
    assert log.splitlines() == ["the clock has stopped", "the card is full", "the clock is slow"]


def test_the_list_is_bounded_and_keeps_the_newest():
    problems = Problems()
    for number in range(3 * LIMIT):
        problems.report(f"key {number}", f"text {number}")
    assert problems.texts() == [f"text {number}" for number in range(2 * LIMIT, 3 * LIMIT)]
