"""Firmware of the MC252 Modbus gateway: the API server and everything behind it."""

VERSION = "0.2.0"  # the one place: package, documents, update bundles and firmwareVer take it from here
RELEASE_DATE = "2026-11-30T00:00:00"


def version_number(version: str) -> int:
    """firmwareVer of a version major.minor.patch: counts up with every release, and fits a register up to 6.55.35."""
    major, minor, patch = [int(part) for part in version.split(".")]
    return (major * 100 + minor) * 100 + patch
