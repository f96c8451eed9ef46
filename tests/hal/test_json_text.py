"""JSON texts as files and bodies bring them: byte order marks, other encodings, what is no JSON, long ones."""

import asyncio
import json

import pytest

from hal import json_text
from hal.fields import BadField, Choice, Integer
from hal.json_text import JsonError, WrongEncoding, json_loads, json_loads_in_turns

LONG = [
    "[" + ",".join(["{}"] * 21000) + "]",
    "[" + ",".join(["[[[[[]]]]]"] * 5900) + "]",
    '["' + '\\"' * 31000 + '"]',
    "{" + ",".join(f'"{number}": [1.5e3, null]' for number in range(2500)) + "}",
]


def test_a_byte_order_mark_is_ignored():
    assert json_loads(b'\xef\xbb\xbf{"a": 1}') == json_loads('\ufeff{"a": 1}') == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_named(encoding):
    with pytest.raises(WrongEncoding, match="UTF-16" if "16" in encoding else "UTF-32"):
        json_loads('{"a": 1}'.encode(encoding))


def test_bytes_that_are_no_text_are_named():
    with pytest.raises(JsonError, match="not UTF-8"):
        json_loads(b'{"a": "\xe4"}')


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "1" * 5000])
def test_what_the_parser_takes_besides_json_is_refused(text):
    with pytest.raises(JsonError):
        json_loads(text)
    with pytest.raises(JsonError):
        json_text.check_json(text)


def test_an_error_says_at_which_character():
    for load in (json_loads, json_text.check_json):
        with pytest.raises(JsonError) as caught:
            load('{"ä": 1, "ö" 2}')
        assert caught.value.position == 13
        for word in ("NaN", "Infinity", "-Infinity"):
            with pytest.raises(JsonError) as caught:
                load('{"ä": 1, "ö": ' + word + "}")
            assert caught.value.position in (14, 15)  # the word, or what follows its sign


@pytest.mark.parametrize("text", LONG)
def test_long_texts_are_parsed_without_a_walk_over_their_characters(text, monkeypatch):
    def walk(data):
        raise AssertionError("walked")

    monkeypatch.setattr(json_text, "_check", walk)
    assert json_loads(text) == json.loads(text)
    with pytest.raises(JsonError, match="nested deeper"):
        json_loads(text[:-1] + ("," if text[0] == "[" else ', "deep": ') + "[" * 32 + "]" * 32 + text[-1])


@pytest.mark.parametrize("text", LONG)
def test_where_a_text_must_be_walked_others_get_their_turns(text, monkeypatch):
    monkeypatch.setattr(json_text, "MICROPYTHON", True)  # its parser takes anything, so the text is walked first

    async def count_turns():
        turns = 0

        async def others():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        task = asyncio.create_task(others())
        value = await json_loads_in_turns(text)
        task.cancel()
        return turns, value

    turns, value = asyncio.run(count_turns())
    assert value == json.loads(text)
    assert turns > 20 or max(len(word) for word in text.split(",")) > 2048


@pytest.mark.parametrize(("given", "taken"), [(7, 7), (7.0, 7), (1e2, 100), (-0.0, 0)])
def test_whole_numbers_are_integers_however_they_are_written(given, taken):
    value = Integer(-5, 100).check(given, "count")
    assert (value, type(value)) == (taken, int)


@pytest.mark.parametrize("given", [7.5, 100.5, 101.0, 1e300, float("inf"), float("nan"), True, "7", None])
def test_anything_else_is_no_integer(given):
    with pytest.raises(BadField, match=r"count: must be an integer -5\.\.100"):
        Integer(-5, 100).check(given, "count")


def test_a_choice_of_numbers_takes_them_however_they_are_written():
    assert Choice(0, 1).check(1.0, "way") == 1
    with pytest.raises(BadField):
        Choice(0, 1).check(True, "way")
