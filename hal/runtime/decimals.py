"""Decimal numbers by integers alone: a board's float has 24 bits, too few for 123456789 times 0.01."""

_PLAIN_DIGITS = 16  # before the point, of a float that is written without an exponent
_WHOLE_DIGITS = 20  # of an integer of 64 bits
_PLAIN_ZEROS = 4  # behind the point
_FORMATS = {4: (23, 0xFF, 127), 8: (52, 0x7FF, 1023)}  # bytes -> bits of the fraction, the exponent's mask and bias


class Decimal:
    """A number as its decimal text, which is JSON as well; equal to the float that it means."""

    def __init__(self, text: str):
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __float__(self) -> float:
        return float(self.text)

    def __eq__(self, other: object) -> bool:
        return float(self.text) == (float(other.text) if isinstance(other, Decimal) else other)

    def __hash__(self) -> int:
        return hash(float(self.text))


def as_number(value: "int | Decimal") -> int | float:
    """What can be compared with other numbers."""
    return float(value.text) if isinstance(value, Decimal) else value


def product(text: str, other: str, whole: bool) -> int | Decimal:
    """The product of two decimal texts, exactly: an int if it may be `whole` and no digit stands behind the point."""
    number, places = _split(text)
    factor, more = _split(other)
    number *= factor
    places += more
    if whole and places <= 0:
        return int(number * 10**-places)
    return Decimal(_text(number, places, _WHOLE_DIGITS if whole else _PLAIN_DIGITS))


def ieee_text(raw: bytes) -> str | None:
    """The shortest decimal text that means the float of these 4 or 8 bytes (IEEE 754, the highest first) and no other;
    None for what is no number."""
    fraction_bits, mask, bias = _FORMATS[len(raw)]
    bits = int.from_bytes(raw, "big")
    exponent = bits >> fraction_bits & mask
    fraction = bits & (1 << fraction_bits) - 1
    if exponent == mask:
        return None
    sign = "-" if raw[0] & 0x80 else ""
    if exponent == 0 and fraction == 0:
        return sign + "0.0"
    below = 1 if fraction == 0 and exponent > 1 else 2  # a power of two is nearer to the float below it
    mantissa = fraction | (1 << fraction_bits if exponent else 0)
    digits, tens = _shortest(mantissa, max(exponent, 1) - bias - fraction_bits - 2, below)
    return sign + _text(digits, -tens)


def _shortest(mantissa: int, exponent: int, below: int) -> tuple[int, int]:
    """(number, power of ten) with the fewest digits that lies nearer to mantissa * 4 * 2**exponent than its neighbours;
    `below` is half the way to the one below, in 2**exponent."""
    value, low, high, unit = 4 * mantissa, 4 * mantissa - below, 4 * mantissa + 2, 1
    if exponent >= 0:
        value, low, high = value << exponent, low << exponent, high << exponent
    else:
        unit = 1 << -exponent
    even = mantissa % 2 == 0
    tens = _magnitude(value, unit)
    while True:
        tens -= 1
        up, down = (10**tens, 1) if tens >= 0 else (1, 10**-tens)
        step = unit * up
        number, rest = divmod(value * down, step)
        up_first = 2 * rest > step or (2 * rest == step and number % 2 == 1)  # in the middle: the even one
        for candidate in (number + 1, number) if up_first else (number, number + 1):
            scaled = candidate * step
            if low * down < scaled < high * down or (even and scaled in (low * down, high * down)):
                return candidate, tens


def _magnitude(value: int, unit: int) -> int:
    """The power of ten above value / unit."""
    if value >= unit:
        return len(str(value // unit))
    tens = 0
    while value * 10 < unit:
        value *= 10
        tens -= 1
    return tens


def _text(number: int, places: int, most: int = _PLAIN_DIGITS) -> str:
    """number / 10**places as Python writes a float; with an exponent where more than `most` digits stand before the
    point."""
    digits = str(abs(number))
    kept = len(digits.rstrip("0")) or 1
    places -= len(digits) - kept
    digits = digits[:kept]
    sign = "-" if number < 0 else ""
    point = kept - places  # how many digits stand before the point
    if number and not -_PLAIN_ZEROS < point <= most:
        power = point - 1
        mantissa = digits[0] + ("." + digits[1:] if kept > 1 else "")
        return f"{sign}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
    if places <= 0:
        return sign + digits + "0" * -places + ".0"
    digits = "0" * (1 - point) + digits
    return sign + digits[:-places] + "." + digits[-places:]


def _split(text: str) -> tuple[int, int]:
    """A decimal text as (whole number, how many of its digits stand behind the point; less than 0: zeros to add)."""
    mantissa, _, exponent = text.partition("e")
    whole, _, fraction = mantissa.partition(".")
    return int(whole + fraction), len(fraction) - (int(exponent) if exponent else 0)
