"""Answers that are owed: which questions wait for them, which frames pay them, when they are given up."""

import pytest

from firmware.services.bus.debts import Debts

FOUR, TWO, COILS = bytes([3, 0, 0, 0, 4]), bytes([3, 0, 0, 0, 2]), bytes([1, 0, 0, 0, 4])
TO_FOUR, TO_TWO = bytes([3, 8, *range(8)]), bytes([3, 4, *range(4)])
LATER = 1000


@pytest.fixture
def debts():
    debts = Debts()
    debts.add(7, FOUR, 0, LATER)
    return debts


@pytest.mark.parametrize(
    ("uid", "question", "now", "waits"),
    [
        (7, FOUR, LATER - 1, True),
        (7, FOUR, LATER, False),  # its time has passed
        (7, TWO, 1, False),  # an answer of another length
        (7, COILS, 1, False),  # or function
        (8, FOUR, 1, False),  # or unit
        (7, bytes([99, 1]), 1, False),
    ],
)
def test_only_a_question_whose_answer_could_be_confused_with_one_that_is_owed_waits(debts, uid, question, now, waits):
    assert debts.hold(uid, question, now) is waits


@pytest.mark.parametrize(
    ("uid", "question", "now", "owes"),
    [(7, TWO, 1, True), (7, FOUR, 1, False), (7, TWO, LATER, False), (7, COILS, 1, False), (8, TWO, 1, False)],
)
def test_a_unit_owes_answers_to_other_questions_of_a_function(debts, uid, question, now, owes):
    assert debts.has_other(uid, question, now) is owes


def test_what_is_asked_again_does_not_wait_for_the_answer_to_its_first_try(debts):
    assert not debts.hold(7, FOUR, 1, repeated=True)
    debts.add(7, bytes([3, 0, 9, 0, 4]), 5, LATER)
    assert debts.hold(7, FOUR, 1, repeated=True)


@pytest.mark.parametrize(("uid", "now", "others"), [(7, 1, False), (8, 1, True), (8, LATER, False)])
def test_what_others_owe_may_come_at_any_moment(debts, uid, now, others):
    assert debts.others_owe(uid, now) is others


def test_a_frame_pays_the_debt_that_it_fits_best_and_each_but_once(debts):
    debts.add(7, TWO, 5, LATER)
    assert debts.pay(8, TO_FOUR) is None
    assert debts.pay(7, bytes([1, 1, 0])) is None
    assert debts.pay(7, TO_TWO).pdu == TWO
    assert debts.pay(7, TO_TWO).pdu == FOUR  # of its function at least
    assert debts.pay(7, TO_TWO) is None
    assert debts.next_end() is None


def test_of_two_that_a_frame_fits_as_well_it_pays_the_older(debts):
    debts.add(7, FOUR, 5, LATER)
    assert [debts.pay(7, TO_FOUR).asked, debts.pay(7, TO_FOUR).asked] == [0, 5]


def test_an_exception_pays_the_debt_of_its_function_where_it_can_be_nothing_else(debts):
    debts.add(7, COILS, 5, LATER)
    assert debts.pay(7, bytes([0x83, 2])).pdu == FOUR


@pytest.mark.parametrize("asked_since", [lambda debts: debts.add(7, TWO, 5, LATER), lambda debts: debts.asking(7, 3)])
def test_an_exception_that_could_be_the_answer_to_another_question_pays_no_debt(debts, asked_since):
    asked_since(debts)
    assert debts.pay(7, bytes([0x83, 2])) is None
    assert debts.hold(7, FOUR, 1)  # its answer may still come
    assert debts.pay(7, TO_FOUR).pdu == FOUR


def test_a_debt_is_given_up_at_its_end_and_only_who_still_waits_is_told(debts):
    debts.add(7, TWO, 5, LATER + 1, "waits")
    debts.add(9, TWO, 5, LATER, "gives up")
    assert debts.next_end() == LATER
    assert debts.release("gives up") is True
    assert debts.release("gives up") is False
    assert debts.given_up(LATER) == []
    assert debts.next_end() == LATER + 1
    (given_up,) = debts.given_up(LATER + 1)
    assert (given_up.transaction, given_up.pdu) == ("waits", TWO)
    assert debts.next_end() is None


def test_all_debts_are_forgotten_at_once(debts):
    debts.add(7, TWO, 5, LATER, "waits")
    assert debts.clear() == ["waits"]
    assert debts.clear() == []
    assert debts.has_other(7, TWO, 1) is False
