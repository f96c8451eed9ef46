"""Who the device is."""

from firmware import RELEASE_DATE, VERSION, version_number
from hal.contracts import System


class Identity:
    """The board's identity together with the firmware's version. `system` is the board's part of that name."""

    def __init__(self, system: System):
        self._board = system.identity()
        self._version = {
            "device": self._board["device"],
            "deviceId": self._board["deviceId"],
            "firmwareType": self._board["firmwareType"],
            "firmwareVer": version_number(VERSION),
            "releaseDate": RELEASE_DATE,
        }

    def version(self) -> dict:
        """The answer of GET /api/version/."""
        return self._version

    def full(self) -> dict:
        """The answer of GET /api/identify/."""
        board = self._board
        return dict(
            self._version,
            manufacturer=board["manufacturer"],
            mac=board["mac"],
            uniqueMac=board["uniqueMac"],
            pubKey=board["pubKey"],
        )
