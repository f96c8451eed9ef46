"""Turns on the card: one thing after another, and nothing waits for a card that does not answer without a bound."""

import asyncio

from firmware.services.errors import Refused
from hal.runtime import in_time, now_ms
from hal.runtime.annotations import Callable, T, Ts, Unpack
from hal.runtime.files import serial_offload

WAITING_MAX = 16  # requests that wait for their turn or are being served
SLOW_SEC = 5  # when one thing has taken so long, whoever comes is told instead of having to wait
RETRY_SEC = 5


class CardWorker:
    """Has functions that block on the card called one after another, on CPython in a thread.

    What has begun cannot be ended: it may go on after its caller was refused. What has not begun by then never begins.
    """

    def __init__(self, clock: Callable[[], int] = now_ms):
        self._offload = serial_offload()
        self._clock = clock
        self._waiting = 0
        self._begun: int | None = None  # when what is being done now was begun

    async def do(self, seconds: float, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        """The result of a function. Refused CARD_BUSY where others take long, CARD_FAILED after so many seconds."""
        if self._waiting >= WAITING_MAX:
            raise Refused("CARD_BUSY", f"{WAITING_MAX} requests wait for the SD card already", RETRY_SEC)
        begun = self._begun
        if begun is not None and self._clock() - begun > SLOW_SEC * 1000:
            raise Refused("CARD_BUSY", "the SD card has been busy for long, or does not answer", RETRY_SEC)
        self._waiting += 1
        try:
            result: T = await in_time(self._offload(self._timed, function, *args), seconds)
        except asyncio.TimeoutError:
            raise Refused("CARD_FAILED", "the SD card does not answer", RETRY_SEC) from None
        finally:
            self._waiting -= 1
        return result

    def _timed(self, function: Callable[[Unpack[Ts]], T], *args: Unpack[Ts]) -> T:
        self._begun = self._clock()
        try:
            return function(*args)
        finally:
            self._begun = None
