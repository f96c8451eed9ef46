"""Modbus over UDP: each datagram is one Modbus TCP frame, and so is its answer."""

import asyncio

from firmware.services.routing.mbap import frame, parse
from firmware.services.routing.router import ModbusRouter
from hal.ip_addresses import source_of
from hal.runtime import log_exception, receive_from
from hal.runtime.annotations import Callable, Socket

IN_FLIGHT_LIMIT = 32  # requests that wait for their answers; further ones are dropped, as datagrams may be
SOURCE_LIMIT = 8  # of them from one address

_SIZE_LIMIT = 300  # bytes of a datagram that are read: more than a frame has


class ModbusDatagrams:
    """Serves on a bound socket; `admits(address)` says who may ask."""

    def __init__(self, sock: Socket, router: ModbusRouter, admits: Callable[[str], bool]):
        self._sock = sock
        self._router = router
        self._admits = admits
        self._waiting: dict[int, int | str] = {}  # number of the request -> what is counted together as its source
        self._count = 0

    def close(self) -> None:
        """Let the port go."""
        self._sock.close()

    async def serve(self) -> None:
        """Answer until cancelled."""
        while True:
            try:
                data, host, address = await receive_from(self._sock, _SIZE_LIMIT)
                await self._router.turn()
                self._take(data, host, address)
            except OSError:
                await asyncio.sleep(0.01)  # of an answer that could not be delivered, told now
            except Exception as exc:
                log_exception(exc)

    def _take(self, data: bytes, host: str, address: tuple) -> None:
        request = parse(data)
        source = source_of(host)
        if request is None or not 1 <= request[2][0] <= 127 or not self._admits(host) or not self._has_room(source):
            return
        tid, uid, pdu = request
        self._count += 1
        number = self._count
        self._waiting[number] = source

        def answered(answer: bytes | None) -> None:
            self._waiting.pop(number, None)
            if answer is not None:
                self._send(frame(tid, uid, answer), address)

        self._router.ask(uid, pdu, source, answered, origin="udp " + host)

    def _has_room(self, source: int | str) -> bool:
        return len(self._waiting) < IN_FLIGHT_LIMIT and list(self._waiting.values()).count(source) < SOURCE_LIMIT

    def _send(self, data: bytes, address: tuple) -> None:
        try:
            self._sock.sendto(data, address)
        except OSError:
            pass  # closed, or the way there is full: as if the datagram were lost
