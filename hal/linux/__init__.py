"""Backends for embedded Linux: CPython only."""
