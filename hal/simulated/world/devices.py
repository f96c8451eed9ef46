"""The Modbus devices of the simulated world, built with pymodbus's server side. docs/simulator.md describes them.

pymodbus holds the registers and carries the standard functions out; what it lacks is added: frames are told apart by
the line's silence instead of by guessing, each device has its own functions and its own identification, and a
malformed request gets exception 3.
"""

import logging
import math
import struct
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerAscii, FramerRTU
from pymodbus.framer.base import FramerBase
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.device import ModbusControlBlock, ModbusDeviceIdentification
from pymodbus.simulator import DataType, SimData, SimDevice
from pymodbus.simulator.simcore import SimCore

from hal.runtime import log_exception
from hal.simulated.world.line_setting import LineSetting

_DIAGNOSTICS = 8
_REPORT_ID = 17
_IDENTIFICATION = 43
_VENDOR = 0x41

_REGISTER_FUNCTIONS = frozenset((1, 2, 3, 4, 5, 6, 15, 16, 22, 23, _DIAGNOSTICS))

_DECODER = DecodePDU(True)
_RTU = FramerRTU(_DECODER)
_ASCII = FramerAscii(_DECODER)

logging.getLogger("pymodbus").setLevel(logging.ERROR)  # a master's bad request is no news here


class Request(NamedTuple):
    """A request as it came in: unit id (0 is a broadcast), PDU, and whether it was framed as ASCII."""

    uid: int
    pdu: bytes
    text: bool


class Answer(NamedTuple):
    """A device's answer, how it puts it on the line, and how long it takes at least to begin."""

    uid: int
    pdu: bytes
    framer: FramerBase
    setting: LineSetting
    turnaround: float

    def frame(self) -> bytes:
        """The bytes on the line."""
        return self.framer.encode(self.pdu, self.uid, 0)


def rtu_request(run: bytes) -> Request | None:
    """The request in a run of bytes, None where it is no RTU frame with a right CRC (section 2.5.1)."""
    if len(run) < FramerRTU.MIN_SIZE or not FramerRTU.check_CRC(run[:-2], int.from_bytes(run[-2:], "big")):
        return None
    return Request(run[0], run[1:-2], False)


def ascii_request(text: bytes) -> Request | None:
    """The request in a text that ends with CR LF, None where it is no ASCII frame with a right LRC (section 2.5.2)."""
    start = text.rfind(b":")
    try:
        _, uid, _, pdu = _ASCII.decode(text[start:])
    except ValueError:
        return None
    return Request(uid, pdu, True) if start >= 0 and pdu else None


class Devices:
    """All devices of the world. Those without a line setting of their own follow the jumpers."""

    def __init__(self, baud_rate: int, parity: str, monotonic: Callable[[], float]):
        started = monotonic()
        self._devices = {device.UID: device for device in (kind(lambda: monotonic() - started) for kind in _KINDS)}
        self._core = SimCore([device.registers() for device in self._devices.values()])
        for uid, device in self._devices.items():
            device.connect(self._core, self._core.devices[uid].block)
        self.jumper(baud_rate, parity, 1)

    def jumper(self, baud_rate: int, parity: str, stop_bits: int) -> None:
        """Set the line of the devices that have jumpers."""
        self._jumpers = LineSetting(baud_rate, 8, parity, stop_bits)

    def ask(self, request: Request, master: LineSetting) -> Answer | None:
        """Carry the request out at every device that it is for and that hears it; None where nobody answers."""
        if request.uid == 0:
            for device in self._devices.values():
                if self._hears(device, request, master):
                    device.execute(request.pdu)
            return None
        addressed = self._devices.get(request.uid)
        if addressed is None or not self._hears(addressed, request, master):
            return None
        pdu = addressed.execute(request.pdu)
        if pdu is None:
            return None
        framer = _ASCII if addressed.TEXT else _RTU
        setting = master if addressed.ANY_FORMAT else self._setting(addressed)
        return Answer(request.uid, pdu, framer, setting, addressed.TURNAROUND)

    def _setting(self, device: "Device") -> LineSetting:
        return device.SETTING or self._jumpers

    def _hears(self, device: "Device", request: Request, master: LineSetting) -> bool:
        setting = self._setting(device)
        heard = setting.same_rate(master) if device.ANY_FORMAT else setting.hears(master)
        return heard and request.text == device.TEXT


