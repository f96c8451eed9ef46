"""The one table: it equals the device's list of endpoints, and everything derived from it holds."""

import json
import pathlib
import subprocess
import sys

import pytest
import schemathesis

from firmware.api.endpoints import ENDPOINTS
from firmware.api.errors import STATUS
from firmware.api.openapi import document

ROOT = pathlib.Path(__file__).parents[3]
LISTED = json.loads((ROOT / "tests" / "conformance" / "endpoints.json").read_text())


def test_every_row_equals_the_list():
    listed = {(row["method"], row["path"]): (row["level"], row["purpose"]) for row in LISTED}
    rows = {(endpoint.method, endpoint.path): (endpoint.level, endpoint.purpose) for endpoint in ENDPOINTS}
    assert len(rows) == len(ENDPOINTS)
    assert rows.items() <= listed.items()


def test_the_pages_made_from_the_tables_are_current():
    outcome = subprocess.run(
        [sys.executable, "-m", "docs.generate", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert outcome.returncode == 0, outcome.stderr


def test_every_code_that_a_service_gives_has_a_status():
    import re

    codes = set()
    for path in [*(ROOT / "firmware").rglob("*.py"), *(ROOT / "hal").rglob("*.py")]:
        codes |= set(re.findall(r'Refused\(\s*"([A-Z_]+)"', path.read_text()))
        codes |= set(re.findall(r'^    code = "([A-Z_]+)"', path.read_text(), re.MULTILINE))
    assert codes
    assert codes - set(STATUS) == set()


def test_every_operation_has_its_own_id():
    ids = [operation["operationId"] for path in document()["paths"].values() for operation in path.values()]
    assert len(set(ids)) == len(ENDPOINTS)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The simulated board's URL, its button pressed so that generated requests come through."""
    state = tmp_path_factory.mktemp("schema")
    arguments = ["--state-dir", str(state), "--http", "127.0.0.1:0", "--modbus-tcp", "127.0.0.1:0"]
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().split(",")[0].rstrip("/"), process
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert "Traceback" not in errors


UNSAFE = ("/api/cmd/reboot/", "/api/cmd/logout/", "/api/cmd/time/sync/", "/api/cmd/memory/card_eject")
SAFE = [row for row in ENDPOINTS if row.path not in UNSAFE]


@pytest.mark.parametrize("row", SAFE, ids=lambda row: row.path)
def test_generated_requests_never_find_an_unexpected_error(url, row):
    import signal

    import hypothesis

    base, process = url
    process.send_signal(signal.SIGUSR1)
    operation = schemathesis.openapi.from_dict(document())[row.path][row.method]

    @hypothesis.settings(
        max_examples=25,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def ask(case):
        answer = case.call(base_url=base, headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 401, 403, 404, 409, 413, 414, 415, 429, 431, 503), answer.text
        if answer.status_code == 200:
            case.validate_response(answer, checks=[schemathesis.checks.response_schema_conformance])
        elif row.method == "GET" or answer.content:
            assert set(answer.json()) == {"error", "message"}

    ask()
