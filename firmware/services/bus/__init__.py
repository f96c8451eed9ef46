"""The RS-485 bus: one arbiter for all who use it, requests, PDUs, the health of devices."""
