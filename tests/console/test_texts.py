"""The texts: the same in both languages, each of them used, none missing."""

import json
import re
import subprocess

import pytest

from deploy.console.build import SITE, WEB
from firmware.services.settings.table import SETTINGS
from tests.micropython import ROOT

SCRIPT = """
import en from "{web}/texts/en.js";
import uk from "{web}/texts/uk.js";
console.log(JSON.stringify([en, uk]));
"""


@pytest.fixture(scope="module")
def texts():
    asked = ["node", "--input-type=module", "-e", SCRIPT.format(web=WEB)]
    try:
        return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True, cwd=ROOT).stdout)
    except FileNotFoundError:
        pytest.skip("no node here")


def test_both_languages_have_the_same_texts_with_the_same_gaps(texts):
    english, ukrainian = texts
    assert english.keys() == ukrainian.keys()
    for key, text in english.items():
        gaps = sorted(re.findall(r"{\w+}", text))
        assert sorted(re.findall(r"{\w+}", ukrainian[key])) == gaps, key


def test_every_text_that_the_page_asks_for_is_there(texts):
    sources = [path.read_text() for path in WEB.rglob("*.js") if SITE not in path.parents]
    asked = {key for source in sources for key in re.findall(r'\bt\("([^"]+)"[,)]', source)}
    assert len(asked) > 200 and asked - texts[0].keys() == set()


def test_every_key_of_the_settings_has_a_name_for_people(texts):
    assert {f"set.{key.name}" for key in SETTINGS} - texts[0].keys() == set()
