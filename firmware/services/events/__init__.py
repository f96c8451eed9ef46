"""Live events: what has changed, told to whoever follows."""
