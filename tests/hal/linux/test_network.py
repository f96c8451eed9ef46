"""The wired network and the VPN of a Linux board: netlink in a namespace, files read by systemd-networkd itself."""

import asyncio
import errno
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import sys
import time

import pytest

from firmware.services.network import interfaces as networking
from firmware.services.network.interfaces import TUNNEL, Networking
from firmware.services.problems import Problems
from firmware.services.settings.table import default
from firmware.services.system.absent import NoNetworking
from hal.contracts import PartError
from hal.linux.net import netlink, networkd, wireguard
from hal.linux.net.network import LinuxNetwork
from hal.linux.net.networkd import Networkd, ethernet_file, netdev_file, tunnel_file

ROOT = pathlib.Path(__file__).parents[3]
NETWORKD = "/lib/systemd/systemd-networkd"
KEY_A, KEY_B, KEY_C = ("A" * 42 + letter + "=" for letter in "AEI")

DHCP = default("ethernet")
STATIC = dict(DHCP, dhcp=False, ip="192.0.2.5", mask="255.255.254.0", gateway="192.0.3.1", dns1="192.0.2.53")
WG = {
    "enabled": True,
    "privateKey": KEY_A,
    "address": "10.8.0.2/24",
    "peerPublicKey": KEY_B,
    "presharedKey": None,
    "endpoint": "vpn.example.com:51820",
    "allowedIps": ["10.8.0.0/24", "0.0.0.0/0"],
    "keepAliveSec": 25,
}


def sections(text):
    """[(section, [lines])] of a file of systemd's."""
    found = []
    for line in text.splitlines():
        if line.startswith("["):
            found.append((line[1:-1], []))
        elif line and not line.startswith("#"):
            found[-1][1].append(line)
    return found


def test_dhcp_goes_by_the_networks_name_servers_unless_some_are_set():
    assert sections(ethernet_file("eth0", DHCP)) == [
        ("Match", ["Name=eth0"]),
        ("Network", ["DHCP=ipv4"]),
        ("DHCPv4", ["Hostname=mc252", "UseDNS=yes"]),
    ]
    own = ethernet_file("eth0", dict(DHCP, dns1="192.0.2.53", dns2="192.0.2.54"))
    assert sections(own)[1:] == [
        ("Network", ["DHCP=ipv4", "DNS=192.0.2.53", "DNS=192.0.2.54"]),
        ("DHCPv4", ["Hostname=mc252", "UseDNS=no"]),
    ]


def test_a_static_address_has_the_prefix_of_its_mask():
    assert sections(ethernet_file("eth0", STATIC))[1:] == [
        ("Network", ["Address=192.0.2.5/23", "Gateway=192.0.3.1", "DNS=192.0.2.53"])
    ]


def test_a_tunnel_has_a_file_for_its_keys_and_one_for_its_address():
    netdev = dict(sections(netdev_file("wgmanual", dict(WG, presharedKey=KEY_C))))
    assert netdev["NetDev"] == ["Name=wgmanual", "Kind=wireguard"]
    assert f"PrivateKey={KEY_A}" in netdev["WireGuard"]
    assert netdev["WireGuardPeer"] == [
        f"PublicKey={KEY_B}",
        f"PresharedKey={KEY_C}",
        "Endpoint=vpn.example.com:51820",
        "AllowedIPs=10.8.0.0/24,0.0.0.0/0",
        "PersistentKeepalive=25",
    ]
    assert KEY_A not in tunnel_file("wgmanual", WG)
    without = netdev_file("wgmanual", dict(WG, keepAliveSec=0))
    assert "PresharedKey" not in without and "PersistentKeepalive=off" in without


class Systemd:
    """Records the commands for systemd; a link that is deleted is recorded too."""

    def __init__(self, monkeypatch):
        self.did = []
        self.failure = None
        monkeypatch.setattr(subprocess, "run", self._run)
        monkeypatch.setattr(networkd, "delete_link", lambda name: self.did.append(f"delete {name}"))
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "mc252", "", "", "")))

    def _run(self, command, **options):
        self.did.append(" ".join(word for word in command if word != "--no-ask-password"))
        if isinstance(self.failure, Exception):
            raise self.failure
        return subprocess.CompletedProcess(command, 1 if self.failure else 0, "", self.failure or "")

    def take(self):
        did, self.did = self.did, []
        return did


@pytest.fixture
def systemd(monkeypatch):
    return Systemd(monkeypatch)


