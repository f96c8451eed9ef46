"""The network of a machine with systemd-networkd and a kernel that has WireGuard."""

import os
import pathlib
import shutil
import socket
import time

import pytest

from firmware.services.network.interfaces import TUNNEL
from firmware.services.settings.table import default
from hal.contracts import PartError
from hal.linux.net import wireguard
from hal.linux.net.network import LinuxNetwork, ipv4_address
from tests.vm.guest.far_end import FAR, FAR_LAN, FAR_VPN, LAN, VPN, FarEnd, make_keys, tunnel_to

FILES = "/var/lib/vm-network"
LINKS = pathlib.Path("/etc/systemd/network")
NAMES = ("10-mc252-ethernet.network", "10-mc252-wgmanual.netdev", "10-mc252-wgmanual.network")
DHCP = dict(default("ethernet"), hostname="vm")
STATIC = dict(
    DHCP, dhcp=False, ip="10.0.2.77", mask="255.255.255.0", gateway="10.0.2.2", dns1="10.0.2.3", hostname="pump-house"
)
PORT = 8081
CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 10, (sys.argv[3], 0)) as sock:
    sock.sendall(b"hello")
"""


@pytest.fixture
def network(run):
    """The wired network as the firmware manages it, with links as the Debian package makes them."""
    shutil.rmtree(FILES, ignore_errors=True)
    os.mkdir(FILES)
    shutil.chown(FILES, "root", "systemd-network")
    os.chmod(FILES, 0o2750)
    for name in NAMES:
        (LINKS / name).symlink_to(f"{FILES}/{name}")
    options = {"interface": "eth0", "managed": True, "folder": FILES}
    yield LinuxNetwork(LinuxNetwork.OPTIONS.check(options), "")
    for name in NAMES:
        (LINKS / name).unlink()
    run("ip", "link", "delete", TUNNEL, check=False)
    run("networkctl", "reload")
    run("hostnamectl", "hostname", "vm")


@pytest.fixture
def far(run):
    end = FarEnd(run)
    yield end
    end.clean()


# The wired interface


async def test_an_address_comes_by_dhcp_and_goes_for_a_fixed_one(network, run, reached):
    await network.apply(DHCP, TUNNEL, None)
    await reached(lambda: network.ethernet()["ip"] == "10.0.2.15")
    state = network.ethernet()
    assert state == {"ip": "10.0.2.15", "mac": "52:54:00:12:34:56", "linkUp": True}
    await network.apply(STATIC, TUNNEL, None)
    await reached(lambda: network.ethernet()["ip"] == "10.0.2.77")
    await reached(lambda: "10.0.2.15" not in run("ip", "address", "show", "eth0"))
    await reached(lambda: "default via 10.0.2.2 dev eth0" in run("ip", "route"))
    assert "10.0.2.3" in run("networkctl", "status", "eth0", "--no-pager")
    assert os.uname().nodename == "pump-house"
    assert run("ping", "-c", "1", "-W", "5", "10.0.2.2")
    await network.apply(DHCP, TUNNEL, None)
    await reached(lambda: network.ethernet()["ip"] == "10.0.2.15")
    await reached(lambda: "10.0.2.77" not in run("ip", "address", "show", "eth0"))


async def test_a_fixed_address_is_there_again_when_networkd_starts_anew(network, run, reached):
    await network.apply(STATIC, TUNNEL, None)
    await reached(lambda: network.ethernet()["ip"] == "10.0.2.77")
    run("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd")
    run("ip", "address", "flush", "dev", "eth0")
    assert network.ethernet()["ip"] is None
    run("systemctl", "start", "systemd-networkd.socket", "systemd-networkd")
    await reached(lambda: network.ethernet()["ip"] == "10.0.2.77")


# WireGuard


async def test_the_state_of_the_vpn_is_the_kernels(far, run, reached):
    network = LinuxNetwork(LinuxNetwork.OPTIONS.check({}), "")
    absent = {"up": False, "interface": "wgtest", "ip": None, "peerHandshakeSec": None}
    assert await network.vpn("wgtest") == absent
    private, public = make_keys()
    pathlib.Path("/run/near-key").write_text(private)
    run("ip", "link", "add", "wgtest", "type", "wireguard")
    try:
        assert await network.vpn("wgtest") == absent
        assert wireguard.last_handshake("wgtest") is None
        far.expect(public)
        peer = ["peer", far.public, "endpoint", FAR_LAN + ":51820", "allowed-ips", FAR_VPN + "/32"]
        run("wg", "set", "wgtest", "private-key", "/run/near-key", *peer)
        for number in range(60):  # a long list, which the kernel tells in parts
            run("wg", "set", "wgtest", "peer", make_keys()[1], "allowed-ips", f"10.9.{number}.0/24")
        run("ip", "address", "add", VPN + "/24", "dev", "wgtest")
        run("ip", "link", "set", "wgtest", "up")
        assert await network.vpn("wgtest") == dict(absent, up=True, ip=VPN)
        run("ping", "-c", "1", "-W", "10", FAR_VPN)
        state = await network.vpn("wgtest")
        assert 0 <= state["peerHandshakeSec"] < 10
        told = max(int(line.split()[1]) for line in run("wg", "show", "wgtest", "latest-handshakes").splitlines())
        assert int(wireguard.last_handshake("wgtest")) == told
        time.sleep(2)
        assert (await network.vpn("wgtest"))["peerHandshakeSec"] >= state["peerHandshakeSec"] + 1
    finally:
        run("ip", "link", "delete", "wgtest")
    assert await network.vpn("wgtest") == absent


async def test_an_interface_that_is_no_wireguard_has_no_handshake(run):
    assert (await LinuxNetwork(LinuxNetwork.OPTIONS.check({}), "").vpn("lo"))["peerHandshakeSec"] is None


def test_a_process_without_rights_sees_the_interface_but_not_its_handshake(as_nobody, run):
    run("ip", "link", "add", "wgtest", "type", "wireguard")
    try:
        run("ip", "link", "set", "wgtest", "up")
        code = (
            "import asyncio; from hal.linux.net.network import LinuxNetwork;"
            "print(asyncio.run(LinuxNetwork(LinuxNetwork.OPTIONS.check({}), '').vpn('wgtest')))"
        )
        seen = "{'up': True, 'interface': 'wgtest', 'ip': None, 'peerHandshakeSec': None}"
        assert as_nobody(code).strip() == seen
    finally:
        run("ip", "link", "delete", "wgtest")


async def test_the_tunnel_of_the_settings_comes_changes_and_goes(network, far, run, reached):
    private, public = make_keys()
    preshared = run("wg", "genpsk").strip()
    far.expect(public, preshared)
    changes = []
    network.on_change = lambda: changes.append(network.interface_index(TUNNEL))
    await network.start()
    await network.apply(DHCP, TUNNEL, tunnel_to(far.public, private, presharedKey=preshared))
    await reached(lambda: run("wg", "show", TUNNEL, "latest-handshakes", check=False).split()[1:] not in ([], ["0"]))
    await reached(lambda: ipv4_address(TUNNEL) == VPN)
    state = await network.vpn(TUNNEL)
    assert (state["up"], state["ip"]) == (True, VPN)
    assert 0 <= state["peerHandshakeSec"] < 10
    run("ping", "-c", "1", "-W", "10", FAR_VPN)
    await reached(lambda: any(changes))
    index = network.interface_index(TUNNEL)

    changed = tunnel_to(far.public, private, presharedKey=preshared, allowedIps=["10.8.0.0/24", "10.7.0.0/16"])
    await network.apply(DHCP, TUNNEL, changed)
    await reached(lambda: "10.7.0.0/16" in run("wg", "show", TUNNEL, "allowed-ips", check=False))
    assert network.interface_index(TUNNEL) != index
    await reached(lambda: f"dev {TUNNEL}" in run("ip", "route", "get", "10.7.1.1", check=False))
    run("ping", "-c", "1", "-W", "10", FAR_VPN)

    index = network.interface_index(TUNNEL)
    await network.apply(DHCP, TUNNEL, changed)
    assert network.interface_index(TUNNEL) == index, "what has not changed is left alone"

    await network.apply(DHCP, TUNNEL, None)
    await reached(lambda: network.interface_index(TUNNEL) is None)
    await reached(lambda: not changes[-1])
    await network.stop()


async def test_a_tunnel_to_everywhere_takes_neither_the_lan_nor_its_own_packets(network, far, run, reached):
    private, public = make_keys()
    far.expect(public)
    await network.apply(DHCP, TUNNEL, tunnel_to(far.public, private, allowedIps=["0.0.0.0/0"]))
    await reached(lambda: run("wg", "show", TUNNEL, "latest-handshakes", check=False).split()[1:] not in ([], ["0"]))
    await reached(lambda: f"dev {TUNNEL}" in run("ip", "route", "get", "198.51.100.1", check=False))
    assert "dev cable" in run("ip", "route", "get", FAR_LAN)
    run("ping", "-c", "1", "-W", "10", FAR_VPN)


async def test_settings_that_networkd_cannot_be_told_are_a_clear_error(network, run):
    run("systemctl", "stop", "systemd-networkd.socket", "systemd-networkd")
    run("systemctl", "mask", "--runtime", "systemd-networkd.socket", "systemd-networkd")
    try:
        with pytest.raises(PartError, match="networkctl reload: "):
            await network.apply(STATIC, TUNNEL, None)
    finally:
        run("systemctl", "unmask", "--runtime", "systemd-networkd.socket", "systemd-networkd")
        run("systemctl", "start", "systemd-networkd.socket", "systemd-networkd")


async def test_what_arrives_over_wireguard_and_only_that_reaches_the_vpn_listener(network, far, run, reached):
    private, public = make_keys()
    far.expect(public)
    await network.apply(DHCP, TUNNEL, tunnel_to(far.public, private))
    await reached(lambda: ipv4_address(TUNNEL) == VPN)
    await reached(lambda: run("wg", "show", TUNNEL, "latest-handshakes", check=False).split()[1:] not in ([], ["0"]))
    for_all = socket.create_server(("0.0.0.0", PORT))
    for_all.setblocking(False)
    for_vpn = network.listen_on(TUNNEL, PORT, [for_all])
    try:
        far.python(CALL, VPN, str(PORT), FAR_VPN)
        for_vpn.accept()[0].close()
        far.python(CALL, LAN, str(PORT), FAR_LAN)
        for_all.accept()[0].close()
        far.ip("-n", FAR, "address", "add", "10.8.0.9/32", "dev", "lo")  # a forged address, over the cable
        run("ip", "route", "add", "10.8.0.9/32", "via", FAR_LAN)
        far.python(CALL, LAN, str(PORT), "10.8.0.9")
        for_all.accept()[0].close()
        with pytest.raises(BlockingIOError):
            for_vpn.accept()
    finally:
        run("ip", "route", "delete", "10.8.0.9/32", check=False)
        for_all.close()
        for_vpn.close()
