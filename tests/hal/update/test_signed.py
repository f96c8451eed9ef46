"""Signed documents: which are believed, and what each refusal is called."""

import json

import pytest

from firmware.maker.signing import make_certificate, make_key, public_text, sign_document
from hal.contracts import UpdateRefused
from hal.update.signed import Keyring, Moment, open_signed
from tests.hal.update.keys import DAY, NOW, Maker

MOMENT = Moment(NOW, NOW)


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "keys")


def refusal(document, keyring, moment=MOMENT, use="bundle"):
    with pytest.raises(UpdateRefused) as caught:
        open_signed(document, use, keyring, moment)
    return caught.value.code


def test_a_document_of_a_trusted_key_is_believed(maker):
    document = maker.document("bundle", {"version": "1.2.3"})
    assert open_signed(document, "bundle", maker.keyring, MOMENT) == {"version": "1.2.3"}


@pytest.mark.parametrize("document", [None, 1, [], {}, {"payload": "{}"}, {"payload": "{}", "signature": "AAAA"}])
def test_what_bears_no_signature_is_unsigned(maker, document):
    assert refusal(document, maker.keyring) == "UPDATE_UNSIGNED"


def test_another_makers_document_is_signed_by_the_wrong_key(maker, tmp_path):
    other = Maker(tmp_path / "other")
    assert refusal(other.document("bundle", {}), maker.keyring) == "UPDATE_WRONG_KEY"


def test_a_certificate_cannot_be_taken_from_another_document(maker, tmp_path):
    other = Maker(tmp_path / "other")
    document = dict(other.document("bundle", {}), certificate=maker.certificate)
    assert refusal(document, maker.keyring) == "UPDATE_CHANGED"


@pytest.mark.parametrize("name", ["payload", "signature"])
def test_a_change_of_one_character_is_noticed(maker, name):
    document = maker.document("bundle", {"version": "1.2.3"})
    text = document[name]
    for index in range(len(text)):
        other = "B" if text[index] != "B" else "C"
        changed = dict(document, **{name: text[:index] + other + text[index + 1 :]})
        assert refusal(changed, maker.keyring) in ("UPDATE_CHANGED", "UPDATE_UNSIGNED")


def test_a_certificate_that_was_changed_is_of_no_trusted_key(maker):
    document = maker.document("bundle", {})
    payload = json.loads(document["certificate"]["payload"])
    stretched = dict(document["certificate"], payload=json.dumps(dict(payload, notAfter=NOW + 1000 * DAY)))
    assert refusal(dict(document, certificate=stretched), maker.keyring) == "UPDATE_WRONG_KEY"


def test_a_document_of_one_use_is_none_of_another(maker):
    assert refusal(maker.document("index", {}), maker.keyring) == "UPDATE_CHANGED"


def test_a_key_serves_only_the_uses_of_its_certificate(tmp_path):
    maker = Maker(tmp_path / "keys", uses=["licence"])
    assert refusal(maker.document("bundle", {}), maker.keyring) == "UPDATE_WRONG_KEY"


def test_a_revoked_key_is_refused(maker):
    keyring = Keyring(dict(maker.content, revoked=[public_text(maker.key)]))
    assert refusal(maker.document("bundle", {}), keyring) == "UPDATE_REVOKED"


def test_a_second_root_key_is_trusted_while_the_first_is_replaced(maker, tmp_path):
    root = make_key(str(tmp_path / "new.key"))
    signer = make_key(str(tmp_path / "signer.key"))
    certificate = make_certificate(root, public_text(signer), "next", ["bundle"], NOW - 1, NOW + 1)
    document = sign_document(signer, certificate, "bundle", {"version": "2.0.0"})
    keyring = Keyring({"roots": [*maker.content["roots"], public_text(root)]})
    assert open_signed(document, "bundle", keyring, MOMENT) == {"version": "2.0.0"}


def test_an_expired_certificate_is_refused(maker):
    late = Moment(NOW + 2 * DAY, 0)
    assert refusal(maker.document("bundle", {}), maker.keyring, late) == "UPDATE_EXPIRED"


def test_a_certificate_that_is_not_valid_yet_is_refused(maker):
    early = Moment(NOW - 2 * DAY, 0)
    assert refusal(maker.document("bundle", {}), maker.keyring, early) == "UPDATE_NOT_YET_VALID"


def test_a_clock_that_was_never_set_locks_no_update_out(maker):
    assert open_signed(maker.document("bundle", {}), "bundle", maker.keyring, Moment(None, 0)) == {}


def test_a_clock_that_was_set_back_revives_no_certificate(maker):
    set_back = Moment(NOW, NOW + 2 * DAY)
    assert refusal(maker.document("bundle", {}), maker.keyring, set_back) == "UPDATE_EXPIRED"


def test_a_key_that_is_none_makes_no_keyring(maker):
    with pytest.raises(Exception, match="roots"):
        Keyring({"roots": ["short"]})
