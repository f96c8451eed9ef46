"""What arrives on a UART, handed over as it comes."""

import asyncio

from hal.runtime.annotations import Any, Callable
from hal.runtime.memory import MEMORY


async def hear(uart: Any, received: Callable[[bytes], None], rest: Callable[[], float] | None = None) -> None:
    """Call `received` with all that arrives, for ever. OSError where the UART fails.

    `rest()` is how many seconds need not be listened after that: waking for each byte costs more than the exchange.
    """
    reader = asyncio.StreamReader(uart)
    while True:
        try:
            await reader.read(0)  # until something has arrived; how much, the UART knows
            take(uart, received)
        except MemoryError:
            MEMORY.ran_out("what arrives on a UART")
        seconds = rest() if rest is not None else 0
        if seconds > 0:
            await asyncio.sleep(seconds)


def take(uart: Any, received: Callable[[bytes], None]) -> None:
    """Call `received` with what waits, if anything does. OSError."""
    count = uart.any()
    if count:  # reading more than there is would wait for a character
        received(uart.read(count))
