"""The RS-485 port: what of it is no matter of the operating system."""
