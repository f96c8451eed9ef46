"""Files on a card, which somebody else may have written: links, pipes and names that are no text among them."""

from hal.runtime import MICROPYTHON

if MICROPYTHON:
    from hal.runtime.micropython.files import *  # noqa: F403
else:
    from hal.runtime.cpython.files import *  # noqa: F403
