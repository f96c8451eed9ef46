"""Searches of the bus: for devices, and for devices of a template."""
