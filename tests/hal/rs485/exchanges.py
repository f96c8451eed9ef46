"""Exchanges that a test waits for: what the bus does with a port's callbacks."""

import asyncio

from hal.rs485.exchange import Exchange
from hal.rs485.port import Rs485Port


async def transact(port, uid: int, pdu: bytes, timeout: float) -> Exchange:
    """What comes of a question to a unit."""
    if not isinstance(port, Rs485Port):  # one on MicroPython, tests/machine/remote.py
        return await port.exchange("ask", uid, pdu, timeout)
    return await _over(lambda on_end: port.ask(uid, pdu, timeout, on_end))


async def broadcast(port, pdu: bytes, turnaround: float) -> Exchange:
    """What comes of telling all units."""
    if not isinstance(port, Rs485Port):
        return await port.exchange("tell_all", pdu, turnaround)
    return await _over(lambda on_end: port.tell_all(pdu, turnaround, on_end))


async def _over(begin) -> Exchange:
    exchange: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
    begin(exchange.set_result)
    return await exchange
