"""The VPN listener, with the device, its LAN and its VPN in network namespaces of their own.

A pair of TUN devices, between which a program carries the packets, stands for the VPN where the kernel's rules are
looked at; the last tests run WireGuard itself, by wireguard-go, because not every kernel has it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parents[3]
BOARD = json.loads((ROOT / "board-configs" / "simulated.json").read_text())
DEVICE_VPN, PEER_VPN = "10.8.0.1", "10.8.0.2"
DEVICE_LAN, PEER_LAN = "192.0.2.1", "192.0.2.2"
FORGED = "10.8.0.9"  # an address of the VPN that somebody on the LAN pretends to have

ASK = """
import http.client, sys
source = (sys.argv[2], 0) if sys.argv[2] else None
connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=float(sys.argv[3]), source_address=source)
connection.request("GET", "/api/state/get/?access&vpn")
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""

CARRY = """
import contextlib, ctypes, fcntl, os, select, struct, sys
libc = ctypes.CDLL(None)
tunnels = []
for namespace in sys.argv[1:]:
    assert libc.setns(os.open("/run/netns/" + namespace, os.O_RDONLY), 0x40000000) == 0
    tunnels.append(os.open("/dev/net/tun", os.O_RDWR))
    fcntl.ioctl(tunnels[-1], 0x400454CA, struct.pack("16sH22x", b"wg0", 0x1001))
print("ready", flush=True)
while True:
    for tunnel in select.select(tunnels, [], [])[0]:
        packet = os.read(tunnel, 65536)
        with contextlib.suppress(OSError):  # that end is not up yet
            os.write(tunnels[1 - tunnels.index(tunnel)], packet)
"""


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


def can_make_namespaces():
    name = f"mc252-try{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True) if shutil.which("ip") else None
    if made is None or made.returncode != 0:
        return False
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return True


pytestmark = pytest.mark.skipif(not can_make_namespaces(), reason="no network namespaces can be made here")


