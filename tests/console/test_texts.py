"""The texts: the same in both languages, each that is asked for is there, and every setting is explained."""

import ast
import json
import re

import pytest

from deploy.console.build import SITE, WEB
from firmware.api.endpoints import ENDPOINTS
from firmware.api.errors import ERRORS
from firmware.services.settings.table import SETTINGS
from hal.fields import BadField, ListOf, Nullable, Object

FIRMWARE = WEB.parent


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
    assert english.keys() == {key for key in ukrainian if not key.startswith(("help.", "said."))}
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


def test_every_error_of_the_api_is_told_in_words_in_both_languages(texts):
    for spoken in texts:
        assert {f"e.{code}" for code in ERRORS} - spoken.keys() == set()
    assert [code for code in ERRORS if texts[0][f"e.{code}"] == texts[1][f"e.{code}"]] == []


def told(texts, words):
    """What the page says in place of the device's words on a field; None where it has no such form."""
    for key, text in texts.items():
        form = re.sub(r"\\{\d\\}", "(.+)", re.escape(key.removeprefix("said.")))
        found = key.startswith("said.") and re.fullmatch(form, words)
        if found:
            return text.format(*found.groups())
    return None


WRONG = [None, True, "", "x", "x" * 3000, "\x01", "=", -(10**17), 10**17, 1.5, [], [None] * 999, {}, {"nope": 1}, [{}]]


def refusals(kind, where):
    """What is said of wrong values of a kind and of its members."""
    for value in WRONG:
        try:
            kind.check(value, where)
        except BadField as exc:
            yield from [problem.partition(": ")[2] for problem in exc.problems]
    while isinstance(kind, (Nullable, ListOf)):
        kind = kind.kind
    for field in kind.fields if isinstance(kind, Object) else ():
        yield from refusals(field.kind, f"{where}.{field.name}")


def test_every_refusal_of_a_wrong_value_is_told_in_ukrainian(texts):
    bodies = [endpoint.body for endpoint in ENDPOINTS if isinstance(endpoint.body, Object)]
    kinds = [key.kind for key in SETTINGS] + bodies
    found = {words for kind in kinds for words in refusals(kind, "field")}
    assert len(found) > 80
    assert sorted(words for words in found if told(texts[1], words) is None) == []
    assert told(texts[1], "must be an integer 1..247") == "має бути ціле число від 1 до 247"


RULE = re.compile(r"[\w.\[\]]+: ((must|is missing|is needed|has no place|belongs|the (range|end)) .*[^ ])")


def sentences(node):
    """The texts in a source, with 1 for what is filled in."""
    if isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "1" for part in node.values)
    elif isinstance(node, ast.Constant):
        yield str(node.value)
    else:
        for inner in ast.iter_child_nodes(node):
            yield from sentences(inner)


def rules():
    """What is said of fields in the sources themselves, not of queries: the page's own are right."""
    folders = [FIRMWARE / "api", *(FIRMWARE / "services" / name for name in ("settings", "network", "bus", "routing"))]
    for path in [path for folder in folders for path in folder.rglob("*.py") if path.name != "query.py"]:
        yield from [found[1] for text in sentences(ast.parse(path.read_text())) if (found := RULE.fullmatch(text))]


def test_every_rule_between_settings_and_between_fields_is_told_in_ukrainian(texts):
    found = set(rules())
    assert len(found) > 30
    assert sorted(words for words in found if told(texts[1], words) is None) == []
