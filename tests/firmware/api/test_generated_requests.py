"""Requests made from the OpenAPI document: the device takes what it allows, refuses the rest and answers as it says.

All checks that schemathesis has. What they find and is right nevertheless stands here with its reason. `make test` does
a share of it, `make generated-requests` (MC252_GENERATED=whole) also every boundary of every field: 6000 requests.
"""

import json
import os

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import AcceptedNegativeData, RejectedPositiveData

from firmware.api.endpoints import ENDPOINTS
from firmware.api.kinds import Anything, Named
from firmware.api.openapi import document_parts
from hal.fields import BadField, ListOf, Object
from tests.firmware.running import BOARD, Running

load_all_checks()

UNSAFE = {  # they end what the others need, or do not end
    "/api/events/": "never ends",
    "/api/cmd/reboot/": "the device",
    "/api/cmd/logout/": "the session",
    "/api/cmd/settings/reset/": "the login, on which the answers depend",
    "/api/cmd/memory/card_eject": "the card",
    "/api/cmd/time/sync/": "the test's time: it asks servers that are not there",
}
RULES = {  # what JSON Schema cannot say of a body whose fields are right one by one
    "/api/settings/saved/set/": "rules over several settings, which depend on those that are saved",
    "/api/cmd/settings/import/": "the same",
    "/api/modbus/req/": "which fields belong together depends on the function",
    "/api/modbus/trace/record/": "filePath, or stop",
    "/api/modbus/find/start/": "baudRate or baudRates, charFormat or charFormats, uidFrom up to uidTo",
    "/api/cmd/time/set/": "a moment that exists",
    "/api/card/file/read/": "a block that the file has",
    "/api/card/file/write/": "1024 bytes in each block but the last, which is less than blockCount",
}
KNOWN_BY_THE_DEVICE = {  # code of a refusal -> what JSON Schema cannot know
    "BAD_PATH": "a name's length counts in UTF-16",
    "NOT_DIRECTORY": "what lies on the card",
    "IS_DIRECTORY": "what lies on the card",
    "UPDATE_DISABLED": "setting download",
    "BAD_LICENCE": "which licences are this device's",
}
IN_THE_ANSWER = {  # what is wrong is told with a success
    "/api/modbus/class-find/search-meta-info/": "in errorCode, as the original device does it",
    "/api/modbus/class-find/start/": "in errorCode, as the original device does it",
    "/api/cmd/settings/import/": "in notices: what the board cannot use is not looked at",
}
BODIES = {row.path: row.body for row in ENDPOINTS}


def described():
    """The document without the unsafe ones, and without what any request may get: so an undeclared status is found."""
    document = json.loads("".join(document_parts()))
    for path in UNSAFE:
        del document["paths"][path]
    for path in document["paths"].values():
        for operation in path.values():
            del operation["responses"]["default"]
    return document


WHOLE = os.environ.get("MC252_GENERATED") == "whole"
CONFIG = SchemathesisConfig.from_dict({"phases": {"coverage": {"enabled": WHOLE}}})
SCHEMA = schemathesis.openapi.from_dict(described(), config=CONFIG)
SETTINGS = dict(BOARD["settings"], gsm={"enabled": True, "smsPhone": "+48123456789"})


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    with Running(tmp_path_factory.mktemp("generated"), dict(BOARD, settings=SETTINGS)) as running:
        running.login()
        yield running
        running.process.terminate()
        assert "Traceback" not in running.process.communicate(timeout=10)[1]


@SCHEMA.parametrize()
@hypothesis.settings(
    max_examples=50 if WHOLE else 8,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)
def test_what_is_generated_is_answered_as_declared(device, case):
    answer = case.call(
        base_url=str(device.client.base_url).rstrip("/"),
        headers={"Authorization": device.client.headers["Authorization"]},
    )
    try:
        case.validate_response(answer, checks=CHECKS.get_all())
    except FailureGroup as group:
        assert [finding for finding in group.exceptions if not is_explained(case, answer, finding)] == []


def is_explained(case, answer, finding):
    if isinstance(finding, RejectedPositiveData):
        refusal = answer.json()
        if BODIES[case.path] is not None and not isinstance(case.body, dict):
            return True  # the document demands an object, whatever an empty flag in the query says
        if refusal["error"] == "BAD_FIELD":
            padding = "must be Base64 text of" in refusal["message"]  # decides between 1024 bytes and 1026
            return padding or (case.path in RULES and fits(BODIES[case.path], case.body))
        return refusal["error"] in KNOWN_BY_THE_DEVICE
    return isinstance(finding, AcceptedNegativeData) and case.path in IN_THE_ANSWER


def fits(kind, value):
    """Whether every part of a value, taken alone, is of its declared kind: then a rule over several has refused it."""
    while isinstance(kind, (Anything, Named)):
        kind = kind.shape() if isinstance(kind, Anything) else kind.make()
    if isinstance(kind, Object) and isinstance(value, dict):
        return all(name in kind.by_name and fits(kind.by_name[name].kind, value[name]) for name in value)
    if isinstance(kind, ListOf) and isinstance(value, list):
        return kind.low <= len(value) <= kind.high and all(fits(kind.kind, item) for item in value)
    try:
        kind.check(value, "value")
    except BadField:
        return False
    return True
