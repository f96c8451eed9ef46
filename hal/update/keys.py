"""The keys that a device trusts, in a file that the service cannot write."""

from hal.contracts import PartError, Updater, UpdateRefused
from hal.fields import BadField
from hal.json_text import json_loads
from hal.runtime import ENOENT
from hal.update.signed import Keyring, Moment, open_signed

REMEDY = (
    "the keys that updates are trusted by. The package brings them; in a checkout make run and make deb make some for "
    "development: docs/updates.md"
)


def read_keyring(path: str) -> Keyring:
    """The keys in a file. UpdateRefused where there is none or it is no keyring; OSError."""
    try:
        return _read(path)
    except OSError as exc:
        if exc.errno != ENOENT:
            raise
        raise UpdateRefused("UPDATE_WRONG_KEY", f"{path}: is missing, {REMEDY}") from None


def _read(path: str) -> Keyring:
    with open(path) as file:
        try:
            content = json_loads(file.read())
            if not isinstance(content, dict):
                raise ValueError("must be a JSON object")
            return Keyring(content)
        except (ValueError, BadField) as exc:
            raise UpdateRefused("UPDATE_WRONG_KEY", f"{path}: is no keyring: {exc}") from None


class KeyedUpdater(Updater):
    """An updater with a keyring of ours, for indexes and licences at least."""

    def __init__(self, keys_path: str):
        super().__init__()
        self._keys_path = keys_path

    def check_keys(self) -> None:
        """PartError where there are no keys to trust."""
        try:
            read_keyring(self._keys_path)
        except (OSError, UpdateRefused) as exc:
            raise PartError(f"no updates: {exc}") from exc

    def open_document(self, document: object, use: str, moment: Moment) -> dict:
        """The payload of a signed document. UpdateRefused; the keys are read anew each time, they may be renewed."""
        try:
            return open_signed(document, use, read_keyring(self._keys_path), moment)
        except OSError as exc:
            raise UpdateRefused("UPDATE_WRONG_KEY", f"the trusted keys cannot be read: {exc}") from None
