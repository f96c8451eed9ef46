"""What unpacking and checking an update takes: digests as data comes, zlib streams, Ed25519, whole folders."""

from hal.runtime import MICROPYTHON

if MICROPYTHON:
    from hal.runtime.micropython.archive import *  # noqa: F403
else:
    from hal.runtime.cpython.archive import *  # type: ignore[assignment]  # noqa: F403
