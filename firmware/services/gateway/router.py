"""Where a Modbus TCP request goes by its unit id: the device's own registers, a remote server, or the RS-485 line."""

import asyncio

from firmware.services.bus.arbiter import GATEWAY, Bus, Transaction
from firmware.services.errors import Refused
from firmware.services.gateway.forwarding import Forwarding
from firmware.services.gateway.own_registers import OwnRegisters

SERVER_BUSY = 6  # exception codes of the application protocol specification, section 7
PATH_UNAVAILABLE = 10
NO_ANSWER = 11


class ModbusRouter:
    """Answers Modbus PDUs that arrive over TCP. `settings` is the active value of modbusTcp."""

    def __init__(self, bus: "Bus | None", registers: OwnRegisters, forwarding: Forwarding, settings: dict):
        self._bus = bus
        self._registers = registers
        self._forwarding = forwarding
        self._settings = settings
        self._turn = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a connection's turn: of all connections together one request is begun in a turn of the event loop,
        in the order of their coming, so that a flood of them leaves the loop to everybody else."""
        async with self._turn:
            await asyncio.sleep(0)

    def own_uid(self) -> int:
        """The device's own unit id, 0 where it has none."""
        return self._settings["ownUid"]

    def ask(self, uid: int, pdu: bytes, source, answer, from_cloud: bool = False):
        """Have a request answered: `answer(pdu)` is called once, now or later, with None where none is to be sent.

        Returns a handle for `cancel`, or None where the answer was given at once.
        """
        settings = self._settings
        if uid != 0 and uid == settings["ownUid"]:
            answer(self._registers.answer(pdu, from_cloud))
            return None
        if uid != 0 and not settings["uidFrom"] <= uid <= settings["uidTo"]:
            answer(_exception(pdu, settings["excDenied"]))
            return None
        if self._forwarding.covers(uid):
            return self._forwarding.ask(uid, pdu, lambda result: answer(self._forwarded(pdu, result)))
        return self._ask_line(uid, pdu, source, answer)

    def cancel(self, handle) -> None:
        """Nobody waits for this answer any more."""
        if isinstance(handle, Transaction):
            self._bus.cancel(handle)  # type: ignore[union-attr]
        elif handle is not None:
            self._forwarding.cancel(handle)

    def _ask_line(self, uid: int, pdu: bytes, source, answer):
        if self._bus is None:
            answer(_exception(pdu, self._settings["excNoPath"]))
            return None
        transaction = Transaction(uid, pdu, GATEWAY, source)
        transaction.on_end = lambda: answer(self._line_answer(transaction))
        try:
            self._bus.submit(transaction)
        except Refused as exc:
            busy = exc.code == "BUS_BUSY"
            answer(_exception(pdu, SERVER_BUSY if busy else self._settings["excNoPath"]))
            return None
        return transaction

    def _line_answer(self, transaction: Transaction) -> "bytes | None":
        if transaction.uid == 0:
            return None  # a broadcast has no answer: serial line specification, section 2.1
        if transaction.error is None or transaction.error == "EXCEPTION":
            return transaction.answer
        lost = transaction.error in ("PORT_LOST", "CANCELLED")
        return _exception(transaction.pdu, self._settings["excNoPath" if lost else "excNoAnswer"])

    def _forwarded(self, pdu: bytes, result: "bytes | str") -> "bytes | None":
        if isinstance(result, bytes):
            return result
        return _exception(pdu, self._settings["excNoAnswer" if result == "TIMEOUT" else "excNoPath"])


def _exception(pdu: bytes, code: int) -> "bytes | None":
    """An exception answer; code 0 means that none is to be sent."""
    return bytes([pdu[0] | 0x80, code]) if code else None
