"""Versions of the firmware: major.minor.patch (semver.org), each 0..999, compared as numbers."""

from hal.fields import Text


def version_key(text: str) -> tuple[int, ...]:
    """What versions are compared by; ValueError where a text is none."""
    parts = text.split(".")
    if len(parts) != 3 or not all(part.isdigit() and len(part) <= 3 for part in parts):
        raise ValueError(f"{text[:40]}: is no version major.minor.patch")
    return tuple(int(part) for part in parts)


def is_version(text: str) -> bool:
    """Whether a text is a version."""
    try:
        version_key(text)
    except ValueError:
        return False
    return True


VERSION = Text(
    11, 5, (is_version, "a version major.minor.patch, each 0..999", {"pattern": "^[0-9]{1,3}(\\.[0-9]{1,3}){2}$"})
)
