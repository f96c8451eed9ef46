"""Signed documents and update bundles, as far as they are no matter of the operating system."""
