"""GSM modems as far as they are no matter of the operating system: AT commands, SIM PIN, text messages."""
