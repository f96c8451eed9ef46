"""Modbus PDUs of the API's requests: built from fields, read into values.

Source: "MODBUS Application Protocol Specification V1.1b3", section 6.
"""

from firmware.services.bus.registers import encode, numbers, width
from hal.fields import BadField
from hal.runtime.annotations import Any

READ_BITS = (1, 2)
READ_REGISTERS = (3, 4)
DATA_MAX = 252  # bytes after the function code, section 4.1


class Fields:
    """What a request says: `func` and the bytes after it, or what its function has of the others; None: not given.

    They bear the API's names, which errors tell.
    """

    def __init__(
        self,
        func: int,
        data: bytes | None = None,
        addr: int | None = None,
        count: int | None = None,
        value: bool | int | float | None = None,
        values: list | None = None,
        type: str | None = None,
        order: str | None = None,
    ):
        self.func = func
        self.data = data
        self.addr = addr
        self.count = count
        self.value = value
        self.values = values
        self.type = type
        self.order = order


def build(fields: Fields) -> bytes:
    """The PDU of a request given raw or typed by its function; BadField names what does not fit."""
    func = fields.func
    if fields.data is not None:
        _refuse_others(fields, ())
        return bytes([func]) + fields.data
    if func in READ_BITS:
        return _read(fields, 2000)
    if func in READ_REGISTERS:
        return _read(fields, 125)
    if func in (5, 6):
        return _write_one(fields)
    if func in (15, 16):
        return _write_many(fields)
    raise BadField("data: is missing; only functions 1 to 6, 15 and 16 can be given by addr")


def read(func: int, address: int, count: int) -> bytes:
    """The PDU that reads so many bits (functions 1, 2) or registers (3, 4), sections 6.1 to 6.4."""
    return bytes([func, address >> 8, address & 0xFF, count >> 8, count & 0xFF])


def exception(func: int, code: int) -> bytes:
    """The PDU of an exception to a function, section 7."""
    return bytes([func | 0x80, code])


def read_values(func: int, count: int, pdu: bytes, kind: str | None = None, order: str = "ABCD") -> list:
    """The values of an answer to a typed read: `count` booleans (functions 1, 2) or numbers of a type (3, 4), or
    without one integers 0..65535; None for a float that is no number."""
    data = pdu[2:]
    if func in READ_BITS:
        return [bool(data[index // 8] >> index % 8 & 1) for index in range(count)]
    words = [data[index] << 8 | data[index + 1] for index in range(0, 2 * count * width(kind or "uint16"), 2)]
    return words if kind is None else numbers(kind, order, words)


def _need(fields: Fields, name: str) -> Any:
    value = getattr(fields, name)
    if value is None:
        raise BadField(f"{name}: is missing for function {fields.func}")
    return value


def _refuse_others(fields: Fields, used: tuple) -> None:
    problems = []
    for name in ("addr", "count", "value", "values", "type", "order"):
        if name not in used and getattr(fields, name) is not None and (name not in ("type", "order") or not used):
            what = "a request with data" if fields.data is not None else f"function {fields.func}"
            problems.append(f"{name}: has no place in {what}")
    if problems:
        raise BadField(problems)


def _address(fields: Fields, count: int) -> bytes:
    address = _need(fields, "addr")
    if address + count > 65536:
        raise BadField(f"addr: must be 0..{65536 - count} for {count} values")
    return bytes([address >> 8, address & 0xFF])


def _read(fields: Fields, most: int) -> bytes:
    func = fields.func
    size = _width(fields, func in READ_REGISTERS)
    _refuse_others(fields, ("addr", "count"))
    count = _need(fields, "count")
    if not 1 <= count <= most // size:
        raise BadField(f"count: must be an integer 1..{most // size} for function {func}{_of_type(fields)}")
    _address(fields, count * size)
    return read(func, _need(fields, "addr"), count * size)


def _of_type(fields: Fields) -> str:
    return f" and type {fields.type}" if fields.type is not None else ""


def _width(fields: Fields, has_numbers: bool) -> int:
    """Registers of each value; BadField where a type or an order has no place."""
    if fields.type is None:
        if fields.order is not None:
            raise BadField("order: belongs to a type of more than a byte; type is missing")
        return 1
    if not has_numbers:
        raise BadField(f"type: has no place in function {fields.func}, whose values are bits")
    return width(fields.type)


def _bit(value: object, where: str) -> bool:
    if value in (0, 1):  # true and false are equal to these
        return bool(value)
    raise BadField(f"{where}: must be true, false, 1 or 0")


def _register(fields: Fields, value: object, where: str) -> bytes:
    """The bytes of a number; one without a type fits a register, signed or not."""
    if fields.type is not None:
        return encode(fields.type, fields.order or "ABCD", value, where)
    if isinstance(value, bool) or not isinstance(value, int) or not -32768 <= value <= 65535:
        raise BadField(f"{where}: must be an integer -32768..65535")
    return bytes([value >> 8 & 0xFF, value & 0xFF])


def _write_one(fields: Fields) -> bytes:
    func = fields.func
    size = _width(fields, func == 6)
    _refuse_others(fields, ("addr", "value"))
    value = _need(fields, "value")
    if size > 1:
        raise BadField(f"type: {fields.type} has {size} registers; function 16 writes them")
    content = (b"\xff\x00" if _bit(value, "value") else b"\x00\x00") if func == 5 else _register(fields, value, "value")
    return bytes([func]) + _address(fields, 1) + content


def _write_many(fields: Fields) -> bytes:
    func = fields.func
    size = _width(fields, func == 16)
    _refuse_others(fields, ("addr", "values"))
    values = _need(fields, "values")
    most = 1968 if func == 15 else 123 // size
    if not 1 <= len(values) <= most:
        raise BadField(f"values: must be a list of 1..{most} items for function {func}{_of_type(fields)}")
    if func == 15:
        content = bytearray((len(values) + 7) // 8)
        for index, value in enumerate(values):
            if _bit(value, f"values[{index}]"):
                content[index // 8] |= 1 << index % 8
    else:
        content = bytearray()
        for index, value in enumerate(values):
            content += _register(fields, value, f"values[{index}]")
    count = len(values) * size
    return bytes([func]) + _address(fields, count) + bytes([count >> 8, count & 0xFF, len(content)]) + bytes(content)
