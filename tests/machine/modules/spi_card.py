"""An SD card that speaks the SPI protocol byte by byte, on the tests' module `machine`.

Its blocks are those of the file `card` of the folder; without that file it is out of its slot and the line stays high.
The file `card-fault` says what it does wrong: "old" (a card of the first version, which counts addresses in bytes),
"never ready", "no data", "bad crc", "read error", "write refused", "busy", "bad echo", or "pulled N": it is pulled out
after so many bytes more.
"""

import os

BLOCK = 512
IDLE, CRC_ERROR, ILLEGAL = 0x01, 0x08, 0x04


def crc7(data):
    crc = 0
    for byte in data:
        for bit in range(7, -1, -1):
            carry = crc >> 6 & 1 ^ byte >> bit & 1
            crc = crc << 1 & 0x7F ^ (9 if carry else 0)
    return crc << 1 | 1


def crc16(data):
    crc = 0
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021) & 0xFFFF if crc & 0x8000 else crc << 1
    return crc


class Card:
    """What hangs on the bus."""

    def __init__(self, folder):
        self._folder = folder
        self._path = folder + "/card"
        self.power_on()

    def power_on(self):
        self._out = bytearray()  # what it says next
        self._frame = bytearray()
        self._block = None  # that is being written
        self._idle = True
        self._awake = False  # a CMD0 has come
        self._app = False
        self._crc = False
        self._left = None  # bytes until it is pulled

    def fault(self):
        try:
            with open(self._folder + "/card-fault") as file:
                return file.read()
        except OSError:
            return ""

    def exchange(self, byte, selected):
        """What it says while a byte is said to it."""
        fault = self.fault()
        if fault.startswith("pulled"):
            self._left = (int(fault.split()[1]) if self._left is None else self._left) - 1
        if "card" not in os.listdir(self._folder) or (self._left is not None and self._left < 0):
            self.power_on()
            self._left = -1 if fault.startswith("pulled") else None
            return 0xFF
        if not selected:
            self._out, self._frame, self._block = bytearray(), bytearray(), None
            return 0xFF
        if self._out:
            said, self._out = self._out[0], self._out[1:]
            return said
        if self._block is not None:
            self._take_data(byte, fault)
        elif self._frame or byte & 0xC0 == 0x40:
            self._frame.append(byte)
            if len(self._frame) == 6:
                frame, self._frame = bytes(self._frame), bytearray()
                self._out = b"\xff" + self._answer(frame, fault)
        return 0xFF

    def _answer(self, frame, fault):
        number, argument = frame[0] & 0x3F, int.from_bytes(frame[1:5], "big")
        app, self._app = self._app, False
        if not self._awake and number != 0:
            return b""
        checked = self._crc or number in (0, 8)
        if checked and crc7(frame[:5]) != frame[5]:
            return bytes((CRC_ERROR | self._idle,))
        old = fault == "old"
        if number == 0:
            self._awake = self._idle = True
            self._crc = False
            return b"\x01"
        if number == 8 and not old:
            return b"\x01\x00\x00\x01" + (b"\x55" if fault == "bad echo" else frame[4:5])
        if number == 59:
            self._crc = bool(argument & 1)
            return bytes((self._idle,))
        if number == 55:
            self._app = True
            return bytes((self._idle,))
        if number == 41 and app:
            self._idle = fault == "never ready" or (not old and not argument & 0x40000000)
            return bytes((self._idle,))
        if number == 58 and not old:
            return bytes((self._idle,)) + b"\xc0\xff\x80\x00"
        if self._idle:
            return bytes((ILLEGAL | IDLE,))
        if number == 16:
            return b"\x00" if argument == BLOCK else b"\x40"
        if number == 9:
            return b"\x00\xff" + self._data(self._csd(old), fault)
        if number in (17, 24):
            if old and argument % BLOCK:
                return b"\x20"
            block = argument // BLOCK if old else argument
            if block >= self._count():
                return b"\x40"
            if number == 24:
                self._block = (block, bytearray())
                return b"\x00"
            if fault == "no data":
                return b"\x00"
            if fault == "read error":
                return b"\x00\xff\x08"
            with open(self._path, "rb") as file:
                file.seek(block * BLOCK)
                return b"\x00\xff\xff" + self._data(file.read(BLOCK), fault)
        return bytes((ILLEGAL | self._idle,))

    def _data(self, data, fault):
        crc = crc16(data) ^ (fault == "bad crc")
        return b"\xfe" + data + bytes((crc >> 8, crc & 255))

    def _count(self):
        return os.stat(self._path)[6] // BLOCK

    def _csd(self, old):
        count = self._count()
        if old:  # (C_SIZE + 1) * 2**(C_SIZE_MULT + 2) blocks of 2**READ_BL_LEN bytes
            size, csd = count // 4 - 1, bytearray(16)
            csd[5] = 9
            csd[6], csd[7], csd[8] = size >> 10, size >> 2 & 255, (size & 3) << 6
            return bytes(csd)
        size = count // 1024 - 1
        return b"\x40\x0e\x00\x32\x5b\x59\x00" + bytes((size >> 16, size >> 8 & 255, size & 255)) + bytes(6)

    def _take_data(self, byte, fault):
        block, data = self._block
        if not data and byte != 0xFE:
            return
        data.append(byte)
        if len(data) < 1 + BLOCK + 2:
            return
        self._block = None
        body = bytes(data[1 : 1 + BLOCK])
        if crc16(body) != data[-2] << 8 | data[-1]:
            self._out = bytearray(b"\x0b")
        elif fault == "write refused":
            self._out = bytearray(b"\x0d")
        else:
            with open(self._path, "r+b") as file:
                file.seek(block * BLOCK)
                file.write(body)
            self._out = bytearray(b"\x05") + bytes(100000 if fault == "busy" else 5)


class SPI:
    """A bus on which the card is selected by pin 13."""

    CS = 13

    def __init__(self, number, **settings):
        self.number, self.pins = number, settings
        self._card = None

    def init(self, baudrate):
        self.rate = baudrate

    def deinit(self):
        pass

    def _exchange(self, byte):
        import machine

        if self._card is None:
            self._card = Card(machine._FOLDER)
        return self._card.exchange(byte, not machine.Pin(SPI.CS).value())

    def write(self, data):
        for byte in bytes(data):
            self._exchange(byte)

    def readinto(self, buffer, write=0):
        for at in range(len(buffer)):
            buffer[at] = self._exchange(write)

    def read(self, count, write=0):
        buffer = bytearray(count)
        self.readinto(buffer, write)
        return bytes(buffer)
