"""The device's own holding registers, read over Modbus TCP under its own unit id. docs/registers.md lists them."""

from firmware import VERSION
from firmware.services.bus.pdu import exception, read
from hal.runtime.annotations import Callable

ILLEGAL_FUNCTION = 1
ILLEGAL_ADDRESS = 2
ILLEGAL_VALUE = 3

FLAG_UNIQUE_MAC, FLAG_CODE_SET, FLAG_CODE_WANTED, FLAG_CONNECTED = 1, 2, 4, 8

CODE_ADDRESS = 1009
CODE_ACTIVE = 0  # the device is activated
CODE_NONE = 100000000  # no code is set
CODE_FIRST, CODE_LAST = 10000000, 99999999  # the code to type into the cloud
SERVER_RUNS = 0xFF  # run indicator of function 17
READ_DEVICE_ID = 14  # MEI type of function 43
BASIC_CONFORMITY = 0x81  # the three basic objects, in one answer or one by one
CALL_ADDRESS, CALL_COUNT = 1000, 11  # what a device tells unasked when it calls the cloud


class OwnRegisters:
    """Answers PDUs from the device's registers.

    `uptime_minutes()`, `clients()` and `connected()` are asked at every read; `identity` is the answer of identify.
    """

    def __init__(
        self,
        identity: dict,
        client_limit: int,
        uptime_minutes: Callable[[], int],
        clients: Callable[[], int],
        connected: Callable[[], bool],
    ):
        self._identity = identity
        self._mac = [int(part, 16) for part in identity["mac"].split(":")]
        self._client_limit = client_limit
        self._uptime_minutes = uptime_minutes
        self._clients = clients
        self._connected = connected
        self.code = CODE_NONE
        self.code_wanted = False

    def answer(self, pdu: bytes, from_cloud: bool) -> bytes:
        """The answer PDU to functions 3, 6, 16, 17 and 43; others and bad addresses get an exception.

        Only the cloud connection may write, and only registers 1009 and 1010.
        """
        func = pdu[0]
        if func == 3:
            return self._read(pdu)
        if func == 17:
            return self._server_id()
        if func == 43 and pdu[1:2] == bytes([READ_DEVICE_ID]):
            return self._device_id(pdu)
        if func in (6, 16) and from_cloud:
            return self._write(pdu)
        return exception(func, ILLEGAL_FUNCTION)

    def want_code(self) -> None:
        """Ask the cloud for an activation code, at its next connection."""
        self.code_wanted = True

    def call(self) -> bytes:
        """The unsolicited answer PDU by which the cloud knows who called."""
        return self._read(read(3, CALL_ADDRESS, CALL_COUNT))

    def activation(self) -> dict:
        """The state key `activation`."""
        open_code = self.code if CODE_FIRST <= self.code <= CODE_LAST else None
        return {"activated": self.code == CODE_ACTIVE, "code": open_code, "features": [], "expires": None}

    def values(self) -> dict:
        """Address -> value of every register."""
        uptime = self._uptime_minutes()
        kind = self._identity["firmwareType"] & 0xFFFF
        version = self._identity["firmwareVer"] & 0xFFFF
        values = {
            0: kind,
            1: version,
            123: uptime >> 16 & 0xFFFF,
            124: uptime & 0xFFFF,
            125: self._clients(),
            126: self._client_limit,
            1000: kind,
            1001: version,
            1008: self._flags(),
            1009: self.code >> 16,
            1010: self.code & 0xFFFF,
        }
        for index, byte in enumerate(self._mac):
            values[1002 + index] = byte
        return values

    def _flags(self) -> int:
        flags = FLAG_UNIQUE_MAC if self._identity["uniqueMac"] else 0
        if CODE_FIRST <= self.code <= CODE_LAST:
            flags |= FLAG_CODE_SET
        if self.code_wanted:
            flags |= FLAG_CODE_WANTED
        if self._connected():
            flags |= FLAG_CONNECTED
        return flags

    def _read(self, pdu: bytes) -> bytes:
        if len(pdu) != 5:
            return exception(pdu[0], ILLEGAL_VALUE)
        address, count = pdu[1] << 8 | pdu[2], pdu[3] << 8 | pdu[4]
        if not 1 <= count <= 125:
            return exception(pdu[0], ILLEGAL_VALUE)
        values = self.values()
        data = bytearray([pdu[0], 2 * count])
        for register in range(address, address + count):
            if register not in values:
                return exception(pdu[0], ILLEGAL_ADDRESS)
            data += bytes([values[register] >> 8, values[register] & 0xFF])
        return bytes(data)

    def _server_id(self) -> bytes:
        """Who the device is, by function 17 (application protocol 6.13)."""
        data = " ".join(self._names()).encode() + bytes([SERVER_RUNS])
        return bytes([17, len(data)]) + data

    def _device_id(self, pdu: bytes) -> bytes:
        """Who the device is, by function 43/14 (application protocol 6.21)."""
        names = self._names()
        if len(pdu) != 4 or not 1 <= pdu[2] <= 4:
            return exception(pdu[0], ILLEGAL_VALUE)
        first, last = pdu[3], len(names) - 1
        if pdu[2] == 4:
            last = first
            if first >= len(names):
                return exception(pdu[0], ILLEGAL_ADDRESS)
        elif first > last:
            first = 0  # an object that is not there: from the beginning
        data = bytearray([43, READ_DEVICE_ID, pdu[2], BASIC_CONFORMITY, 0, 0, last - first + 1])
        for number in range(first, last + 1):
            text = names[number].encode()
            data += bytes([number, len(text)]) + text
        return bytes(data)

    def _names(self) -> list[str]:
        """The basic objects of function 43/14 in their order: vendor, product code, revision."""
        return [self._identity["manufacturer"], self._identity["device"], VERSION]

    def _write(self, pdu: bytes) -> bytes:
        """Function 16 on both code registers at once, or function 6 on either of them."""
        func = pdu[0]
        if func == 6 and len(pdu) == 5:
            address, words = pdu[1] << 8 | pdu[2], [pdu[3] << 8 | pdu[4]]
        elif func == 16 and len(pdu) >= 6 and pdu[5] == len(pdu) - 6 == 2 * (pdu[3] << 8 | pdu[4]):
            address = pdu[1] << 8 | pdu[2]
            words = [pdu[index] << 8 | pdu[index + 1] for index in range(6, len(pdu), 2)]
        else:
            return exception(func, ILLEGAL_VALUE)
        if not words or address < CODE_ADDRESS or address + len(words) > CODE_ADDRESS + 2:
            return exception(func, ILLEGAL_ADDRESS)
        code = [self.code >> 16, self.code & 0xFFFF]
        for index, word in enumerate(words):
            code[address - CODE_ADDRESS + index] = word
        # Written one register at a time, the number is whole only after the second: any 32 bits are taken here.
        self.code = code[0] << 16 | code[1]
        self.code_wanted = False
        return pdu[:5]
