"""The OpenAPI document holds for whoever reads it: a validator, and generators of clients in two languages."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys

import openapi_spec_validator
import pytest

from firmware.api.endpoints import AREAS, ENDPOINTS
from firmware.api.errors import ERRORS
from firmware.api.openapi import document_parts, errors_of
from firmware.services.settings.table import SETTINGS
from firmware.services.system.state_table import STATE
from tests.firmware.running import ROOT, Running

TEXT = "".join(document_parts())
DOCUMENT = json.loads(TEXT)
OPERATIONS = [operation for item in DOCUMENT["paths"].values() for operation in item.values()]

# The codes of a room's services, and the endpoints' areas over which they come out
ROOMS = {
    "access": ["access", "settings"],
    "bus": ["modbus"],
    "card": ["card"],
    "network": ["gsm"],
    "routing": ["modbus"],
    "search": ["search"],
    "settings": ["settings"],
    "system": ["state", "gsm"],
    "time": ["time"],
}


def test_the_document_is_valid():
    openapi_spec_validator.validate(DOCUMENT)


def test_it_comes_in_parts_that_a_small_board_can_hold():
    assert max(len(part) for part in document_parts()) < 8192


def test_nothing_is_declared_as_any_object():
    def check(schema, where):
        if isinstance(schema, dict):
            if schema.get("type") == "object":
                assert "properties" in schema or isinstance(schema["additionalProperties"], dict), where
            for name, inner in schema.items():
                check(inner, f"{where}/{name}")
        elif isinstance(schema, list):
            for inner in schema:
                check(inner, where)

    check(DOCUMENT, "")


def test_every_operation_says_its_area_its_errors_and_whether_its_body_is_required():
    for operation in OPERATIONS:
        assert operation["tags"][0] in AREAS
        assert "default" in operation["responses"]
        assert "requestBody" not in operation or isinstance(operation["requestBody"]["required"], bool)
        if "security" in operation:
            assert operation["responses"]["401"]["$ref"].endswith("/UNAUTHORIZED")


def test_every_code_that_the_services_of_an_area_give_is_declared_there():
    for room, areas in ROOMS.items():
        given = set()
        for path in (ROOT / "firmware" / "services" / room).glob("*.py"):
            given |= set(re.findall(r'(?:Refused|return)\(?\s*\(?"([A-Z]+_[A-Z_]+)"', path.read_text()))
        declared = {code for area in areas for row in AREAS[area] for code in errors_of(row)}
        assert given & set(ERRORS) <= declared | {"BAD_TEMPLATE", "NOT_FOUND"}, room  # these come as errorCode


@pytest.fixture(scope="module")
def document(tmp_path_factory):
    path = tmp_path_factory.mktemp("openapi") / "openapi.json"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def python_client(document):
    """The package that openapi-python-client makes, imported."""
    folder = document.parent / "generated_client"
    generator = shutil.which("openapi-python-client", path=os.path.dirname(sys.executable))
    outcome = subprocess.run(
        [generator, "generate", "--path", str(document), "--output-path", str(folder), "--meta", "none"],
        capture_output=True,
        text=True,
        env=dict(os.environ, PATH=os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]),
    )
    assert outcome.returncode == 0, outcome.stdout
    assert "warning" not in outcome.stdout.lower(), outcome.stdout
    sys.path.insert(0, str(document.parent))
    yield importlib.import_module
    sys.path.remove(str(document.parent))


def test_a_generated_python_client_gets_typed_state_and_settings_and_lists_only_when_asked(python_client, tmp_path):
    client_module = python_client("generated_client")
    models = python_client("generated_client.models")
    with Running(tmp_path) as device:
        device.login()
        token = device.client.headers["Authorization"].split()[1]
        with client_module.AuthenticatedClient(str(device.client.base_url).rstrip("/"), token) as client:

            def call(name, **arguments):
                module = python_client(f"generated_client.api.{name}")
                return module.sync(client=client, **arguments)

            state = call("state.get_api_state_get")
            assert isinstance(state.bus, models.StateBus)
            assert state.bus.baud_rate == 9600
            only = call("state.get_api_state_get", bus=True)
            assert only.to_dict().keys() == {"bus"}
            settings = call("settings.get_api_settings_active_get", serial=True, gsm=False)
            assert isinstance(settings.serial, models.SettingsSerial)
            assert settings.to_dict().keys() == {"serial"}
            change = models.Changes(serial=models.ChangeSerial(baud_rate=19200))
            assert call("settings.post_api_settings_saved_set", body=change).to_dict() == {}
            exported = call("settings.post_api_cmd_settings_export", body=models.PostApiCmdSettingsExportBody())
            assert exported.settings.serial.baud_rate == 19200
            without = call("search.get_api_modbus_find_result", list_=False)
            assert "foundDevices" not in without.to_dict()
            assert "foundDevices" in call("search.get_api_modbus_find_result", list_=True).to_dict()
            refusal = call("modbus.get_api_modbus_resp", tid=999)
            assert isinstance(refusal, models.Error)
            assert refusal.error == "UNKNOWN_TID"


PROGRAM = """
import type { components, paths } from "./api";
type Answer<Path extends keyof paths> = paths[Path] extends
  { get: { responses: { 200: { content: { "application/json": infer Body } } } } } ? Body : never;
const state: Answer<"/api/state/get/"> = { bus: null };
export const rate: number | undefined = state.bus?.baudRate;
const settings: Answer<"/api/settings/saved/get/"> = {};
export const format: number | undefined = settings.serial?.charFormat;
export const secret: "***" | null | undefined = settings.gsm?.pin;
export const change: components["schemas"]["Changes"] = { serial: { baudRate: 19200 } };
// @ts-expect-error there is no such setting
export const wrong: components["schemas"]["Changes"] = { serial: { baudRaet: 19200 } };
// @ts-expect-error a rate is a number
export const mistyped: components["schemas"]["Changes"] = { serial: { baudRate: "19200" } };
"""


def test_generated_typescript_has_typed_state_and_settings(document):
    if shutil.which("npm") is None:
        pytest.skip("there is no npm to fetch the generator with")
    folder = document.parent
    packages = ["openapi-typescript@7", "typescript@5"]
    fetched = subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", *packages],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    if fetched.returncode:
        pytest.skip("npm cannot fetch the generator: " + fetched.stderr[:200])
    (folder / "program.ts").write_text(PROGRAM)
    for command in (
        ["openapi-typescript", "openapi.json", "-o", "api.d.ts"],
        ["tsc", "--noEmit", "--strict", "--skipLibCheck", "program.ts"],
    ):
        outcome = subprocess.run(["npx", "--no-install", *command], cwd=folder, capture_output=True, text=True)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    for key in [*(f"State{key.name[0].upper()}{key.name[1:]}" for key in STATE), "SettingsSerial", "Import", "Export"]:
        assert f"        {key}: " in (folder / "api.d.ts").read_text()


def test_every_setting_and_state_key_is_in_the_document():
    schemas = DOCUMENT["components"]["schemas"]
    assert list(schemas["State"]["properties"]) == [key.name for key in STATE]
    for name in ("Settings", "Changes"):
        assert list(schemas[name]["properties"]) == [key.name for key in SETTINGS]
    for name in ("Import", "Export"):
        assert list(schemas[name]["properties"]) == ["format"] + [key.name for key in SETTINGS]
    assert len(OPERATIONS) == len(ENDPOINTS)
