"""The Linux machine itself: identity, keys, service manager."""
