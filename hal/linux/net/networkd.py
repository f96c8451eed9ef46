"""The network settings as files of systemd-networkd: systemd.network(5), systemd.netdev(5).

The files lie in a folder of the firmware's own; links in /etc/systemd/network lead there (deploy/). networkd reads them
at its start, and again when it is told that they have changed.
"""

import contextlib
import errno
import os

from hal.contracts import PartError
from hal.linux.host import systemd
from hal.linux.net.netlink import delete_link
from hal.small_file import write_whole

PREFIX = "10-mc252-"
ETHERNET = "ethernet.network"
UNTOLD = "untold"  # a file that is there as long as networkd has not been told of changes to the others
UNTOLD_TUNNEL = "untold-tunnel"  # one that is there as long as a tunnel is to be deleted, to be made anew

_MARK = 0xC252  # on the tunnel's own packets, and the number of the routing table that they do not use
_HEAD = "# Written by mc252 from its settings; changes here are lost.\n"


def ethernet_file(interface: str, ethernet: dict) -> str:
    """The .network file of the wired interface. `ethernet` is as hal.contracts.Network.apply has it."""
    servers = [ethernet[name] for name in ("dns1", "dns2") if ethernet[name]]
    lines = ["[Match]", f"Name={interface}", "", "[Network]"]
    lines += ["DHCP=ipv4"] if ethernet["dhcp"] else [f"Address={ethernet['ip']}/{prefix_length(ethernet['mask'])}"]
    if not ethernet["dhcp"] and ethernet["gateway"]:
        lines.append(f"Gateway={ethernet['gateway']}")
    lines += [f"DNS={server}" for server in servers]
    if ethernet["dhcp"]:
        lines += ["", "[DHCPv4]", f"Hostname={ethernet['hostname']}", f"UseDNS={'no' if servers else 'yes'}"]
    return _HEAD + "\n".join(lines) + "\n"


def netdev_file(interface: str, tunnel: dict) -> str:
    """The .netdev file of a WireGuard tunnel; it holds the private key."""
    lines = ["[NetDev]", f"Name={interface}", "Kind=wireguard", "", "[WireGuard]"]
    lines += [f"PrivateKey={tunnel['privateKey']}", f"FirewallMark={_MARK}", f"RouteTable={_MARK}"]
    lines += ["", "[WireGuardPeer]", f"PublicKey={tunnel['peerPublicKey']}"]
    if tunnel["presharedKey"]:
        lines.append(f"PresharedKey={tunnel['presharedKey']}")
    lines += [f"Endpoint={tunnel['endpoint']}", f"AllowedIPs={','.join(tunnel['allowedIps'])}"]
    lines.append(f"PersistentKeepalive={tunnel['keepAliveSec'] or 'off'}")
    return _HEAD + "\n".join(lines) + "\n"


def tunnel_file(interface: str, tunnel: dict) -> str:
    """The .network file of a WireGuard tunnel.

    Networks behind the peer are reached through the tunnel unless a network at hand is nearer; so neither the LAN nor
    the tunnel's own packets get lost in it, even where it leads to everywhere.
    """
    lines = ["[Match]", f"Name={interface}", "", "[Network]", f"Address={tunnel['address']}"]
    lines += ["", "[RoutingPolicyRule]", "Priority=9", "Table=main", "SuppressPrefixLength=0"]
    lines += ["", "[RoutingPolicyRule]", "Priority=10", f"FirewallMark={_MARK}", "InvertRule=yes", f"Table={_MARK}"]
    return _HEAD + "\n".join(lines) + "\n"


def prefix_length(mask: str) -> int:
    """Bits that are set in a network mask."""
    return sum(int(part).bit_count() for part in mask.split("."))


class Networkd:
    """The files in `folder`, and word to systemd-networkd about them. Its calls block. PartError says what failed."""

    def __init__(self, folder: str):
        self._folder = folder

    def apply(self, interface: str, ethernet: dict, tunnel_interface: str, tunnel: dict | None) -> None:
        """Have the wired interface and the tunnel, None for none, be as told; what is so already is left alone.

        What networkd could not be told, or a tunnel that could not be deleted, is so at the next call, after a restart
        too.
        """
        try:
            self._put(ETHERNET, ethernet_file(interface, ethernet), 0o644)
            self._apply_tunnel(tunnel_interface, tunnel)
        except OSError as exc:
            raise PartError(f"the network settings cannot be written: {self._folder}: {exc.strerror}") from exc
        problem = self._delete_old_tunnel(tunnel_interface)
        if os.path.exists(self._path(UNTOLD)):
            _tell("networkctl", "reload")
            os.unlink(self._path(UNTOLD))
        if os.uname().nodename != ethernet["hostname"]:
            _tell("hostnamectl", "hostname", ethernet["hostname"])
        if problem:
            raise PartError(problem)

    def _apply_tunnel(self, interface: str, tunnel: dict | None) -> None:
        if tunnel is None:
            self._remove(f"{interface}.netdev")
            self._remove(f"{interface}.network")
        else:
            self._put(f"{interface}.netdev", netdev_file(interface, tunnel), 0o640)
            self._put(f"{interface}.network", tunnel_file(interface, tunnel), 0o644)

    def _put(self, name: str, text: str, mode: int) -> None:
        """Write a file unless it is so already."""
        path = self._path(PREFIX + name)
        with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
            if file.read() == text.encode():
                return
        self._note_change(name)
        write_whole(path, text, mode)

    def _remove(self, name: str) -> None:
        path = self._path(PREFIX + name)
        if os.path.exists(path):
            self._note_change(name)
            os.unlink(path)

    def _note_change(self, name: str) -> None:
        """Before it is made, so that a power cut between the two forgets nothing."""
        if name != ETHERNET:
            write_whole(self._path(UNTOLD_TUNNEL), "")
        write_whole(self._path(UNTOLD), "")

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _delete_old_tunnel(self, interface: str) -> str:
        """networkd itself never changes a tunnel that is there. What is wrong, or ""."""
        if not os.path.exists(self._path(UNTOLD_TUNNEL)):
            return ""
        try:
            delete_link(interface)
        except OSError as exc:
            if exc.errno not in (None, errno.ENODEV):  # it was not there
                lacking = "; this process lacks CAP_NET_ADMIN" if exc.errno == errno.EPERM else ""
                return f"the tunnel {interface} cannot be deleted and stays as it was: {exc.strerror}{lacking}"
        write_whole(self._path(UNTOLD), "")
        os.unlink(self._path(UNTOLD_TUNNEL))
        return ""


def _tell(command: str, *arguments: str) -> None:
    try:
        systemd.ask(command, *arguments)
    except OSError as exc:
        raise PartError(f"{' '.join((command, *arguments))}: {exc.strerror}") from exc