def test_networkd_is_told_once_of_what_has_changed(tmp_path, systemd):
    files = Networkd(str(tmp_path))
    files.apply("eth0", DHCP, "wgmanual", None)
    assert systemd.take() == ["networkctl reload"]
    files.apply("eth0", DHCP, "wgmanual", None)
    assert systemd.take() == []
    files.apply("eth0", STATIC, "wgmanual", None)
    assert systemd.take() == ["networkctl reload"]
    assert sorted(os.listdir(tmp_path)) == ["10-mc252-ethernet.network"]


def test_a_tunnel_that_has_changed_is_made_anew_and_goes_when_it_is_not_wanted(tmp_path, systemd):
    files = Networkd(str(tmp_path))
    files.apply("eth0", DHCP, "wgmanual", WG)
    systemd.take()
    files.apply("eth0", DHCP, "wgmanual", dict(WG, endpoint="192.0.2.9:51820"))
    assert systemd.take() == ["delete wgmanual", "networkctl reload"]
    assert "192.0.2.9" in (tmp_path / "10-mc252-wgmanual.netdev").read_text()
    files.apply("eth0", DHCP, "wgmanual", None)
    assert systemd.take() == ["delete wgmanual", "networkctl reload"]
    assert sorted(os.listdir(tmp_path)) == ["10-mc252-ethernet.network"]


def test_the_private_key_is_for_networkds_group_alone(tmp_path, systemd):
    os.chown(tmp_path, -1, 4242)
    os.chmod(tmp_path, 0o2750)  # as deploy/ makes the folder
    Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
    status = os.stat(tmp_path / "10-mc252-wgmanual.netdev")
    assert (stat.S_IMODE(status.st_mode), status.st_gid) == (0o640, 4242)


def test_the_machine_gets_the_name_of_the_settings(tmp_path, systemd):
    files = Networkd(str(tmp_path))
    files.apply("eth0", dict(DHCP, hostname="pump-house"), "wgmanual", None)
    assert systemd.take() == ["networkctl reload", "hostnamectl hostname pump-house"]


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("Failed to reload network settings: Access denied\n", "networkctl reload: Failed to reload.*Access denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "networkctl reload: No such file"),
        (subprocess.TimeoutExpired("networkctl", 10), "networkctl reload: systemd does not answer"),
    ],
)
def test_a_systemd_that_does_not_take_them_is_told(tmp_path, systemd, failure, told):
    systemd.failure = failure
    with pytest.raises(PartError, match=told):
        Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", None)


def test_what_networkd_could_not_be_told_it_is_told_later_after_a_restart_too(tmp_path, systemd):
    systemd.failure = "Access denied"
    for _ in range(2):
        with pytest.raises(PartError, match="networkctl reload: Access denied"):
            Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
    systemd.failure = None
    systemd.take()
    Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
    assert systemd.take() == ["networkctl reload"]
    Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
    assert systemd.take() == []


