"""CIDR arithmetic, against Python's own."""

import ipaddress
import random

import pytest

from hal.ip_addresses import contains, is_ipv6, parse_address, parse_network, source_of


def test_membership_agrees_with_ipaddress():
    source = random.Random(7)
    for _ in range(3000):
        bits, kind, network_kind = (
            (32, ipaddress.IPv4Address, ipaddress.IPv4Network)
            if source.random() < 0.5
            else (128, ipaddress.IPv6Address, ipaddress.IPv6Network)
        )
        base = source.getrandbits(bits)
        prefix = source.randrange(bits + 1)
        network = network_kind((base >> (bits - prefix) << (bits - prefix), prefix))
        near = kind(base ^ source.getrandbits(bits) >> source.randrange(bits))
        assert contains(parse_network(str(network)), parse_address(str(near))) == (near in network)


def test_a_mapped_address_is_its_ipv4_address():
    assert parse_address("::ffff:192.168.1.2") == parse_address("192.168.1.2")
    assert contains(parse_network("192.168.0.0/16"), parse_address("::FFFF:192.168.1.2"))
    assert not contains(parse_network("::/0"), parse_address("192.168.1.2"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.2.3",
        "1.2.3.256",
        "1.2.3.4.5",
        "::1::",
        "1:2:3",
        "g::1",
        "a.b.c.d",
        "12345::",
        "1_0::",
        "::1.2.3",
        "1.2.3.4::",
        "::x%eth0",
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError):
        parse_address(text)


@pytest.mark.parametrize("text", ["1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/x", "::1/129", "1.2.3.4/"])
def test_what_is_no_network_is_refused(text):
    with pytest.raises(ValueError):
        parse_network(text)


@pytest.mark.parametrize(
    "text",
    ["::", "::1", "1::", "fe80::1", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:1.2.3.4", "::1.2.3.4", "64:ff9b::192.0.2.33"],
)
def test_every_way_to_write_an_ipv6_address_is_understood(text):
    assert parse_address(text) == (int(ipaddress.IPv6Address(text)), 128)
    assert is_ipv6(text)


def test_a_scope_belongs_to_no_address():
    assert parse_address("fe80::1%eth0") == parse_address("fe80::1")
    assert not is_ipv6("fe80::1%eth0")


def test_one_host_is_one_source_whichever_of_its_addresses_it_uses():
    assert source_of("2001:db8:1:2:3::4") == source_of("2001:db8:1:2::")
    assert source_of("2001:db8:1:2::1") != source_of("2001:db8:1:3::1")
    assert source_of("::ffff:192.0.2.1") == source_of("192.0.2.1")
    assert source_of("192.0.2.1") != source_of("192.0.2.2")
    assert source_of("::1") != source_of("0.0.0.0")
    assert source_of("") == ""
