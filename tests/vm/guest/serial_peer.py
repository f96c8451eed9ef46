"""A Modbus device on the other end of a serial line."""

import struct
import threading
import time

import serial


def crc(data):
    """CRC-16 of "MODBUS over Serial Line", section 6.2.2."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return struct.pack("<H", value)


def rtu(unit, pdu):
    body = bytes([unit]) + pdu
    return body + crc(body)


def ascii_frame(unit, pdu):
    body = bytes([unit]) + pdu
    return b":" + (body + bytes([-sum(body) & 0xFF])).hex().upper().encode() + b"\r\n"


class Peer(threading.Thread):
    """A device on the other end, by the same tty layer: answers one question with one frame."""

    def __init__(self, path, questions, pause=0.0, **settings):
        super().__init__(daemon=True)
        self._pause = pause
        self._questions = questions
        self._tty = serial.Serial(path, timeout=0.02, **settings)
        self._stopping = False
        self.start()

    def run(self):
        heard = b""
        while not self._stopping:
            heard += self._tty.read(256)
            for question, answer in self._questions.items():
                if question in heard:
                    heard = b""
                    time.sleep(self._pause)
                    self._tty.write(answer)

    def stop(self):
        self._stopping = True
        self.join()
        self._tty.close()
