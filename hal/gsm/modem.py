"""A GSM modem by AT commands: 3GPP TS 27.007 (SIM card, network, data connection), 27.005 (messages).

`GsmModem` does what is the same on every board; a backend opens the modem's tty or UART.
"""

import asyncio

from hal.contracts import Modem, ModemFailed, NoModem
from hal.gsm.at import AtError, AtPort, AtSilent, announces_text
from hal.gsm.sim_pin import PinMemory, SimProblem, sim_state, unlock
from hal.gsm.sms import submit_pdus
from hal.gsm.sms_sender import send_pdus
from hal.gsm.state import (
    ask_imei,
    ask_state,
    can_be_quoted,
    connect_data,
    describe,
    identify,
    introduce,
    prepare_network,
)
from hal.runtime import in_time, log, log_exception, now_ms, random_bytes, wait_until
from hal.runtime.annotations import Callable
from hal.service import Pauses, Trouble

POLL_SEC = 10.0  # between two looks at the state
LEAST_SEC = 1.0  # between two looks however much the modem has to tell
DATA_PAUSES = (10, 30, 60, 300, 900)  # seconds between tries to bring the data connection up
SENDING_MAX = 8  # messages that wait for their turn
TURN_SEC = 300.0  # for a message to wait for it

_OFF = "switched off"
_NOT_YET = "it does not answer yet"
_BOOT_LINES = (  # whole lines: a modem tells of much else that begins alike
    "RDY",
    "START",
    "^SYSSTART",
    "*ATREADY: 1",
    "QCRDY",
    "NORMAL POWER DOWN",
    "POWERED DOWN",
    "UNDER-VOLTAGE POWER DOWN",
    "+CPIN: SIM PIN",
    "+CPIN: NOT READY",
)


