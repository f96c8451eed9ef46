"""Settings to and from JSON files on the SD card."""

from firmware.services.card.absent import NoCardFiles
from firmware.services.errors import Refused
from firmware.services.settings.areas import Settings
from hal.fields import BadField
from hal.json_text import WrongEncoding, json_loads
from hal.runtime import json_dumps

SIZE_LIMIT = 65536  # bytes of an export; the largest fits


class SettingsFiles:
    """Exports and imports of the saved area."""

    def __init__(self, settings: Settings, card_files: NoCardFiles):
        self._settings = settings
        self._card_files = card_files

    async def export(self, path: str) -> None:
        """Write an export to a file on the card; secrets are left out."""
        await self._card_files.write_whole(path, json_dumps(self._settings.export()).encode())

    async def import_(self, path: str | None, settings: dict | None, author: object = None) -> list[str]:
        """Take over an export, given itself or as a file; what could not be taken as it is, in words.

        BadField names every bad field; nothing changes then.
        """
        if (path is None) == (settings is None):
            raise BadField("body: must have either filePath or settings")
        if path is not None:
            settings = self._parse(await self._card_files.read_whole(path, SIZE_LIMIT))
        return await self._settings.import_(settings, author)  # type: ignore[arg-type]

    def _parse(self, data: bytes) -> dict:
        try:
            content = json_loads(data)
        except WrongEncoding as exc:
            raise Refused("BAD_JSON", f"the file cannot be read: {exc}") from None
        except ValueError:
            raise Refused("BAD_JSON", "the file is not JSON, or only a part of it") from None
        if not isinstance(content, dict):
            raise BadField("settings: must be an object")
        return content
