"""IP networks in CIDR notation (RFC 4632, RFC 4291 section 2.3), on runtimes without the ipaddress module."""

from firmware.services.settings.forms import ipv4_number, is_ipv4


def parse_address(text: str) -> "tuple[int, int]":
    """(number, bits) of an IPv4 or IPv6 address, 32 or 128 bits; ValueError where it is none.

    An IPv4 address mapped into IPv6 (::ffff:1.2.3.4) is the IPv4 address.
    """
    if ":" not in text:
        return _ipv4(text), 32
    lower = text.lower()
    if lower[:7] == "::ffff:" and "." in lower:
        return _ipv4(text[7:]), 32
    return _ipv6(text), 128


def parse_network(text: str) -> "tuple[int, int, int]":
    """(network number, bits of the prefix, bits of an address) of CIDR text; ValueError where it is none."""
    address, slash, prefix_text = text.partition("/")
    number, bits = parse_address(address)
    if not slash:
        return number, bits, bits
    if not _is_number(prefix_text) or int(prefix_text) > bits:
        raise ValueError("bad prefix length")
    prefix = int(prefix_text)
    return number >> (bits - prefix) << (bits - prefix), prefix, bits


def contains(network: "tuple[int, int, int]", address: "tuple[int, int]") -> bool:
    """Whether an address of `parse_address` lies in a network of `parse_network`."""
    number, prefix, bits = network
    return bits == address[1] and number >> (bits - prefix) == address[0] >> (bits - prefix)


def overlap(network: "tuple[int, int, int]", other: "tuple[int, int, int]") -> bool:
    """Whether two networks of `parse_network` have an address in common."""
    wider, narrower = (network, other) if network[1] <= other[1] else (other, network)
    return contains(wider, (narrower[0], narrower[2]))


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 3 and all("0" <= digit <= "9" for digit in text)


def _ipv4(text: str) -> int:
    if not is_ipv4(text):
        raise ValueError("bad IPv4 address")
    return ipv4_number(text)


def _ipv6(text: str) -> int:
    head, gap, tail = text.partition("::")
    groups = head.split(":") if head else []
    rest = tail.split(":") if tail else []
    missing = 8 - len(groups) - len(rest)
    if missing < 1 if gap else missing != 0:
        raise ValueError("bad IPv6 address")
    number = 0
    for group in groups + ["0"] * missing + rest:
        if not 1 <= len(group) <= 4:
            raise ValueError("bad IPv6 address")
        number = number << 16 | int(group, 16)
    return number
