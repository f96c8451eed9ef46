"""A capture of the trace in the format pcapng, which Wireshark decodes as Modbus RTU without being told how.

Each packet is an "exported PDU" (link type 252): a tag in front of the frame names the dissector (Wireshark's
epan/exported_pdu.h lists the tags). The frame is that of RTU whatever the line speaks: there is no dissector for ASCII,
and the content is the same. Wireshark tells questions from answers by what is in them; where an answer repeats its
question (functions 5, 6, 8, 22) it cannot, so the comments say it too. Source of the format: draft-ietf-opsawg-pcapng,
sections 4.1 to 4.3.
"""

import struct

from firmware.services.trace.entry import FORWARD, LANES, Entry
from hal.rs485.checksums import crc16

MEDIA_TYPE = "application/x-pcapng"

_LINK_TYPE = 252  # WIRESHARK_UPPER_PDU
_SNAP_LENGTH = 65535
_INBOUND, _OUTBOUND = 1, 2  # of option epb_flags
_COMMENT, _FLAGS = 1, 2  # options
_INTERFACES = ("RS-485", "forwarded to a Modbus TCP server")
_DISSECTOR = 12  # tag


def header(about: str) -> bytes:
    """What a file begins with; `about` says which program has made it."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, about.encode())  # 4: the program
    blocks = _block(0x0A0D0D0A, section + _END)
    for name in _INTERFACES:
        interface = struct.pack("<HHI", _LINK_TYPE, 0, _SNAP_LENGTH) + _option(2, name.encode())  # 2: its name
        blocks += _block(1, interface + _option(9, b"\x06") + _END)  # 9: times are in microseconds
    return blocks


def packets(entry: Entry, utc_us: int) -> bytes:
    """The packets of an exchange that began at a moment in microseconds UTC: question, answer, what was thrown away."""
    interface = 1 if entry.lane == FORWARD else 0
    unit = bytes([entry.uid])
    blocks = b""
    if entry.question:
        frame = unit + entry.question
        blocks += _packet(interface, utc_us, "mbrtu", frame + crc16(frame), True, _words(entry))
    if entry.answer:
        frame = unit + entry.answer
        words = f"{entry.number}: answer"
        if entry.first_us is not None:
            words += f", {entry.first_us} us after the question"
        blocks += _packet(interface, utc_us + entry.until_answer_us(), "mbrtu", frame + crc16(frame), False, words)
    for reason, data in entry.thrown:
        dissector = "mbrtu" if len(data) >= 4 and crc16(data[:-2]) == data[-2:] else "data"
        words = f"{entry.number}: thrown away: {reason}"
        blocks += _packet(interface, utc_us + entry.line_us, dissector, data, reason == "echo", words)
    return blocks


def _words(entry: Entry) -> str:
    """What stands at a question: who asked, how long it waited, what came of it."""
    words = f"{entry.number}: question of {entry.origin or 'nobody'}, lane {LANES[entry.lane]}"
    if entry.queued_ms:
        words += f", waited {entry.queued_ms} ms"
    if entry.line is not None and entry.line[2]:
        words += ", sent as ASCII"
    if entry.cause is not None:
        words += f"; {entry.cause}"
    if entry.heard_uid is not None:
        words += f": unit {entry.heard_uid} answered"
    return words


def _packet(interface: int, moment: int, dissector: str, data: bytes, asks: bool, comment: str) -> bytes:
    content = _tag(dissector) + b"\0\0\0\0" + data
    head = struct.pack("<IIIII", interface, moment >> 32, moment & 0xFFFFFFFF, len(content), len(content))
    options = _option(_COMMENT, comment.encode()) + _option(_FLAGS, struct.pack("<I", _OUTBOUND if asks else _INBOUND))
    return _block(6, head + _padded(content) + options + _END)


def _tag(dissector: str) -> bytes:
    name = _padded(dissector.encode() + b"\0")
    return struct.pack(">HH", _DISSECTOR, len(name)) + name


def _option(number: int, value: bytes) -> bytes:
    return struct.pack("<HH", number, len(value)) + _padded(value)


_END = b"\0\0\0\0"


def _block(kind: int, content: bytes) -> bytes:
    size = 12 + len(content)
    return struct.pack("<II", kind, size) + content + struct.pack("<I", size)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
