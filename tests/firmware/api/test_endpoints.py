"""The one table: it equals the device's list of endpoints, and everything derived from it holds."""

import json
import pathlib
import re
import subprocess
import sys

from firmware.api.endpoints import ENDPOINTS
from firmware.api.error_meanings import MEANINGS
from firmware.api.errors import ERRORS, error_answer
from firmware.api.openapi import document_parts

ROOT = pathlib.Path(__file__).parents[3]
DOCUMENT = json.loads("".join(document_parts()))
LISTED = json.loads((ROOT / "tests" / "conformance" / "endpoints.json").read_text())


def test_every_row_equals_the_list():
    listed = {(row["method"], row["path"]): (row["level"], row["purpose"]) for row in LISTED}
    rows = {(endpoint.method, endpoint.path): (endpoint.level, endpoint.purpose) for endpoint in ENDPOINTS}
    assert len(rows) == len(ENDPOINTS)
    assert listed.items() <= rows.items()  # there are more besides


def test_the_pages_made_from_the_tables_are_current():
    outcome = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr


SOURCES = [
    path.read_text()
    for folder in ("firmware", "hal")
    for path in (ROOT / folder).rglob("*.py")
    if path.name != "errors.py"
]


def test_every_code_that_is_given_is_in_the_table_of_errors():
    given = set()
    for source in SOURCES:
        given |= set(re.findall(r'(?:Refused|HttpError|error_answer)\(\s*"([A-Z_]+)"', source))
        given |= set(re.findall(r'^    code = "([A-Z_]+)"', source, re.MULTILINE))
    assert len(given) > 30
    assert given - set(ERRORS) == set()


def test_every_code_in_the_table_of_errors_is_given_by_something():
    assert [code for code in ERRORS if not any(f'"{code}"' in source for source in SOURCES)] == []


def test_an_error_says_for_how_many_seconds_to_wait_where_waiting_helps():
    assert error_answer("BUSY", "full").headers["Retry-After"] == "1"
    assert error_answer("TOO_MANY_ATTEMPTS", "wait", retry_after=64).headers["Retry-After"] == "64"
    assert "Retry-After" not in error_answer("NO_CARD", "none").headers


def test_every_operation_has_its_own_id():
    ids = [operation["operationId"] for path in DOCUMENT["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ENDPOINTS)


def test_every_code_has_a_meaning_and_no_other_has():
    assert list(MEANINGS) == list(ERRORS)
