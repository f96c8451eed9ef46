"""A modem that is not there: the part, and the fake on a pty that answers it."""
