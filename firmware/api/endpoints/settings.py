"""The settings: both areas, factory reset, export and import."""

from firmware.api.call import Call
from firmware.api.endpoint import Endpoint
from firmware.api.kinds import CARD_ERRORS, Anything, CardPath, Named, nothing
from firmware.api.query import Keys
from firmware.api.settings_kinds import changes, exported, imported, shown
from firmware.services.access.authority import Author
from firmware.services.settings.files import SIZE_LIMIT
from firmware.services.settings.table import SETTINGS
from hal.fields import Field, ListOf, Object, Text


def _settings() -> Named:
    """The keys of an area that were asked for."""
    return Named("Settings", shown)


def _export() -> Object:
    """The export itself, or where it was written."""
    return Object(
        Field("settings", Named("Export", exported), None, help="the export, without filePath"),
        Field("filePath", CardPath(), None, help="where it was written"),
    )


_SETTINGS_AREA = Keys(lambda: [field.name for field in SETTINGS])


def _author(call: Call) -> Author:
    return Author(call.token, call.by_button)


async def settings_active_get(call: Call) -> dict:
    """GET /api/settings/active/get/"""
    return call.services.settings.get("active", call.query)


async def settings_saved_get(call: Call) -> dict:
    """GET /api/settings/saved/get/"""
    return call.services.settings.get("saved", call.query)


async def settings_saved_set(call: Call) -> dict:
    """POST /api/settings/saved/set/"""
    await call.services.settings.set(call.body, _author(call))
    return {}


async def settings_reset(call: Call) -> dict:
    """POST /api/cmd/settings/reset/"""
    await call.services.settings.reset(_author(call))
    return {}


async def settings_export(call: Call) -> dict:
    """POST /api/cmd/settings/export/"""
    path = call.body["filePath"]
    if path is None:
        return {"settings": call.services.settings.export()}
    await call.services.settings_files.export(path)
    return {"filePath": path}


async def settings_import(call: Call) -> dict:
    """POST /api/cmd/settings/import/"""
    body = call.body
    notices = await call.services.settings_files.import_(body["filePath"], body["settings"], _author(call))
    return {"notices": notices} if notices else {}


ENDPOINTS = (
    Endpoint(
        "GET",
        "/api/settings/active/get/",
        1,
        "Active settings by key, or all",
        settings_active_get,
        _settings,
        query=_SETTINGS_AREA,
    ),
    Endpoint(
        "GET",
        "/api/settings/saved/get/",
        1,
        "Saved settings by key, or all",
        settings_saved_get,
        _settings,
        query=_SETTINGS_AREA,
    ),
    Endpoint(
        "POST",
        "/api/settings/saved/set/",
        1,
        "Change configuration parameters",
        settings_saved_set,
        nothing,
        body=Anything(lambda: Named("Changes", changes)),
        errors=("FORBIDDEN", "STORAGE_FAILED"),
    ),
    Endpoint(
        "POST",
        "/api/cmd/settings/reset/",
        1,
        "Reset settings to factory defaults",
        settings_reset,
        nothing,
        errors=("STORAGE_FAILED",),
    ),
    Endpoint(
        "POST",
        "/api/cmd/settings/export/",
        1,
        "Export current settings",
        settings_export,
        _export,
        body=Object(Field("filePath", CardPath(), None, help="where to write it on the card")),
        errors=("IS_DIRECTORY", "CARD_FULL", "CARD_READ_ONLY") + CARD_ERRORS,
    ),
    Endpoint(
        "POST",
        "/api/cmd/settings/import/",
        1,
        "Import configuration",
        settings_import,
        lambda: Object(Field("notices", ListOf(Text(400), len(SETTINGS)), [], help="what is not as given, and why")),
        body=Object(
            Field("filePath", CardPath(), None, help="an export on the card"),
            Field("settings", Anything(lambda: Named("Import", imported)), None, help="or the export itself"),
            limits={"minProperties": 1, "maxProperties": 1},
        ),
        body_bytes=SIZE_LIMIT,
        errors=("FORBIDDEN", "STORAGE_FAILED", "IS_DIRECTORY") + CARD_ERRORS,
    ),
)
