"""The login that a device has when it leaves the factory: unique for each, made once, shown once."""

import json
import os

from hal.contracts import PartError
from hal.fields import BadField, Field, Object, Text
from hal.json_text import json_loads
from hal.runtime import log, random_bytes
from hal.runtime.logs import ERROR
from hal.small_file import read_whole, write_whole

USERNAME = "admin"

_FILE = "factory-login"
_LOGIN = Object(Field("username", Text(64, 1)), Field("password", Text(64, 8)))  # as setting protect has it
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"  # 32 of them, none to be taken for another
_GROUPS, _GROUP = 3, 4  # 60 bits


def read_login(state_dir: str) -> tuple[str, str] | None:
    """(user name, password), None where none was made: then only the button lets in."""
    try:
        login = _LOGIN.check(json_loads(read_whole(os.path.join(state_dir, _FILE))), "login")
        return login["username"], login["password"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, BadField) as exc:
        log(f"the factory login cannot be read, only the button lets in: {exc}", ERROR)
        return None


def make_login(state_dir: str) -> tuple[str, str] | None:
    """Make the login and return it; None where there is one already, which is never shown again. PartError."""
    path = os.path.join(state_dir, _FILE)
    if os.path.exists(path):
        return None
    password = new_password()
    try:
        write_whole(path, json.dumps({"username": USERNAME, "password": password}))
    except OSError as exc:
        raise PartError(f"the factory login cannot be stored in {state_dir}: {exc.strerror}") from exc
    return USERNAME, password


def new_password() -> str:
    """A random password that is easy to read off a screen, such as 7KQM-XD2P-RW9T."""
    letters = [_LETTERS[byte % len(_LETTERS)] for byte in random_bytes(_GROUPS * _GROUP)]
    return "-".join("".join(letters[start : start + _GROUP]) for start in range(0, len(letters), _GROUP))
