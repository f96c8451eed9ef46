"""Firmware of the MC252 Modbus gateway: the API server and everything behind it."""

VERSION = 1  # firmwareVer of GET /api/version/: counts up with every release
RELEASE_DATE = "2026-11-23T00:00:00"
