"""The texts: the same in both languages, each that is asked for is there, and every setting is explained."""

import json
import re

import pytest

from deploy.console.build import SITE, WEB
from firmware.api.error_meanings import MEANINGS
from firmware.services.settings.table import SETTINGS
from hal.fields import ListOf, Nullable, Object

OF_PROGRAMS = {  # errors of a client that speaks HTTP or the API in a wrong way
    "BAD_REQUEST",
    "BAD_JSON",
    "UNKNOWN_KEY",
    "METHOD_NOT_ALLOWED",
    "URI_TOO_LONG",
    "HEADERS_TOO_LARGE",
    "NOT_IMPLEMENTED",
    "HTTP_VERSION",
}


@pytest.fixture(scope="module")
def texts():
    return [json.loads((WEB / "texts" / f"{language}.json").read_text()) for language in ("en", "uk")]


def explained(field, path=""):
    """(path, English help) of what the page shows with a help: fields, and keys that have none."""
    path = f"{path}.{field.name}".lstrip(".")
    kind = field.kind
    if not isinstance(kind, Object):
        yield path, field.help
    while isinstance(kind, (Nullable, ListOf)):
        kind = kind.kind
    for inner in kind.fields if isinstance(kind, Object) else ():
        yield from explained(inner, path)


def help_of(texts, path):
    return texts.get(f"help.{path}") or texts.get(f"help.{path.rpartition('.')[2]}")


def test_both_languages_have_the_same_texts_with_the_same_gaps(texts):
    english, ukrainian = texts
    assert english.keys() == {key for key in ukrainian if not key.startswith("help.")}
    for key, text in english.items():
        gaps = sorted(re.findall(r"{\w+}", text))
        assert sorted(re.findall(r"{\w+}", ukrainian[key])) == gaps, key


def test_every_text_that_the_page_asks_for_is_there(texts):
    sources = [path.read_text() for path in WEB.rglob("*.js") if SITE not in path.parents]
    asked = {key for source in sources for key in re.findall(r'\bt\("([^"]+)"[,)]', source)}
    assert len(asked) > 200 and asked - texts[0].keys() == set()


def test_every_key_of_the_settings_has_a_name_for_people(texts):
    assert {f"set.{key.name}" for key in SETTINGS} - texts[0].keys() == set()


def test_every_setting_is_explained_in_ukrainian_and_those_that_differ_in_english_differ(texts):
    ukrainian = texts[1]
    found = [(path, english) for key in SETTINGS for path, english in explained(key)]
    assert len(found) > 120
    assert [path for path, _ in found if not help_of(ukrainian, path)] == []
    spoken: dict = {}
    for path, english in found:
        spoken.setdefault(help_of(ukrainian, path), set()).add(english)
    assert {text: helps for text, helps in spoken.items() if len(helps) > 1} == {}
    used = {f"help.{name}" for path, _ in found for name in (path, path.rpartition(".")[2])}
    assert {key for key in ukrainian if key.startswith("help.")} - used == set()


def test_every_error_of_the_api_that_a_page_can_meet_is_told_in_words(texts):
    assert {f"e.{code}" for code in MEANINGS.keys() - OF_PROGRAMS} - texts[0].keys() == set()
