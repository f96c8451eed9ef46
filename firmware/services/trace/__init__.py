"""The trace of the bus: every exchange in a bounded ring, captures and recordings of it."""
