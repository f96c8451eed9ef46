"""Block devices, mounts and small files of Linux."""
