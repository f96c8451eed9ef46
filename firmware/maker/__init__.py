"""The maker's tools: keys, signed documents, licences. They run on CPython, never on a device."""
