"""Settings that give power over the device: who may change them, and what a changed login ends."""

from firmware.services.access.sessions import Sessions
from firmware.services.errors import Refused
from firmware.services.settings.areas import Settings
from firmware.services.settings.table import SETTINGS
from hal.fields import Object


class Author:
    """Who changes settings: the token of a session or None, and whether the button alone has let him in."""

    def __init__(self, token: str | None, by_button: bool):
        self.token = token
        self.by_button = by_button


class Authority:
    """Watches over changes of settings.

    The button lets everybody in who is on the network. It does not let him take the device over: what is marked as
    power in the table of settings is changed with a login or over the VPN, and with the button alone only while the
    device has no password. Going back to factory settings stays open to the button, for whoever has lost the password.
    """

    def __init__(self, settings: Settings, sessions: Sessions):
        self._settings = settings
        self._sessions = sessions
        settings.checks.append(self._check)
        settings.followers.append(self._follow)

    def _check(self, before: dict, after: dict, author: Author | None) -> None:
        if author is None or not author.by_button or self._has_no_password(before):
            return
        changed = changed_powers(before, after)
        if changed:
            raise Refused(
                "FORBIDDEN",
                f"{', '.join(changed)}: changed only with a login or over the VPN, not by the button alone; "
                "whoever has lost the password goes back to factory settings",
            )

    def _has_no_password(self, saved: dict) -> bool:
        return self._settings.active["protect"]["password"] is None and saved["protect"]["password"] is None

    def _follow(self, before: dict, after: dict, author: Author | None) -> None:
        """A changed login ends all sessions but the one that has changed it."""
        old, new = before["protect"], after["protect"]
        if (old["username"], old["password"]) != (new["username"], new["password"]):
            self._sessions.close_others(author.token if author is not None else None)


def changed_powers(before: dict, after: dict) -> list[str]:
    """Names of the settings that give power and differ."""
    changed = []
    for field in SETTINGS:
        if before[field.name] != after[field.name]:
            if field.power:
                changed.append(field.name)
            elif isinstance(field.kind, Object):
                old, new = before[field.name], after[field.name]
                inner = [member.name for member in field.kind.fields if member.power]
                changed += [f"{field.name}.{name}" for name in inner if old[name] != new[name]]
    return changed
