"""Where a Modbus request goes by its unit id: the device's own registers, a remote server, or the RS-485 line."""

import asyncio

from firmware.services import shapes
from firmware.services.bus.absent import NoBus
from firmware.services.bus.pdu import exception
from firmware.services.bus.transaction import GATEWAY, Transaction
from firmware.services.errors import Refused
from firmware.services.routing.forwarding import Forwarding
from firmware.services.routing.own_registers import OwnRegisters
from firmware.services.transfers import Transfers
from hal.fields import BadField
from hal.rs485.framing import READ_ONLY
from hal.runtime import call_after, now_ms, now_us
from hal.runtime.annotations import Callable
from hal.runtime.memory import MEMORY

SERVER_BUSY = 6  # exception code of the application protocol specification, section 7
ALONE_US = 500  # a request that comes so long after another does not come in the same turn
CLIENT_MARGIN_SEC = 0.1  # an exception is on its way so long before its client gives up


class ModbusRouter:
    """Has the requests of every entrance answered. `settings` the
    active value of modbusTcp."""

    def __init__(
        self,
        bus: NoBus,
        registers: OwnRegisters,
        forwarding: Forwarding,
        settings: shapes.ModbusTcp,
        transfers: Transfers | None = None,
        clock: Callable[[], int] = now_ms,
    ):
        self._bus = bus
        self._registers = registers
        self._forwarding = forwarding
        self._settings = settings
        self._transfers = transfers or Transfers(clock)
        self._clock = clock
        self._turns: list = []  # who waits for a turn
        self._began = 0  # microsecond in which the last request began
        self.on_forwarded: Callable[[Transaction], None] | None = None  # called with each forwarded one that has ended

    def own_uid(self) -> int:
        """The device's own unit id, 0 where it has none."""
        return self._settings["ownUid"]

    def submit(
        self, transaction: Transaction, on_end: Callable[[], None] | None = None, from_cloud: bool = False
    ) -> None:
        """Have a request answered, now or later: by the device itself, by a remote server or by a unit on the line.

        `on_end()` is called when the transaction has ended. BadField for a question to all units; Refused NO_PORT,
        BUS_BUSY.
        """
        uid = transaction.uid
        if uid == 0 and transaction.pdu[0] in READ_ONLY:
            raise BadField("uid: must be 1..255 for a read: only writes go to all units")  # serial line 2.1
        transaction.on_end = lambda: self._ended(transaction, on_end)
        if uid != 0 and uid == self._settings["ownUid"]:
            transaction.answered(self._registers.answer(transaction.pdu, from_cloud), self._clock())
        elif self._forwarding.covers(uid):
            transaction.queued = self._clock()
            transaction.on_end = lambda: self._has_been_forwarded(transaction, on_end)
            self._forwarding.ask(transaction)
        else:
            self._submit_to_bus(transaction)

    def _submit_to_bus(self, transaction: Transaction) -> None:
        """As the bus's; what there is no memory for is not sent either."""
        try:
            self._bus.submit(transaction)
        except MemoryError:
            transaction.on_end = None  # who has asked is told by the exception
            self._bus.cancel(transaction)
            raise

    def cancel(self, transaction: Transaction) -> None:
        """Nobody waits for this answer any more."""
        if not self._forwarding.cancel(transaction):
            self._bus.cancel(transaction)

    def _ended(self, transaction: Transaction, on_end: Callable[[], None] | None) -> None:
        if transaction.error in (None, "EXCEPTION"):
            self._transfers.mark()
        if on_end is not None:
            on_end()

    def _has_been_forwarded(self, transaction: Transaction, on_end: Callable[[], None] | None) -> None:
        if self.on_forwarded is not None:
            self.on_forwarded(transaction)
        self._ended(transaction, on_end)

    # Modbus TCP

    def begin(self, turn: Callable[[], None]) -> bool:
        """Whether a request may begin now; if not, `turn()` is called when it may. Of all connections together one
        begins in a turn of the event loop, in the order of their coming, so that a flood of them leaves the loop to
        everybody else; who comes alone does not wait."""
        now = now_us()
        if not self._turns and now - self._began > ALONE_US:
            self._began = now
            return True
        self._turns.append(turn)
        if len(self._turns) == 1:
            call_after(0, self._next_turn)
        return False

    def _next_turn(self) -> None:
        turn = self._turns.pop(0)
        self._began = now_us()
        if self._turns:
            call_after(0, self._next_turn)
        turn()

    async def turn(self) -> None:
        """As `begin`, for whoever can wait."""
        came = asyncio.Event()
        if not self.begin(came.set):
            await came.wait()

    def ask(
        self,
        uid: int,
        pdu: bytes,
        source: object,
        answer: Callable[[bytes | None], None],
        from_cloud: bool = False,
        origin: str = "",
    ) -> Transaction | None:
        """As `submit` for a request over TCP: `answer(pdu)` is called once, now or later, with None where none is to be
        sent. Returns what `cancel` takes, or None where there was nothing to wait for.
        """
        settings = self._settings
        wait = settings["clientTimeoutMs"] / 1000 - CLIENT_MARGIN_SEC
        transaction = Transaction(uid, pdu, GATEWAY, source, wait=wait)
        transaction.origin = origin
        if uid not in (0, settings["ownUid"]) and not settings["uidFrom"] <= uid <= settings["uidTo"]:
            answer(_exception(pdu, settings["excDenied"]))
            return None
        try:
            self.submit(transaction, lambda: answer(self._tcp_answer(transaction)), from_cloud)
        except BadField:
            answer(_exception(pdu, settings["excDenied"]))
            return None
        except Refused as exc:
            answer(_exception(pdu, SERVER_BUSY if exc.code == "BUS_BUSY" else settings["excNoPath"]))
            return None
        except MemoryError:
            MEMORY.ran_out("a request over Modbus TCP")
            answer(_exception(pdu, SERVER_BUSY))
            return None
        return transaction

    def _tcp_answer(self, transaction: Transaction) -> bytes | None:
        if transaction.uid == 0:
            return None  # a broadcast has no answer: serial line specification, section 2.1
        if transaction.error in (None, "EXCEPTION"):
            return transaction.answer
        if transaction.error == "BUS_BUSY":
            return _exception(transaction.pdu, SERVER_BUSY)
        lost = transaction.error in ("PORT_LOST", "NO_PATH", "CANCELLED")
        return _exception(transaction.pdu, self._settings["excNoPath" if lost else "excNoAnswer"])


def _exception(pdu: bytes, code: int) -> bytes | None:
    """An exception answer; code 0 means that none is to be sent."""
    return exception(pdu[0], code) if code else None
