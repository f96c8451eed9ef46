"""Text messages as PDUs, against vectors worked out from the specification and against the fake modem's own reading."""

import random

import pytest

from hal.gsm.sms import submit_pdus
from hal.simulated.modem.sms import Outbox, read_pdu

GSM = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./019:;<=>?¡AZÄÖÑÜ§¿azäöñüà^{}\\[~]|€"


def received(phone, text):
    """(text, number of parts) as the network reads them."""
    outbox = Outbox()
    pdus = submit_pdus(phone, text, 77)
    for length, pdu in pdus:
        assert length == len(pdu) // 2 - 1  # without the service centre's address
        outbox.add(read_pdu(pdu.encode(), length), "pdu")
    (message,) = outbox.sent
    assert message.phone == phone
    return message.text, message.parts


def test_a_short_message_is_the_pdu_of_the_specification():
    # 23.040 section 9.2.2.2: SUBMIT, reference 0, 11 digits +46708251358, PID 0, DCS 0, 10 septets
    assert submit_pdus("+46708251358", "hellohello", 1) == [(22, "0001000B916407281553F800000AE8329BFD4697D9EC37")]
    assert submit_pdus("12345", "a", 1) == [(11, "000100058121" + "43F5" + "00000161")]


def test_other_scripts_are_big_endian_utf_16():
    ((length, pdu),) = submit_pdus("+46708251358", "Їж", 1)
    assert (length, pdu) == (17, "0001000B916407281553F80008" + "04" + "04070436")


def test_a_part_of_a_long_message_has_a_header_and_a_fill_bit():
    pdus = submit_pdus("+46708251358", "a" * 161, 0x5A)
    assert [pdu[:46] for _, pdu in pdus] == [
        "0041000B916407281553F80000" + "A0" + "0500035A0201" + "C2E170",
        "0041000B916407281553F80000" + "0F" + "0500035A0202" + "C2E170",
    ]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a" * 160, 1),
        ("a" * 161, 2),
        ("a" * 306, 2),
        ("a" * 307, 3),
        ("a" * 1530, 10),
        ("€" * 80, 1),
        ("a" * 159 + "€", 2),
        ("a" * 152 + "€" + "a" * 10, 2),
        ("ж" * 70, 1),
        ("ж" * 71, 2),
        ("ж" * 670, 10),
        ("😀" * 35, 1),
        ("😀" * 36, 2),
        ("ж" * 66 + "😀" + "ж" * 10, 2),
        (GSM, 1),
        ("", 1),
        ("\n", 1),
    ],
)
def test_what_arrives_is_what_was_sent(text, parts):
    assert received("+380501234567", text) == (text, parts)


def test_random_texts_arrive():
    choice = random.Random(252)
    for _ in range(300):
        alphabet = choice.choice([GSM, GSM + "жї", "жї😀€a"])
        text = "".join(choice.choice(alphabet) for _ in range(choice.randrange(1, 400)))
        phone = choice.choice(["", "+"]) + "".join(choice.choice("0123456789") for _ in range(choice.randrange(5, 16)))
        assert received(phone, text)[0] == text


@pytest.mark.parametrize("text", ["a" * 1531, "ж" * 671, "😀" * 331])
def test_a_text_of_more_than_ten_parts_is_refused(text):
    with pytest.raises(ValueError, match="must fit 10 messages, and takes 11"):
        submit_pdus("+380501234567", text, 1)


@pytest.mark.parametrize(
    "phone", ["", "+", "12", "+1234567890123456", "+38050 1234567", "٣٤٥٦٧", '1234";+CMGD=1', "++12345"]
)
def test_what_is_no_phone_number_is_refused(phone):
    with pytest.raises(ValueError, match="phone: must be"):
        submit_pdus(phone, "text", 1)


def test_a_lone_surrogate_does_no_harm():
    assert received("+380501234567", "ж\ud800") == ("ж?", 1)
