"""The templates that come with the firmware, as files under /builtin/templates/ that can only be read."""

import os

from firmware.services.errors import Refused

PREFIX = "/builtin/templates/"

_FOLDER = "/".join(__file__.split("/")[:-3] + ["templates"])  # firmware/templates


def is_builtin(path: str) -> bool:
    """Whether a path is one of a shipped template; as on the card, letters count without regard to case."""
    return path.lower().startswith(PREFIX)


def names() -> list[str]:
    """The names of the files, in their order."""
    return sorted(name for name in os.listdir(_FOLDER) if name.endswith(".json"))


def read(path: str) -> bytes:
    """The content of a shipped template. Refused NOT_FOUND."""
    wanted = path[len(PREFIX) :].lower()
    for name in names():
        if name == wanted:
            with open(_FOLDER + "/" + name, "rb") as file:
                return file.read()
    raise Refused("NOT_FOUND", "there is no such template: " + ", ".join(names()))
