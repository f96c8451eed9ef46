"""Backends for boards that run MicroPython."""