class Site:
    """A device and a peer, each in a namespace of its own, with a LAN between them."""

    def __init__(self, tmp_path):
        self.tmp_path = tmp_path
        self.device = f"mc252-device{os.getpid()}"
        self.peer = f"mc252-peer{os.getpid()}"
        self.log = tmp_path / "log"
        self.programs = []
        for name in (self.device, self.peer):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        self.cable("lan", DEVICE_LAN, PEER_LAN)

    def cable(self, name, device_address, peer_address):
        """A pair of interfaces of one name, one in each namespace."""
        ip("-n", self.device, "link", "add", name, "type", "veth", "peer", "name", name, "netns", self.peer)
        for namespace, address in ((self.device, device_address), (self.peer, peer_address)):
            ip("-n", namespace, "address", "add", address + "/24", "dev", name)
            ip("-n", namespace, "link", "set", name, "up")

    def vpn(self):
        """A tunnel between the two, in place of the one that was there."""
        for namespace in (self.device, self.peer):
            subprocess.run(["ip", "-n", namespace, "link", "del", "wg0"], capture_output=True)
            ip("-n", namespace, "tuntap", "add", "name", "wg0", "mode", "tun")
        self.carry()

    def carry(self):
        carrier = [sys.executable, "-c", CARRY, self.device, self.peer]
        program = subprocess.Popen(carrier, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.programs.append(program)
        assert program.stdout.readline() == "ready\n"
        for namespace, address in ((self.device, DEVICE_VPN), (self.peer, PEER_VPN)):
            ip("-n", namespace, "address", "add", address + "/24", "dev", "wg0")
            ip("-n", namespace, "link", "set", "wg0", "up")

    def run_in(self, namespace, *command, **options):
        program = subprocess.Popen(["ip", "netns", "exec", namespace, *command], **options)
        self.programs.append(program)
        return program

    def start_device(self, **settings):
        board = dict(BOARD, settings={"wgCloud": {"enabled": True, "interface": "wg0"}, **settings})
        path = self.tmp_path / "board.json"
        path.write_text(json.dumps(board))
        with open(self.log, "w") as log:
            program = self.run_in(
                self.device,
                *(sys.executable, "-m", "firmware", "--board", str(path), "--state-dir", str(self.tmp_path / "state")),
                *("--http", "0.0.0.0:80", "--modbus-tcp", "0.0.0.0:502"),
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        program.stdout.readline()
        return program

    def ask(self, namespace, address, source="", script=ASK, timeout=10):
        """(status, answer) of a request without a token."""
        done = subprocess.run(
            ["ip", "netns", "exec", namespace, sys.executable, "-c", script, address, source, str(timeout)],
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 0, done.stderr
        status, _, body = done.stdout.partition(" ")
        return int(status), json.loads(body)

    def level(self, namespace, address, source=""):
        """The access level that a request without a token has."""
        status, answer = self.ask(namespace, address, source)
        return answer["access"]["level"] if status == 200 else {401: 0}[status]

    def wait_for_log(self, text, count=1):
        deadline = time.monotonic() + 20
        while self.log.read_text().count(text) < count:
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def close(self):
        for program in reversed(self.programs):
            program.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.communicate(timeout=10)
        for name in (self.device, self.peer):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.fixture
def site(tmp_path):
    site = Site(tmp_path)
    yield site
    site.close()


def test_who_comes_over_the_vpn_is_the_administrator_and_nobody_else(site):
    site.vpn()
    site.start_device()
    assert site.level(site.peer, DEVICE_VPN) == 2
    assert site.level(site.peer, DEVICE_LAN) == 0
    assert site.level(site.peer, DEVICE_VPN, PEER_VPN) == 2


def test_a_vpn_address_on_the_lan_side_is_a_guest(site):
    site.vpn()
    ip("-n", site.peer, "address", "add", FORGED + "/32", "dev", "lo")
    ip("-n", site.peer, "route", "add", DEVICE_VPN + "/32", "dev", "lan", "src", FORGED)
    ip("-n", site.device, "route", "add", FORGED + "/32", "dev", "lan")
    site.start_device()
    assert site.level(site.peer, DEVICE_LAN, FORGED) == 0
    assert site.level(site.peer, DEVICE_VPN, FORGED) == 0  # to the address of the VPN, but not over it


def test_a_process_on_the_device_itself_is_a_guest(site):
    site.vpn()
    site.start_device()
    assert site.level(site.device, DEVICE_VPN) == 0
    assert site.level(site.device, DEVICE_VPN, DEVICE_VPN) == 0
    for source in (DEVICE_LAN, "127.0.0.1"):  # the kernel takes these too, and loses its answers
        with pytest.raises(AssertionError, match="timed out"):
            site.ask(site.device, DEVICE_VPN, source, timeout=0.5)


def test_the_listener_comes_and_goes_with_the_interface(site):
    site.start_device()
    for count in (1, 2):
        site.vpn()
        site.wait_for_log("VPN: listening on wg0\n", count)
        assert site.level(site.peer, DEVICE_VPN) == 2
        ip("-n", site.device, "link", "del", "wg0")
        site.wait_for_log("VPN: listening on wg0 no more", count)
    assert site.level(site.peer, DEVICE_LAN) == 0


def test_an_interface_made_anew_in_a_moment_is_listened_on(site):
    site.vpn()
    site.start_device()
    batch = site.tmp_path / "batch"
    batch.write_text("link del wg0\ntuntap add name wg0 mode tun\n")
    for namespace in (site.device, site.peer):
        ip("-n", namespace, "-batch", str(batch))
    site.carry()
    site.wait_for_log("VPN: listening on wg0\n", 2)
    assert site.level(site.peer, DEVICE_VPN) == 2


def test_a_second_server_on_the_port_is_refused_as_ever(site):
    site.vpn()
    site.start_device()
    script = "import socket; socket.create_server(('0.0.0.0', 80), reuse_port=False)"
    second = ["ip", "netns", "exec", site.device, sys.executable, "-c", script]
    assert "Address already in use" in subprocess.run(second, capture_output=True, text=True).stderr


def test_what_is_no_tunnel_makes_nobody_the_administrator(site):
    """A cable by the name of the tunnel, while nothing says which interface the wired network is."""
    site.cable("wg0", DEVICE_VPN, PEER_VPN)
    site.start_device()
    assert site.level(site.peer, DEVICE_VPN) == 0
    site.wait_for_log("VPN: cannot listen on wg0: [Errno 22] wg0 is no tunnel")


def test_a_tunnel_that_gives_way_to_a_cable_makes_nobody_the_administrator(site):
    site.vpn()
    site.start_device()
    assert site.level(site.peer, DEVICE_VPN) == 2
    batch = site.tmp_path / "batch"
    batch.write_text(f"link del wg0\nlink add wg0 type veth peer name cable netns {site.peer}\n")
    ip("-n", site.device, "-batch", str(batch))
    ip("-n", site.peer, "link", "del", "wg0")
    for namespace, name, address in ((site.device, "wg0", DEVICE_VPN), (site.peer, "cable", PEER_VPN)):
        ip("-n", namespace, "address", "add", address + "/24", "dev", name)
        ip("-n", namespace, "link", "set", name, "up")
    assert site.level(site.peer, DEVICE_VPN) == 0


def test_an_interface_that_is_no_tunnel_cannot_be_set(site):
    site.vpn()
    site.start_device()
    script = """
import http.client, json, sys
connection = http.client.HTTPConnection(sys.argv[1], 80, timeout=10)
body = json.dumps({"wgCloud": {"interface": "lan"}})
connection.request("POST", "/api/settings/saved/set/", body, {"Content-Type": "application/json"})
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""
    status, answer = site.ask(site.peer, DEVICE_VPN, script=script)
    assert (status, answer["error"]) == (400, "BAD_FIELD")
    assert answer["message"].startswith("wgCloud.interface: lan is no tunnel")
    status, answer = site.ask(site.peer, DEVICE_VPN, script=script.replace('"lan"', '"wg-to-come"'))
    assert (status, answer) == (200, {})


def test_without_the_setting_the_vpn_is_a_network_like_others(site):
    site.vpn()
    site.start_device(wgCloud={"enabled": False})
    assert site.level(site.peer, DEVICE_VPN) == 0


def test_a_page_in_a_browser_behind_the_vpn_cannot_use_it(site):
    site.vpn()
    site.start_device()
    script = ASK.replace('/?access&vpn"', '/?access&vpn", headers={"Host": "evil.example"}')
    status, answer = site.ask(site.peer, DEVICE_VPN, script=script)
    assert (status, answer["error"]) == (403, "CROSS_SITE")


@pytest.mark.skipif(
    not (shutil.which("wireguard-go") and shutil.which("wg") and os.path.exists("/dev/net/tun")),
    reason="wireguard-go, wg or /dev/net/tun is missing",
)
def test_over_wireguard_the_administrator_comes_in_and_the_handshake_is_told(site):
    ends = ((site.device, DEVICE_VPN, "wg0"), (site.peer, PEER_VPN, "wgpeer"))
    keys = {namespace: wireguard_keys() for namespace, _, _ in ends}
    try:
        for namespace, address, name in ends:
            site.run_in(namespace, "wireguard-go", "-f", name, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until_exists(pathlib.Path(f"/var/run/wireguard/{name}.sock"))
            ip("-n", namespace, "address", "add", address + "/24", "dev", name)
            ip("-n", namespace, "link", "set", name, "up")
        site.start_device()
        assert site.level(site.device, DEVICE_LAN) == 0
        set_peer(site, site.device, "wg0", keys[site.device][0], keys[site.peer][1], PEER_VPN, PEER_LAN)
        set_peer(site, site.peer, "wgpeer", keys[site.peer][0], keys[site.device][1], DEVICE_VPN, DEVICE_LAN)
        status, answer = site.ask(site.peer, DEVICE_VPN)
        assert status == 200 and answer["access"]["level"] == 2
        assert (answer["vpn"]["up"], answer["vpn"]["interface"], answer["vpn"]["ip"]) == (True, "wg0", DEVICE_VPN)
        assert 0 <= answer["vpn"]["peerHandshakeSec"] < 60
    finally:
        site.close()


def wireguard_keys():
    """(private, public), Base64."""
    private = subprocess.run(["wg", "genkey"], capture_output=True, text=True, check=True).stdout.strip()
    public = subprocess.run(["wg", "pubkey"], input=private, capture_output=True, text=True, check=True).stdout.strip()
    return private, public


def set_peer(site, namespace, name, private, public, address, endpoint):
    path = site.tmp_path / (name + ".conf")
    path.write_text(
        f"[Interface]\nPrivateKey = {private}\nListenPort = 51820\n"
        f"[Peer]\nPublicKey = {public}\nAllowedIPs = {address}/32\nEndpoint = {endpoint}:51820\n"
    )
    ip("netns", "exec", namespace, "wg", "setconf", name, str(path))


def until_exists(path):
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