class Device:
    """One device: its registers, what changes them, what it refuses."""

    UID = 0
    NAME = ""
    FUNCTIONS = _REGISTER_FUNCTIONS | {_REPORT_ID, _IDENTIFICATION}
    SETTING: LineSetting | None = None  # None: as the jumpers say
    ANY_FORMAT = False  # any parity and number of data bits at its rate
    TEXT = False  # speaks ASCII frames
    TURNAROUND = 0.0  # seconds from the end of a request to the answer; the line's silence at least

    def __init__(self, age: Callable[[], float]):
        self.age = age  # seconds since the world began
        self._core: SimCore
        self.coils: list[int]  # sixteen to a word, the lowest bit first
        self.discretes: list[int]
        self.holding: list[int]
        self.inputs: list[int]

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        """Coils, discrete inputs, holding registers and input registers at the start."""
        return [_bits(16)], [_bits(16)], [_words([self.UID], 16)], [_words([self.UID], 16)]

    def refresh(self) -> None:
        """Bring what changes over time up to date. Called before each access."""

    def refuses(self, function: int, address: int) -> ExcCodes | None:
        """The exception for this address, None where it can be accessed."""
        return None

    def registers(self) -> SimDevice:
        """The device as pymodbus simulates it."""

        async def touched(
            function: int, _start: int, address: int, _count: int, _registers: list[int], _values: object
        ) -> ExcCodes | None:
            self.refresh()
            return self.refuses(function, address)

        return SimDevice(self.UID, self.contents(), action=touched)

    def connect(self, core: SimCore, blocks: dict[str, tuple[int, int, list[int], list[int]]]) -> None:
        """Take hold of the registers that pymodbus made."""
        self._core = core
        self.coils, self.discretes, self.holding, self.inputs = (blocks[kind][2] for kind in "cdhi")

    def execute(self, pdu: bytes) -> bytes | None:
        """Carry a request out; the answer's PDU, None where the request has no function code (1 to 127)."""
        function = pdu[0]
        if not 1 <= function <= 127:
            return None
        try:
            return self._execute(function, pdu)
        except Exception as exc:
            log_exception(exc)
            return _exception(function, ExcCodes.DEVICE_FAILURE)

    def _execute(self, function: int, pdu: bytes) -> bytes:
        if function not in self.FUNCTIONS or (function == _DIAGNOSTICS and pdu[1:3] != b"\0\0"):
            return _exception(function, ExcCodes.ILLEGAL_FUNCTION)
        if function == _VENDOR:
            return bytes([function]) + pdu[:0:-1]
        request = _DECODER.decode(pdu)
        if request is None or _malformed(function, pdu):
            return _exception(function, ExcCodes.ILLEGAL_VALUE)
        request.dev_id = self.UID
        ModbusControlBlock().Identity.update(self._identity())  # pymodbus has one for all devices
        answer = _result(request.datastore_update(self._core, self.UID))  # type: ignore[arg-type]  # as its server does
        return bytes([answer.function_code]) + answer.encode()

    def _identity(self) -> ModbusDeviceIdentification:
        return ModbusDeviceIdentification(
            info_name={
                "VendorName": "Simulated Works",
                "ProductCode": f"SIM-{self.UID}",
                "MajorMinorRevision": "1.4",
                "ProductName": self.NAME,
            }
        )


class _Meter(Device):
    UID = 1
    NAME = "Energy meter"

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        nameplate = SimData(0, values=[252, 104, 2300, 5000], datatype=DataType.UINT16, readonly=True)
        holding = [nameplate, SimData(4, values=[40, 1] + [0] * 122, datatype=DataType.UINT16)]
        return [_bits(16)], [_bits(16)], holding, [_words([], 128)]

    def refresh(self) -> None:
        age = self.age()
        swing = math.sin(age / 10)
        phases = [230.0 + swing, 231.5 - swing, 229.0 + swing / 2, 4.0 + swing, 3.5, 5.25 - swing]
        measured = [*phases, sum(phases[i] * phases[i + 3] for i in range(3)), 50.0 + swing / 50]
        self.inputs[0:16] = struct.unpack(">16H", struct.pack(">8f", *measured))
        self.inputs[16:18] = struct.unpack(">2H", struct.pack(">I", 1_234_567 + int(age)))
        self.inputs[18] = int(age) & 0xFFFF
        self.discretes[0] = 0b0111 | (int(age) & 1) << 3


