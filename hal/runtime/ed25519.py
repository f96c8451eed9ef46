"""Verifying Ed25519 signatures (RFC 8032 section 5.1.7) with integers alone, for runtimes that have no library for it.

Verifying handles nothing secret, so it need not take a constant time. A signature takes seconds on a microcontroller.
"""

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493  # order of the base point
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)  # of minus one


def verifies(key: bytes, signature: bytes, data: bytes) -> bool:
    """Whether a signature of 64 bytes is over the data and of the public key of 32 bytes."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r = _point(key), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L:
        return False
    h = int.from_bytes(sha512(signature[:32] + key + data), "little") % _L
    return _same(_sum(s, _BASE, h, (_P - a[0], a[1], 1, _P - a[3])), r)


def _x_of(y: int, sign: int) -> int | None:
    """The x that goes with a y (section 5.1.3), None where there is none."""
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    if square == 0:
        return None if sign else 0
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P:
        return None
    return _P - x if x & 1 != sign else x


def _point(data: bytes) -> tuple[int, int, int, int] | None:
    """A point in extended coordinates (section 5.1.4) from its 32 bytes."""
    number = int.from_bytes(data, "little")
    y = number & (1 << 255) - 1
    x = _x_of(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % _P)


def _add(p: tuple, q: tuple) -> tuple:
    """The sum of two points (section 5.1.4)."""
    a = (p[1] - p[0]) * (q[1] - q[0]) % _P
    b = (p[1] + p[0]) * (q[1] + q[0]) % _P
    c = 2 * p[3] * q[3] * _D % _P
    d = 2 * p[2] * q[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _double(p: tuple) -> tuple:
    """Twice a point (section 5.1.4)."""
    a, b, c = p[0] * p[0] % _P, p[1] * p[1] % _P, p[0] + p[1]
    h = a + b
    e, g = h - c * c % _P, a - b
    f = 2 * (p[2] * p[2] % _P) + g
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _sum(m: int, p: tuple, n: int, q: tuple) -> tuple:
    """m * p + n * q, both at once: it is doubled for both together."""
    points = (p, q, _add(p, q))
    total = (0, 1, 1, 0)
    for bit in range(252, -1, -1):  # of numbers up to the order
        total = _double(total)
        which = m >> bit & 1 | (n >> bit & 1) << 1
        if which:
            total = _add(total, points[which - 1])
    return total


def _same(p: tuple, q: tuple) -> bool:
    return (p[0] * q[2] - q[0] * p[2]) % _P == 0 and (p[1] * q[2] - q[1] * p[2]) % _P == 0


_Y = 4 * pow(5, _P - 2, _P) % _P
_X = _x_of(_Y, 0) or 0
_BASE = (_X, _Y, 1, _X * _Y % _P)


# SHA-512 (FIPS 180-4), whose constants are the fractions of roots of the first primes.

_WORD = (1 << 64) - 1


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _root(number: int, degree: int) -> int:
    """The whole part of a root that is below 2**72."""
    low, high = 0, 1 << 72
    while low < high:
        middle = (low + high + 1) // 2
        if middle**degree <= number:
            low = middle
        else:
            high = middle - 1
    return low


_K = [_root(prime << 192, 3) & _WORD for prime in _primes(80)]
_H = [_root(prime << 128, 2) & _WORD for prime in _primes(8)]


def _turn(word: int, by: int) -> int:
    return (word >> by | word << (64 - by)) & _WORD


def sha512(data: bytes) -> bytes:
    """SHA-512 digest."""
    length = len(data) * 8
    data = data + b"\x80" + bytes((111 - len(data)) % 128) + length.to_bytes(16, "big")
    state = list(_H)
    for begin in range(0, len(data), 128):
        _take_block(state, data[begin : begin + 128])
    return b"".join(word.to_bytes(8, "big") for word in state)


def _take_block(state: list[int], block: bytes) -> None:
    words = [int.from_bytes(block[index : index + 8], "big") for index in range(0, 128, 8)]
    for index in range(16, 80):
        before, last = words[index - 15], words[index - 2]
        small = _turn(before, 1) ^ _turn(before, 8) ^ before >> 7
        large = _turn(last, 19) ^ _turn(last, 61) ^ last >> 6
        words.append((words[index - 16] + small + words[index - 7] + large) & _WORD)
    a, b, c, d, e, f, g, h = state
    for index in range(80):
        one = _turn(e, 14) ^ _turn(e, 18) ^ _turn(e, 41)
        first = h + one + (e & f ^ ~e & g) + _K[index] + words[index]
        zero = _turn(a, 28) ^ _turn(a, 34) ^ _turn(a, 39)
        second = zero + (a & b ^ a & c ^ b & c)
        h, g, f, e, d, c, b, a = g, f, e, (d + first) & _WORD, c, b, a, (first + second) & _WORD
    for index, word in enumerate((a, b, c, d, e, f, g, h)):
        state[index] = (state[index] + word) & _WORD
