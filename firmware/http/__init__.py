"""HTTP, and nothing of this device: framing, limits, server, listeners."""