class GsmModem(Modem):
    """Base of all GSM backends: they implement `_open`. The modem may be plugged in later, and be pulled out."""

    def __init__(self, state_dir: str, clock: Callable[[], int] = now_ms):
        self._clock = clock
        self._memory = PinMemory(state_dir)
        self._wanted: tuple | None = None  # APN, user, password, PIN
        self._port: AtPort | None = None
        self._status: dict | None = None
        self._problem: SimProblem | None = None  # why the SIM card cannot be used
        self._absence = Trouble("modem")
        self._absence.reason = _OFF
        self._imei: str | None = None
        self._prepared = False  # whether the modem has been told of the network and the data connection
        self._restarted = False
        self._echoes = False
        self._text_follows = False
        self._wake = asyncio.Event()
        self._sending = asyncio.Lock()
        self._waiting = 0
        self._reference = random_bytes(1)[0]
        self._data_pauses = Pauses(DATA_PAUSES)
        self._data_due = 0
        self._data_trouble = Trouble("modem: no data connection")
        self._sim_trouble = Trouble("modem")

    def _open(self, unsolicited: Callable[[str], None], gone: Callable[[], None]) -> AtPort:
        """The way to the modem; NoModem where there is none now. The arguments are those of hal.gsm.at.AtPort."""
        raise NotImplementedError

    def configure(self, apn: str, user: str, password: str | None, pin: str | None) -> None:
        """As hal.contracts.Modem. ValueError for what cannot stand between quotation marks."""
        for text in (apn, user, password or "", pin or ""):
            if not can_be_quoted(text):
                raise ValueError('the modem takes no text with " or control characters')
        self._wanted = (apn, user, password, pin)
        self._absence.reason = _NOT_YET

    async def start(self) -> None:
        """Begin to talk to the modem, or to wait for it."""
        if self._wanted is not None:
            self._absence.reason = _NOT_YET
            self.keep_running(self._run())

    async def stop(self) -> None:
        """Let the port go."""
        await super().stop()
        self._status = None
        self._absence.reason = _OFF
        self._close()

    async def status(self) -> dict:
        """As last heard, a few seconds ago at most."""
        if self._status is None:
            raise NoModem(f"the GSM modem cannot be used: {self._absence.reason}")
        return dict(self._status)

    async def send_sms(self, phone: str, text: str) -> int:
        """One message after another; at most SENDING_MAX wait."""
        self._reference = (self._reference + 1) & 0xFF
        pdus = submit_pdus(phone, text, self._reference)
        await self.status()
        if self._waiting >= SENDING_MAX:
            raise ModemFailed(f"{SENDING_MAX} messages are waiting already", "BUSY")
        self._waiting += 1
        try:
            await in_time(self._sending.acquire(), TURN_SEC)
        except asyncio.TimeoutError:
            raise ModemFailed("the messages before this one take too long", "BUSY") from None
        finally:
            self._waiting -= 1
        try:
            await send_pdus(self._usable_port(), phone, text, pdus)
        finally:
            self._sending.release()
        return len(pdus)

    async def probe(self) -> str:
        """Whether the modem answers, and what it says of its SIM card and its network. No PIN is tried."""
        port = self._port or self._open(lambda line: None, lambda: None)
        try:
            imei = await identify(port)
            state = await sim_state(port)
            return f"IMEI {imei or 'unknown'}, SIM card: {state}, {describe(await ask_state(port))}"
        except AtError as exc:
            raise ModemFailed(f"the modem refuses: {exc}", exc.result) from exc
        finally:
            if port is not self._port:
                port.close()

    def _usable_port(self) -> AtPort:
        if self._port is None or self._status is None or self._restarted:
            raise NoModem(f"the GSM modem cannot be used: {self._absence.reason}")
        if self._problem is not None:
            raise ModemFailed(str(self._problem), self._problem.reason)
        if not self._status["registered"]:
            raise ModemFailed("the modem has found no network that takes it", "NO NETWORK")
        return self._port

    # The background task

    async def _run(self) -> None:
        pauses = Pauses()
        while True:
            try:
                self._port = self._open(self._hear, self._wake.set)
                while True:
                    await self._set_up(self._port)
                    pauses.reset()
                    await self._follow(self._port)
            except (NoModem, AtError) as exc:
                self._lose(str(exc))
            except Exception as exc:
                log_exception(exc)
                self._lose(f"unexpected {type(exc).__name__}")
            await asyncio.sleep(pauses.next())

    async def _set_up(self, port: AtPort) -> None:
        """Tell the modem how to answer, and find out about everything."""
        self._restarted = self._prepared = False
        self._grant_data_connection()
        self._imei = await identify(port)
        port.echoes = 0
        await self._look(port)
        self._echoes = port.echoes > 0  # some cannot be told not to
        if self._absence.reason != _NOT_YET:
            self._absence.end("answers again")
            self._absence.reason = _NOT_YET

    async def _follow(self, port: AtPort) -> None:
        """Look at the state again and again until the modem has restarted. NoModem where it is gone."""
        while True:
            await asyncio.sleep(LEAST_SEC)
            await wait_until(self._wake, POLL_SEC)
            self._wake.clear()
            if not port.is_open:
                raise NoModem("it was unplugged")
            if not self._restarted:
                try:
                    await self._look(port)
                except AtSilent:
                    await self._look(port)  # the answer may have been late
            if self._restarted or (port.echoes and not self._echoes):  # it has forgotten that it was not to echo
                log("modem: has restarted")
                return

    async def _look(self, port: AtPort) -> None:
        assert self._wanted is not None
        apn, user, password, pin = self._wanted
        try:
            await unlock(port, pin, self._memory)
            self._note_problem(None)
        except SimProblem as exc:
            self._prepared = False
            self._note_problem(exc)
        if self._problem is None and not self._prepared:
            await introduce(port)  # again: what it refused before the SIM card was ready
            self._imei = self._imei or await ask_imei(port)
            try:
                await prepare_network(port, apn, user, password)
                self._prepared = True
            except AtError as exc:  # messages go without a data connection
                self._data_trouble.tell(f"the modem refuses the access point: {exc}")
        status = await ask_state(port)
        connectable = apn and self._prepared and status["registered"] and status["ip"] is None
        if connectable and self._clock() >= self._data_due:
            status["ip"] = await self._connect(port)
        self._status = dict(status, imei=self._imei, simReady=self._problem is None)

    async def _connect(self, port: AtPort) -> str | None:
        problem = "the network gives no address"
        try:
            address = await connect_data(port)
        except AtError as exc:
            address, problem = None, str(exc)
        except AtSilent:  # of the network, it may be: the next command shows whether the modem is there
            address, problem = None, "the network does not answer in time"
        if address is not None:
            self._grant_data_connection()
            self._data_trouble.end()
        else:
            self._data_due = self._clock() + int(self._data_pauses.next() * 1000)
            self._data_trouble.tell(problem)
        return address

    def _grant_data_connection(self) -> None:
        """The next try may be made at once."""
        self._data_pauses.reset()
        self._data_due = 0

    def _note_problem(self, problem: SimProblem | None) -> None:
        self._problem = problem
        if problem is not None:
            self._sim_trouble.tell(str(problem))
        else:
            self._sim_trouble.end()

    def _hear(self, line: str) -> None:
        """A line that answers nothing."""
        is_text, self._text_follows = self._text_follows, not self._text_follows and announces_text(line)
        if is_text:
            return
        if line in _BOOT_LINES and self._status is not None and not self._restarted:
            self._restarted = True
            if self._port is not None:
                self._port.interrupt("the modem has restarted")
        if self._restarted or line.startswith(("+CREG:", "+CGREG:", "+CEREG:", "+CPIN:", "+CGEV:")):
            self._wake.set()

    def _lose(self, reason: str) -> None:
        self._absence.tell(reason)
        self._status = None
        self._note_problem(None)
        self._close()

    def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.close()
