"""Modbus PDUs of the API's requests: built from fields, read into values.

Source: "MODBUS Application Protocol Specification V1.1b3", section 6.
"""

from hal.fields import BadField

READ_BITS = (1, 2)
READ_REGISTERS = (3, 4)
DATA_MAX = 252  # bytes after the function code, section 4.1


def build(fields: dict) -> bytes:
    """The PDU of a request given raw ("data", bytes) or typed by its function; BadField names what does not fit."""
    func = fields["func"]
    if fields["data"] is not None:
        _refuse_others(fields, ())
        return bytes([func]) + fields["data"]
    if func in READ_BITS:
        return _read(fields, 2000)
    if func in READ_REGISTERS:
        return _read(fields, 125)
    if func in (5, 6):
        return _write_one(fields)
    if func in (15, 16):
        return _write_many(fields)
    raise BadField("data: is missing; only functions 1 to 6, 15 and 16 can be given by addr")


def read_values(func: int, count: int, pdu: bytes) -> list:
    """The values of an answer to a typed read: `count` booleans (functions 1, 2) or integers 0..65535 (3, 4)."""
    data = pdu[2:]
    if func in READ_BITS:
        return [bool(data[index // 8] >> index % 8 & 1) for index in range(count)]
    return [data[index] << 8 | data[index + 1] for index in range(0, 2 * count, 2)]


def _need(fields: dict, name: str):
    if fields[name] is None:
        raise BadField(f"{name}: is missing for function {fields['func']}")
    return fields[name]


def _refuse_others(fields: dict, used: tuple) -> None:
    problems = []
    for name in ("addr", "count", "value", "values"):
        if name not in used and fields[name] is not None:
            what = "a request with data" if fields["data"] is not None else f"function {fields['func']}"
            problems.append(f"{name}: has no place in {what}")
    if problems:
        raise BadField(problems)


def _address(fields: dict, count: int) -> bytes:
    address = _need(fields, "addr")
    if address + count > 65536:
        raise BadField(f"addr: must be 0..{65536 - count} for {count} values")
    return bytes([address >> 8, address & 0xFF])


def _read(fields: dict, most: int) -> bytes:
    _refuse_others(fields, ("addr", "count"))
    count = _need(fields, "count")
    if not 1 <= count <= most:
        raise BadField(f"count: must be an integer 1..{most} for function {fields['func']}")
    return bytes([fields["func"]]) + _address(fields, count) + bytes([count >> 8, count & 0xFF])


def _bit(value, where: str) -> bool:
    if value in (0, 1):  # true and false are equal to these
        return bool(value)
    raise BadField(f"{where}: must be true, false, 1 or 0")


def _register(value, where: str) -> bytes:
    if isinstance(value, bool):
        raise BadField(f"{where}: must be an integer 0..65535")
    return bytes([value >> 8, value & 0xFF])


def _write_one(fields: dict) -> bytes:
    _refuse_others(fields, ("addr", "value"))
    value = _need(fields, "value")
    if fields["func"] == 5:
        content = b"\xff\x00" if _bit(value, "value") else b"\x00\x00"
    else:
        content = _register(value, "value")
    return bytes([fields["func"]]) + _address(fields, 1) + content


def _write_many(fields: dict) -> bytes:
    _refuse_others(fields, ("addr", "values"))
    values = _need(fields, "values")
    func = fields["func"]
    most = 1968 if func == 15 else 123
    if not 1 <= len(values) <= most:
        raise BadField(f"values: must be a list of 1..{most} items for function {func}")
    if func == 15:
        content = bytearray((len(values) + 7) // 8)
        for index, value in enumerate(values):
            if _bit(value, f"values[{index}]"):
                content[index // 8] |= 1 << index % 8
    else:
        content = bytearray()
        for index, value in enumerate(values):
            content += _register(value, f"values[{index}]")
    count = len(values)
    return bytes([func]) + _address(fields, count) + bytes([count >> 8, count & 0xFF, len(content)]) + bytes(content)