class _Relays(Device):
    UID = 2
    NAME = "Relay module"
    FUNCTIONS = _REGISTER_FUNCTIONS

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        return [_bits(32)], [_bits(32)], [_words([500] * 8, 16)], [_words([], 16)]

    def refresh(self) -> None:
        seconds = int(self.age())
        self.discretes[0] = self.coils[0] & 0xFF | (seconds & 1) << 8 | (seconds // 10 & 1) << 9
        self.inputs[0:2] = [self.coils[0], seconds & 0xFFFF]


class _SlowLogger(Device):
    UID = 17
    NAME = "Slow data logger"
    FUNCTIONS = _REGISTER_FUNCTIONS | {_REPORT_ID}
    TURNAROUND = 0.3

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        return [_bits(16)], [_bits(16)], [_words(list(range(1700, 1716)), 16)], [_words([], 16)]

    def refresh(self) -> None:
        seconds = int(self.age())
        self.inputs[0] = seconds & 0xFFFF
        self.discretes[0] = seconds & 1


class _TemperatureController(Device):
    UID = 33
    NAME = "Temperature controller"

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        holding = [_words([215, 5], 16), SimData(1000, count=16, datatype=DataType.UINT16)]
        return [_bits(16)], [_bits(16)], holding, [_words([], 16)]

    def refresh(self) -> None:
        inside = 215 + round(20 * math.sin(self.age() / 30))
        self.inputs[0:2] = [inside, -53 & 0xFFFF]
        self.discretes[0] = inside < self.holding[0]

    def refuses(self, function: int, address: int) -> ExcCodes | None:
        if address < 1000 or function in (1, 2, 4, 5, 15):
            return None
        try:
            return ExcCodes(address - 1000)
        except ValueError:
            return ExcCodes.ILLEGAL_ADDRESS


class _Drive(Device):
    UID = 100
    NAME = "Variable speed drive"
    FUNCTIONS = Device.FUNCTIONS | {_VENDOR}

    def __init__(self, age: Callable[[], float]):
        super().__init__(age)
        self._speed = 0.0
        self._seen = 0.0

    def contents(self) -> tuple[list[SimData], list[SimData], list[SimData], list[SimData]]:
        return [_bits(16)], [_bits(16)], [_words([0, 1500, 500], 128)], [_words([], 16)]

    def refresh(self) -> None:
        control, setpoint, ramp = self.holding[0:3]
        target = setpoint if control & 1 else 0
        now = self.age()
        step = ramp * (now - self._seen)
        self._seen = now
        self._speed += max(-step, min(step, target - self._speed))
        running = self._speed > 0 or bool(control & 1)
        self.inputs[0:2] = [running | (self._speed == target) << 1, round(self._speed)]
        self.discretes[0] = running


class _WeatherStation(Device):
    UID = 247
    NAME = "Weather station"
    SETTING = LineSetting(19200, 8, "E", 1)

    def refresh(self) -> None:
        self.inputs[1:3] = [round(120 + 30 * math.sin(self.age() / 60)) & 0xFFFF, int(self.age()) & 0xFFFF]
        self.discretes[0] = int(self.age()) & 1


class _Scales(Device):
    UID = 50
    NAME = "Scales"
    SETTING = LineSetting(9600)
    ANY_FORMAT = True
    TEXT = True

    def refresh(self) -> None:
        self.inputs[1] = 1000 + int(self.age()) % 100
        self.discretes[0] = int(self.age()) & 1


_KINDS = (_Meter, _Relays, _SlowLogger, _TemperatureController, _Scales, _Drive, _WeatherStation)


def _bits(count: int) -> SimData:
    return SimData(0, values=[False] * count, datatype=DataType.BITS)


def _words(values: list[int], count: int) -> SimData:
    return SimData(0, values=values + [0] * (count - len(values)), datatype=DataType.UINT16)


def _exception(function: int, code: ExcCodes) -> bytes:
    return bytes([function | 0x80, code])


def _malformed(function: int, pdu: bytes) -> bool:
    """What pymodbus lets pass: a coil that is neither on nor off, an unknown kind of device identification."""
    if function == 5:
        return pdu[3:5] not in (b"\xff\x00", b"\x00\x00")
    return function == _IDENTIFICATION and pdu[1] == 0x0E and not 1 <= pdu[2] <= 4


def _result(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never waits, without the cost of an event loop."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise RuntimeError("the simulated registers made their caller wait")
