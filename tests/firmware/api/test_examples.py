"""The examples of docs/api.md: asked again of a device that has just started, each works and is as it is shown."""

import json
import re
import subprocess

import pytest

from docs.examples import PLACE, REFUSED, REQUESTS, SETTINGS, ask, content_of
from firmware.api.endpoints import ENDPOINTS
from firmware.api.openapi import errors_of
from hal.fields import Object
from tests.firmware.running import BOARD, ROOT, Running

WRITTEN = json.loads(PLACE.read_text())
ROWS = {(row.method, row.path): row for row in ENDPOINTS}


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """The examples as a device answers them today."""
    with Running(tmp_path_factory.mktemp("examples"), dict(BOARD, settings=SETTINGS)) as running:
        yield ask(running)


def shape(value):
    """Names and JSON types, however many members a list has and whatever is null today."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) else "text or null"


def test_every_endpoint_has_an_example():
    assert {(method, path.split("?")[0]) for method, path, _ in REQUESTS} == set(ROWS)


@pytest.mark.parametrize("index", range(len(REQUESTS)), ids=[path for _, path, _ in REQUESTS])
def test_an_example_succeeds_and_is_as_declared(answered, index):
    example = answered[index]
    path = example["path"].split("?")[0]
    if path in REFUSED:
        assert example["status"] == 409
        return
    assert example["status"] == 200, example["answer"]
    answer = ROWS[example["method"], path].answer()
    answer.check(example["answer"], "answer")
    assert isinstance(answer, Object) or example["answer"]


@pytest.mark.parametrize("index", range(len(REQUESTS)), ids=[path for _, path, _ in REQUESTS])
def test_an_example_of_the_manual_is_what_the_device_answers(answered, index):
    written, example = WRITTEN[index], answered[index]
    assert (written["method"], written["path"].split("?")[0]) == (example["method"], example["path"].split("?")[0])
    assert written["status"] == example["status"]
    if example["path"] != "/api/modbus/class-find/result/":  # is under way
        assert shape(written["answer"]) == shape(example["answer"]), "python -m docs.examples"


def test_the_shell_login_of_the_manual_works(tmp_path):
    script = re.search(r"```sh\n(.*?)```", (ROOT / "docs" / "login.md").read_text(), re.DOTALL)[1]
    with Running(tmp_path) as running:
        url = str(running.client.base_url).rstrip("/")
        script = script.replace("http://192.168.1.20", url)
        outcome = subprocess.run(["sh", "-euc", script], capture_output=True, text=True, timeout=30)
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout)["device"] == "MC252"


def test_without_its_parts_a_device_answers_as_declared_too(tmp_path):
    absent = dict.fromkeys(("network", "rs485", "card", "clock", "modem", "button", "updater"))
    with Running(tmp_path, dict(BOARD, settings={}, **absent), modbus_tcp=None) as running:
        running.login()
        for row in ENDPOINTS:
            if row.method == "GET":
                if row.takes_ticket:
                    continue  # a stream without an end
                answer = running.client.get(row.path + "?list=true" * row.path.endswith("/find/result/"))
                if answer.status_code == 200:
                    row.answer().check(content_of(answer), row.path)
                else:
                    assert answer.json()["error"] in errors_of(row), row.path
