"""The device as a whole: identity, state, watchdog, restarts, network, modem."""
