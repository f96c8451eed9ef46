"""The slot of the SD card: which card is in, and what its errors mean. All of it blocks."""

import os

from firmware.services.card.volume import Volume
from firmware.services.errors import Refused
from hal.contracts import Card, PartError
from hal.runtime import log_exception
from hal.runtime.annotations import Callable, T, Ts, Unpack

_REFUSALS = {  # errno, the same number on both runtimes -> (code, what it means)
    2: ("NOT_FOUND", "path: there is no such file or folder on the SD card"),
    6: ("NO_CARD", "the SD card is gone"),  # ENXIO
    13: ("CARD_READ_ONLY", "the SD card does not allow it: it or the file is write-protected"),  # EACCES
    1: ("CARD_READ_ONLY", "the SD card does not allow it: it or the file is write-protected"),  # EPERM
    19: ("NO_CARD", "the SD card is gone"),  # ENODEV
    20: ("NOT_DIRECTORY", "path: a file is where a folder is meant"),
    21: ("IS_DIRECTORY", "path: a folder is where a file is meant"),
    22: ("BAD_PATH", "path: the SD card's file system takes no such name"),  # EINVAL
    27: ("TOO_LARGE", "the file is larger than the SD card's file system allows"),  # EFBIG
    28: ("CARD_FULL", "the SD card has no room left"),  # ENOSPC
    30: ("CARD_READ_ONLY", "the SD card is write-protected"),  # EROFS
    36: ("BAD_PATH", "path: a name is too long for the SD card's file system"),  # ENAMETOOLONG
    39: ("NOT_EMPTY", "path: the folder is not empty"),
    40: ("BAD_PATH", "path: leads through a loop of links"),  # ELOOP
    84: ("BAD_PATH", "path: the SD card's file system takes no such name"),  # EILSEQ
    122: ("CARD_FULL", "the SD card has no room left"),  # EDQUOT
    123: ("NO_CARD", "the SD card is gone"),  # ENOMEDIUM
}


class CardSlot:
    """Does things to the files of whatever card is in; `card` is the board's part.

    Its methods must not overlap. They raise Refused, and BadField where an operation does.
    """

    def __init__(self, card: Card, local_iso: Callable[[int], str], clock: Callable[[], int]):
        self._card = card
        self._local_iso = local_iso
        self._clock = clock
        self._volume: Volume | None = None  # of the card that has been met; None: none since the last one went
        self._insertion = 0

    def use(self, operation: Callable[[Volume, Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        """What an operation of Volume gives on the card that is in."""
        return self._refusing(self._use, operation, *args)

    def meet(self) -> None:
        """See which card is in, and remove what a crash has left there."""
        self._refusing(self._meet)

    def let_go(self) -> None:
        """Leave the card as it should be found by the next device: files closed, uploads given up."""
        self._refusing(self._let_go)

    def status(self) -> dict:
        """As the card's part says."""
        return self._refusing(self._card.status)

    def _refusing(self, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        """Call a function and turn the card's errors into refusals."""
        try:
            return function(*args)
        except PartError as exc:
            raise Refused(exc.code, str(exc)) from exc
        except OSError as exc:
            raise self._refusal(exc) from exc

    def _refusal(self, exc: OSError) -> Refused:
        try:
            os.stat(self._card.root())
        except (PartError, OSError):
            self._forget()
            return Refused("NO_CARD", "the SD card is gone")
        if exc.errno in _REFUSALS:
            return Refused(*_REFUSALS[exc.errno])
        log_exception(exc)
        return Refused("CARD_FAILED", f"the SD card failed with error {exc.errno}")

    def _use(self, operation: Callable[[Volume, Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        volume = self._meet()
        volume.uploads.give_up_idle()
        return operation(volume, *args)

    def _meet(self) -> Volume:
        try:
            root = self._card.root()
        except PartError:
            self._forget()
            raise
        if self._volume is None or self._insertion != self._card.insertions:
            self._forget()
            self._insertion = self._card.insertions
            self._volume = Volume(self._card, root, self._local_iso, self._clock)
            self._volume.clean()
        return self._volume

    def _let_go(self) -> None:
        self._meet().uploads.give_up_all()
        self._forget()

    def _forget(self) -> None:
        if self._volume is not None:
            self._volume.close()
            self._volume = None
