"""The keys that a device trusts, in a file that the service cannot write."""

from hal.contracts import Updater, UpdateRefused
from hal.fields import BadField
from hal.json_text import json_loads
from hal.update.signed import Keyring, Moment, open_signed


def read_keyring(path: str) -> Keyring:
    """The keys in a file. UpdateRefused where it is no keyring; OSError."""
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
        self._keys_path = keys_path

    def open_document(self, document: object, use: str, moment: Moment) -> dict:
        """The payload of a signed document. UpdateRefused; the keys are read anew each time, they may be renewed."""
        try:
            return open_signed(document, use, read_keyring(self._keys_path), moment)
        except OSError as exc:
            raise UpdateRefused("UPDATE_WRONG_KEY", f"the trusted keys cannot be read: {exc}") from None
