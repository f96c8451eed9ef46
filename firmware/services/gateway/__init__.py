"""Modbus TCP: listener, sessions, routing, the device's own registers, forwarding, calls to the cloud."""
