"""The least that a Modbus TCP gateway on asyncio can be: `python -m benchmarks.bare_gateway PATH BAUD_RATE`.

It passes one client's question on, keeps the silence, wakes once for the answer's header and once for its end by VMIN,
checks the CRC and answers. No queue, no limits, no time-outs, no exceptions, no trace: what a gateway costs beyond this
is what it does beyond this. It prints the port on which it listens.
"""

import asyncio
import os
import sys
import termios

import serial
from pymodbus.framer.rtu import FramerRTU

HEADER = 5  # bytes of an answer that tell its length


class BareGateway(asyncio.Protocol):
    """One client and one line."""

    def __init__(self, path: str, baud_rate: int):
        self._port = serial.Serial(path, baud_rate, stopbits=2, timeout=0)
        self._descriptor = self._port.fileno()
        self._settings = termios.tcgetattr(self._descriptor)
        self._silence = 3.5 * 11 / baud_rate if baud_rate <= 19200 else 0.00175
        self._quiet_since = 0.0
        self._answer = b""
        self._tid = b""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._descriptor, self._read)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Its question, whole."""
        self._tid, adu = data[:4], data[6:]
        question = adu + FramerRTU.compute_CRC(adu).to_bytes(2, "big")
        self._loop.call_at(self._quiet_since + self._silence, self._ask, question)

    def _ask(self, question: bytes) -> None:
        self._answer = b""
        self._wake_after(HEADER)
        os.write(self._descriptor, question)

    def _read(self) -> None:
        self._answer += os.read(self._descriptor, 256)
        self._quiet_since = self._loop.time()
        answer = self._answer
        lacking = 5 + answer[2] - len(answer) if len(answer) >= HEADER else HEADER - len(answer)
        if lacking > 0:
            self._wake_after(lacking)
        elif FramerRTU.compute_CRC(answer[:-2]).to_bytes(2, "big") == answer[-2:]:
            self._transport.write(self._tid + (len(answer) - 2).to_bytes(2, "big") + answer[:-2])

    def _wake_after(self, count: int) -> None:
        self._settings[6][termios.VMIN] = count
        termios.tcsetattr(self._descriptor, termios.TCSANOW, self._settings)


async def main() -> None:
    """Serve until the process is ended."""
    gateway = BareGateway(sys.argv[1], int(sys.argv[2]))
    server = await asyncio.get_running_loop().create_server(lambda: gateway, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
