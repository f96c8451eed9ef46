"""IP addresses and networks (RFC 4291 section 2.2, CIDR of RFC 4632), on runtimes without the ipaddress module."""

_HEX = "0123456789abcdefABCDEF"


def is_ipv4(text: str) -> bool:
    """Whether a text is an IPv4 address as four decimal numbers without leading zeros."""
    parts = text.split(".")
    return len(parts) == 4 and all(is_decimal(part, 255) for part in parts)


def is_ipv6(text: str) -> bool:
    """Whether a text is an IPv6 address, without a scope (RFC 4007)."""
    try:
        return ":" in text and "%" not in text and _ipv6(text) >= 0
    except ValueError:
        return False


def ipv4_number(text: str) -> int:
    """The 32 bits of an IPv4 address, first number highest."""
    number = 0
    for part in text.split("."):
        number = number << 8 | int(part)
    return number


def is_decimal(text: str, high: int) -> bool:
    """Whether a text is a decimal number up to `high`, at most five digits, without leading zeros."""
    if not 1 <= len(text) <= 5 or not all("0" <= digit <= "9" for digit in text):
        return False
    return (text == "0" or text[0] != "0") and int(text) <= high


def parse_address(text: str) -> tuple[int, int]:
    """(number, bits) of an IPv4 or IPv6 address, 32 or 128 bits; ValueError where it is none.

    An IPv4 address mapped into IPv6 (::ffff:1.2.3.4) is the IPv4 address. A scope (fe80::1%eth0) is passed over.
    """
    if ":" not in text:
        return _ipv4(text), 32
    number = _ipv6(text.split("%")[0])
    return (number & 0xFFFFFFFF, 32) if number >> 32 == 0xFFFF else (number, 128)


def parse_network(text: str) -> tuple[int, int, int]:
    """(network number, bits of the prefix, bits of an address) of CIDR text; ValueError where it is none."""
    address, slash, prefix_text = text.partition("/")
    number, bits = parse_address(address)
    if not slash:
        return number, bits, bits
    if not is_decimal(prefix_text, bits):
        raise ValueError("bad prefix length")
    prefix = int(prefix_text)
    return number >> (bits - prefix) << (bits - prefix), prefix, bits


def contains(network: tuple[int, int, int], address: tuple[int, int]) -> bool:
    """Whether an address of `parse_address` lies in a network of `parse_network`."""
    number, prefix, bits = network
    return bits == address[1] and number >> (bits - prefix) == address[0] >> (bits - prefix)


def lies_in(address: str, networks: list) -> bool:
    """Whether an address as text lies in one of several networks as parse_network gives them; what is none does not."""
    try:
        parsed = parse_address(address)
    except ValueError:
        return False
    return any(contains(network, parsed) for network in networks)


def overlap(network: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two networks of `parse_network` have an address in common."""
    wider, narrower = (network, other) if network[1] <= other[1] else (other, network)
    return contains(wider, (narrower[0], narrower[2]))


def is_local(address: tuple[int, int]) -> bool:
    """Whether an address of `parse_address` means this machine or only its link: loopback or unspecified (RFC 1122
    section 3.2.1.3, RFC 4291 section 2.5), or link-local (RFC 3927, RFC 4291 section 2.5.6)."""
    number, bits = address
    if bits == 32:
        return number >> 24 in (0, 127) or number >> 16 == 0xA9FE
    return number in (0, 1) or number >> 118 == 0xFE80 >> 6


def source_of(address: str) -> int | str:
    """What is counted together as one client: an IPv4 address, or the /64 of an IPv6 one, which one host has whole.

    The text itself where it is no address.
    """
    try:
        number, bits = parse_address(address)
    except ValueError:
        return address
    return number if bits == 32 else number >> 64 | 1 << 64


def _ipv4(text: str) -> int:
    if not is_ipv4(text):
        raise ValueError("bad IPv4 address")
    return ipv4_number(text)


def _ipv6(text: str) -> int:
    head, gap, tail = text.partition("::")
    groups = _groups(head, not gap)
    rest = _groups(tail, True)
    missing = 8 - len(groups) - len(rest)
    if missing < 1 if gap else missing != 0:
        raise ValueError("bad IPv6 address")
    number = 0
    for group in groups + [0] * missing + rest:
        number = number << 16 | group
    return number


def _groups(text: str, last: bool) -> list[int]:
    """The 16-bit groups of a part of an IPv6 address; the `last` part may end in an IPv4 address, which is two."""
    groups = []
    words = text.split(":") if text else []
    if words and last and "." in words[-1]:
        number = _ipv4(words.pop())
        groups = [number >> 16, number & 0xFFFF]
    for word in words:
        if not 1 <= len(word) <= 4 or not all(digit in _HEX for digit in word):
            raise ValueError("bad IPv6 address")
    return [int(word, 16) for word in words] + groups
