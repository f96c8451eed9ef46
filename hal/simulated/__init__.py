"""Backends that stand in for hardware on a development machine: CPython only."""