def test_a_power_cut_between_the_files_and_the_word_to_networkd_forgets_nothing(tmp_path, systemd, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(networkd, "_tell", lambda *words: pytest.fail("power cut"))
        with pytest.raises(pytest.fail.Exception):
            Networkd(str(tmp_path)).apply("eth0", STATIC, "wgmanual", None)
    Networkd(str(tmp_path)).apply("eth0", STATIC, "wgmanual", None)
    assert systemd.take() == ["networkctl reload"]


def test_a_tunnel_that_may_not_be_deleted_is_told_and_tried_again(tmp_path, systemd, monkeypatch):
    def refuse(name):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(networkd, "delete_link", refuse)
        for _ in range(2):
            with pytest.raises(
                PartError, match=r"wgmanual cannot be deleted .*: Operation not permitted.*CAP_NET_ADMIN"
            ):
                Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
        assert systemd.take() == ["networkctl reload"]  # the rest is applied
    Networkd(str(tmp_path)).apply("eth0", DHCP, "wgmanual", WG)
    assert systemd.take() == ["delete wgmanual", "networkctl reload"]


def test_a_tunnel_that_is_not_there_yet_is_no_failure(tmp_path, systemd, monkeypatch):
    monkeypatch.setattr(networkd, "delete_link", netlink.delete_link)
    Networkd(str(tmp_path)).apply("eth0", DHCP, "mc252none", WG)
    assert systemd.take() == ["networkctl reload"]


def test_a_folder_that_is_not_there_is_told(tmp_path, systemd):
    with pytest.raises(PartError, match=r"cannot be written: .*/none: No such file"):
        Networkd(str(tmp_path / "none")).apply("eth0", DHCP, "wgmanual", None)


# systemd-networkd itself, in namespaces.


def as_root_with(*programs):
    missing = [name for name in programs if shutil.which(name) is None and not os.path.exists(name)]
    return pytest.mark.skipif(os.geteuid() != 0 or bool(missing), reason=f"needs root and {', '.join(programs)}")


def ip(*words):
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def namespace():
    name = f"mc252-net{os.getpid()}"
    ip("netns", "add", name)
    ip("-n", name, "link", "set", "lo", "up")
    yield name
    ip("netns", "del", name)


RUN_NETWORKD = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/netif /run/systemd/network
chown systemd-network:systemd-network /run/systemd/netif
mount -t tmpfs tmpfs /mnt
mkdir /mnt/files /mnt/links
mount --bind {files} /mnt/files
for name in ethernet.network wgmanual.network wgmanual.netdev; do
    ln -s /mnt/files/10-mc252-$name /mnt/links/10-mc252-$name
done
mount --bind /mnt/links /etc/systemd/network
mount -o remount,ro /sys
exec {networkd}
"""


def wait_for(get, fits):
    deadline = time.monotonic() + 20
    while not fits(text := get()):
        assert time.monotonic() < deadline, text
        time.sleep(0.05)
    return text


@as_root_with("ip", "unshare", NETWORKD)
@pytest.mark.parametrize("tunnel", [None, WG])
def test_networkd_reads_the_files_through_links_that_may_lead_nowhere(tmp_path, monkeypatch, namespace, tunnel):
    files = tmp_path / "files"
    files.mkdir(mode=0o755)
    with monkeypatch.context() as patch:
        Systemd(patch)
        Networkd(str(files)).apply("lan", STATIC, "wgmanual", tunnel)
    for path in files.iterdir():
        path.chmod(0o644)  # the group of networkd is for the folder's maker to set
    for name in ("lan", "wgmanual"):  # a plain pair stands for the tunnel, which takes a kernel with WireGuard
        ip("-n", namespace, "link", "add", name, "type", "veth", "peer", "name", name + "p")
        ip("-n", namespace, "link", "set", name + "p", "up")
    script = RUN_NETWORKD.format(files=files, networkd=NETWORKD)
    program = subprocess.Popen(
        ["ip", "netns", "exec", namespace, "unshare", "-m", "sh", "-ec", script],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        addresses = wait_for(
            lambda: ip("-n", namespace, "-4", "address"),
            lambda text: "192.0.2.5/23" in text and (tunnel is None or "10.8.0.2/24" in text),
        )
        assert ("10.8.0.2/24" in addresses) == (tunnel is not None)
        wait_for(lambda: ip("-n", namespace, "route"), lambda text: "default via 192.0.3.1 dev lan" in text)
        if tunnel is not None:
            rules = wait_for(lambda: ip("-n", namespace, "rule"), lambda text: "not from all fwmark 0xc252" in text)
            assert "9:\tfrom all lookup main suppress_prefixlength 0" in rules
    finally:
        program.terminate()
        program.wait(timeout=10)


# Netlink.

WATCH = """
import asyncio, sys
from hal.linux.net.network import LinuxNetwork
from hal.linux.net import netlink

async def main():
    network = LinuxNetwork(LinuxNetwork.OPTIONS.check({}), "")
    changed = asyncio.Event()
    network.on_change = changed.set
    await network.start()
    for line in iter(sys.stdin.readline, ""):
        changed.clear()
        words = line.split()
        if words[0] == "delete":
            try:
                netlink.delete_link(words[1])
            except OSError as exc:
                print(type(exc).__name__, exc.errno, flush=True)
                continue
        else:
            print("ready", flush=True)
        await asyncio.wait_for(changed.wait(), 20)
        print("changed", network.interface_index("dum"), flush=True)
    await network.stop()
    await network.stop()

asyncio.run(main())
"""


@as_root_with("ip")
def test_interfaces_that_come_and_go_are_heard_and_links_can_be_deleted(namespace):
    program = subprocess.Popen(
        ["ip", "netns", "exec", namespace, sys.executable, "-c", WATCH],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )

    def say(line):
        program.stdin.write(line + "\n")
        return program.stdout.readline().strip()

    try:
        assert say("wait") == "ready"
        ip("-n", namespace, "link", "add", "dum", "type", "veth", "peer", "name", "dump")
        word, index = program.stdout.readline().split()
        assert word == "changed" and int(index) > 1
        assert say("delete none") == "OSError None"
        assert say("delete dum") == "changed None"
        assert say("delete lo").startswith(("OSError", "PermissionError"))
    finally:
        program.stdin.close()
        program.wait(timeout=10)
        program.stdout.close()


def nested(kind, *attributes):
    return netlink.attribute(kind | 0x8000, b"".join(attributes))


def peer(seconds, nanoseconds=0):
    return nested(0, netlink.attribute(1, b"K" * 32), netlink.attribute(6, struct.pack("=qq", seconds, nanoseconds)))


def test_the_last_handshake_is_the_latest_of_all_peers(monkeypatch):
    header = b"\0\1\0\0"
    device = netlink.attribute(2, b"wg0\0")
    parts = [
        header + device + nested(8, peer(1_700_000_000), peer(0), peer(1_700_000_060, 500_000_000)),
        header + device + nested(8, peer(1_700_000_030)),  # the kernel splits a long list
    ]
    asked = []

    def request(protocol, kind, flags, payload):
        asked.append((kind, flags))
        return parts if kind == 31 else [header + netlink.attribute(1, struct.pack("=H", 31))]

    monkeypatch.setattr(
        wireguard, "SOCKETS", "/nowhere"
    )  # a program on this machine may have an interface of that name
    monkeypatch.setattr(wireguard, "request", request)
    assert wireguard.last_handshake("wg0") == 1_700_000_060.5
    assert asked == [(0x10, 0), (31, netlink.NLM_F_DUMP)]
    parts[:] = [header + device + nested(8, peer(0))]
    assert wireguard.last_handshake("wg0") is None


async def test_what_is_no_wireguard_interface_has_no_handshake():
    network = LinuxNetwork(LinuxNetwork.OPTIONS.check({}), "")
    assert await network.vpn("lo") == {"up": True, "interface": "lo", "ip": "127.0.0.1", "peerHandshakeSec": None}
    assert await network.vpn("wg77") == {"up": False, "interface": "wg77", "ip": None, "peerHandshakeSec": None}


async def test_a_probe_names_the_interface_and_who_sets_it_up():
    named = LinuxNetwork(LinuxNetwork.OPTIONS.check({"interface": "lo", "managed": True}), "")
    assert await named.probe() == "lo 127.0.0.1, set up by the firmware"
    with pytest.raises(PartError, match="no interface eth77"):
        await LinuxNetwork(LinuxNetwork.OPTIONS.check({"interface": "eth77"}), "").probe()


# The service.


def settings(**changes):
    keys = {name: default(name) for name in ("ethernet", "wgCloud", "wgManual")}
    return {name: dict(value, **changes.get(name, {})) for name, value in keys.items()}


async def problems_of(network, **changes):
    problems = Problems()
    service = NoNetworking() if network is None else Networking(network, settings(**changes), problems)
    await service.start()
    return problems.texts()


async def test_settings_of_an_unmanaged_network_are_a_problem_only_where_they_ask_for_something(capsys):
    network = LinuxNetwork(LinuxNetwork.OPTIONS.check({}), "")
    assert await problems_of(network) == []
    assert await problems_of(None, ethernet=STATIC) == []
    told = await problems_of(network, ethernet=STATIC, wgManual=WG)
    assert [problem.partition(":")[0] for problem in told] == [
        "setting ethernet is not applied",
        "setting wgManual is not applied",
    ]
    assert KEY_A not in capsys.readouterr().err


async def test_settings_that_were_refused_are_applied_later_and_are_no_problem_then(tmp_path, systemd, monkeypatch):
    monkeypatch.setattr(networking, "RETRY_PAUSES", (0.01,))
    systemd.failure = "Access denied"
    options = {"interface": "lo", "managed": True, "folder": str(tmp_path)}
    problems = Problems()
    service = Networking(LinuxNetwork(LinuxNetwork.OPTIONS.check(options), ""), settings(), problems)
    await service.start()
    assert len(problems.texts()) == 1
    systemd.failure = None
    async with asyncio.timeout(5):
        while problems.texts():
            await asyncio.sleep(0.005)
    assert systemd.take()[-1] == "networkctl reload"
    await service.stop()


async def test_a_system_that_refuses_the_settings_is_a_problem_and_no_more(tmp_path, systemd):
    systemd.failure = "Access denied"
    network = LinuxNetwork(
        LinuxNetwork.OPTIONS.check({"interface": "lo", "managed": True, "folder": str(tmp_path)}), ""
    )
    assert await problems_of(network) == ["the network settings are not applied: networkctl reload: Access denied"]


class TwoTunnels(LinuxNetwork):
    def __init__(self):
        super().__init__(LinuxNetwork.OPTIONS.check({}), "")
        self.up = set()

    async def vpn(self, interface):
        return {"interface": interface, "up": interface in self.up}


async def test_the_vpn_of_the_state_is_the_one_that_is_up():
    network = TwoTunnels()
    both = Networking(network, settings(wgCloud={"enabled": True}, wgManual=WG), Problems())
    assert (await both.vpn())["interface"] == "wg0"
    network.up.add(TUNNEL)
    assert await both.vpn() == {"interface": TUNNEL, "up": True}
    assert await Networking(network, settings(), Problems()).vpn() is None
